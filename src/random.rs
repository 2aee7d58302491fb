//! Random numbers (splitmix64) that are the same on every machine.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed ^ 0x0066_6172_6f75_7421)
    }

    /// The stream of one part of what `seed` is for.
    pub fn of_part(seed: u64, parts: &[u64]) -> Random {
        let mut random = Random::new(seed);
        for part in parts {
            random.0 = random.bits() ^ part;
        }
        random
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0; for bounds up to 2^32 its bias is below 2^-32.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number from 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from `low` up to `high`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number of the normal distribution with mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
impl Random {
    /// Runs `check` on many streams; a failure names the seed.
    pub fn for_many(cases: u64, check: impl Fn(&mut Random)) {
        for seed in 0..cases {
            let caught =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut Random::new(seed))));
            if let Err(cause) = caught {
                eprintln!("failed with seed {seed}");
                std::panic::resume_unwind(cause);
            }
        }
    }
}
