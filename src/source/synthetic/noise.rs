//! Randomness that needs no memory: hashes, smooth curves over time, and tiling noise textures.

/// A well-mixed number for a place in the world: the finaliser of splitmix64 over seed, kind and index.
pub fn hash(seed: u64, kind: u64, index: i64) -> u64 {
    mix(mix(seed ^ kind.wrapping_mul(0xd6e8_feb8_6659_fd93))
        ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A cheap hash of two small integers to [0, 1), for details such as single windows.
pub fn speck(a: i32, b: i32) -> f32 {
    let mut h = (a as u32).wrapping_mul(0x85eb_ca6b) ^ (b as u32).wrapping_mul(0xc2b2_ae35);
    h = (h ^ (h >> 15)).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ (h >> 12)).wrapping_mul(0x297a_2d39);
    (h >> 8) as f32 / (1 << 24) as f32
}

/// A stream of random numbers (splitmix64) that belongs to one thing in the world.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of thing `index` of `kind`.
    pub fn new(seed: u64, kind: u64, index: i64) -> Dice {
        Dice(hash(seed, kind, index))
    }

    /// A uniform 64-bit number.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }
}

/// A smooth random curve through time `t`, in [-1, 1], with one knot per unit of `t`.
pub fn wander(seed: u64, kind: u64, t: f64) -> f32 {
    let knot = t.floor();
    let at = |k: i64| (hash(seed, kind, k) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    let x = (t - knot) as f32;
    let ease = x * x * (3.0 - 2.0 * x);
    let (a, b) = (at(knot as i64), at(knot as i64 + 1));
    a + (b - a) * ease
}

/// A square, tiling noise texture with values in [-1, 1] and its halved versions, for reading
/// without flicker at any distance.
#[derive(Debug)]
pub struct Texture {
    levels: Vec<Vec<i8>>,
}

impl Texture {
    /// Texels along a side of the finest level.
    pub const SIZE: usize = 256;

    /// Noise of octaves of 2^`first`.. 2^`last` cells a side, each weighted `gain` times the one before.
    pub fn new(seed: u64, first: u32, last: u32, gain: f32) -> Texture {
        let size = Self::SIZE;
        let mut sum = vec![0.0f32; size * size];
        let mut weight = 1.0;
        for octave in first..=last {
            let cells = 1usize << octave;
            let lattice: Vec<f32> = (0..cells * cells)
                .map(|i| {
                    (hash(seed, u64::from(octave) + 900, i as i64) >> 40) as f32 / (1 << 23) as f32 - 1.0
                })
                .collect();
            for y in 0..size {
                for x in 0..size {
                    let (u, v) = ((x * cells) as f32 / size as f32, (y * cells) as f32 / size as f32);
                    let (i, j) = (u as usize, v as usize);
                    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
                    let (a, b) = (ease(u - i as f32), ease(v - j as f32));
                    let at = |i: usize, j: usize| lattice[(j % cells) * cells + i % cells];
                    let top = at(i, j) + (at(i + 1, j) - at(i, j)) * a;
                    let low = at(i, j + 1) + (at(i + 1, j + 1) - at(i, j + 1)) * a;
                    sum[y * size + x] += weight * (top + (low - top) * b);
                }
            }
            weight *= gain;
        }
        let peak = sum.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
        let scale = 127.0 / (0.8 * peak);
        let mut levels =
            vec![sum.iter().map(|v| (v * scale).clamp(-127.0, 127.0) as i8).collect::<Vec<i8>>()];
        let mut side = size;
        while side > 1 {
            let fine = &levels[levels.len() - 1];
            let half = side / 2;
            let coarse = (0..half * half)
                .map(|i| {
                    let at = 2 * (i / half) * side + 2 * (i % half);
                    let total: i32 =
                        [at, at + 1, at + side, at + side + 1].iter().map(|&p| i32::from(fine[p])).sum();
                    (total / 4) as i8
                })
                .collect();
            levels.push(coarse);
            side = half;
        }
        Texture { levels }
    }

    /// The level to read when one pixel covers `texels` texels of the finest level.
    pub fn level(&self, texels: f32) -> usize {
        let bits = texels.max(1.0).to_bits() >> 23;
        (bits as usize - 127).min(self.levels.len() - 1)
    }

    /// The value at (`u`, `v`), in texels of the finest level, of the nearest texel of `level`.
    #[inline]
    pub fn near(&self, level: usize, u: f32, v: f32) -> f32 {
        let mask = (Self::SIZE as i32 >> level) - 1;
        let (i, j) = (floor(u) >> level, floor(v) >> level);
        let at = ((j & mask) << (8 - level)) + (i & mask);
        f32::from(self.levels[level][at as usize]) * (1.0 / 127.0)
    }

    /// As [`Texture::near`], but interpolated between the four nearest texels.
    #[inline]
    pub fn smooth(&self, level: usize, u: f32, v: f32) -> f32 {
        let scale = 1.0 / (1 << level) as f32;
        let (u, v) = (u * scale, v * scale);
        let (i, j) = (floor(u), floor(v));
        let (a, b) = (u - i as f32, v - j as f32);
        let mask = (Self::SIZE as i32 >> level) - 1;
        let data = &self.levels[level];
        let (row, next) = ((j & mask) << (8 - level), ((j + 1) & mask) << (8 - level));
        let at = |r: i32, i: i32| f32::from(data[(r + (i & mask)) as usize]);
        let top = at(row, i) + (at(row, i + 1) - at(row, i)) * a;
        let low = at(next, i) + (at(next, i + 1) - at(next, i)) * a;
        (top + (low - top) * b) * (1.0 / 127.0)
    }
}

/// One row of a texture, read in steps along it: much cheaper than [`Texture::smooth`] per pixel.
#[derive(Debug)]
pub struct Line {
    values: [i16; Texture::SIZE + 1],
    level: usize,
}

/// Turns texels into the fixed-point steps that [`Line::at`] takes.
pub fn fixed(texels: f32) -> i32 {
    (f64::from(texels) * 65536.0) as i64 as i32
}

impl Line {
    /// The row at `v` texels of `level` of `texture`.
    pub fn new(texture: &Texture, level: usize, v: f32) -> Line {
        let side = Texture::SIZE >> level;
        let v = v / (1 << level) as f32;
        let j = floor(v);
        let part = ((v - j as f32) * 256.0) as i32;
        let row = |j: i32| &texture.levels[level][(j as usize & (side - 1)) * side..][..side];
        let mut values = [0; Texture::SIZE + 1];
        for ((out, &a), &b) in values.iter_mut().zip(row(j)).zip(row(j + 1)) {
            *out = ((i32::from(a) * 256 + (i32::from(b) - i32::from(a)) * part) >> 2) as i16;
        }
        values[side] = values[0];
        Line { values, level }
    }

    /// The value in [-1, 1] at `u`, in 1/65536 of a texel of the finest level; wraps around.
    #[inline]
    pub fn at(&self, u: i32) -> f32 {
        let t = u >> self.level;
        let i = (t >> 16) as usize & ((Texture::SIZE >> self.level) - 1);
        let (a, b) = (i32::from(self.values[i]), i32::from(self.values[i + 1]));
        (a * 256 + (b - a) * ((t >> 8) & 255)) as f32 * (1.0 / (127.0 * 64.0 * 256.0))
    }
}

/// The largest integer not above `x`.
#[inline]
pub fn floor(x: f32) -> i32 {
    let i = x as i32;
    i - i32::from(x < i as f32)
}
