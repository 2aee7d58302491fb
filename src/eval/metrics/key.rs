//! Scores as unsigned integers in the opposite order: the highest score has the lowest key.
//!
//! Equal scores have equal keys (both zeros too), different ones different keys, so that ties are exactly
//! those of the numbers.

use serde::{Deserialize, Serialize};

/// How many bits a score's key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Keys of f32 scores (f16 and integers of 16 bits are exact in it).
    F32,
    /// Keys of f64 scores.
    F64,
}

impl Kind {
    /// The score that a key stands for.
    pub(super) fn score(self, key: u64) -> f64 {
        match self {
            Kind::F32 => f64::from(f32::from_bits(unordered(!(key as u32), 31))),
            Kind::F64 => f64::from_bits(unordered(!key, 63)),
        }
    }

    /// The number of keys of scores above `threshold`: those below it.
    pub(super) fn keys_above(self, threshold: f64) -> u64 {
        match self {
            // The largest f32 that is not above the threshold; its key is the first that is not.
            Kind::F32 => {
                let nearest = threshold as f32;
                let floor = if f64::from(nearest) > threshold { nearest.next_down() } else { nearest };
                u64::from(floor.key())
            }
            Kind::F64 => threshold.key(),
        }
    }
}

/// A number that scores are made of.
pub trait Score: Copy + Send + Sync + 'static {
    /// Its key.
    type Key: Key;
    /// Which.
    const KIND: Kind;
    /// The key: falls when the score rises.
    fn key(self) -> Self::Key;
    /// Neither NaN nor infinite.
    fn is_finite(self) -> bool;
}

/// An unsigned integer.
pub trait Key: Copy + Ord + Default + Send + Sync + 'static {
    /// As the widest.
    fn wide(self) -> u64;
}

impl Key for u32 {
    fn wide(self) -> u64 {
        u64::from(self)
    }
}

impl Key for u64 {
    fn wide(self) -> u64 {
        self
    }
}

impl Score for f32 {
    type Key = u32;
    const KIND: Kind = Kind::F32;

    #[inline]
    fn key(self) -> u32 {
        // Adding zero makes -0 the zero it equals.
        let bits = (self + 0.0).to_bits();
        // Negative numbers: all bits flipped and flipped again; others: the sign bit becomes 1, then all flip.
        let mask = (!(bits as i32 >> 31)) as u32 & 0x7fff_ffff;
        bits ^ mask
    }

    #[inline]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Score for f64 {
    type Key = u64;
    const KIND: Kind = Kind::F64;

    #[inline]
    fn key(self) -> u64 {
        let bits = (self + 0.0).to_bits();
        let mask = (!(bits as i64 >> 63)) as u64 & 0x7fff_ffff_ffff_ffff;
        bits ^ mask
    }

    #[inline]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

/// Bits of the float whose ascending key is given, `sign` being the place of its sign bit.
fn unordered<B>(ascending: B, sign: u32) -> B
where
    B: Copy
        + std::ops::Shr<u32, Output = B>
        + std::ops::Shl<u32, Output = B>
        + std::ops::Not<Output = B>
        + std::ops::BitXor<Output = B>
        + PartialEq
        + From<u8>,
{
    let positive = ascending >> sign == B::from(1);
    if positive { ascending ^ (B::from(1) << sign) } else { !ascending }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn keys_order_as_scores_do_and_give_them_back() {
        let edges = [0.0, -0.0, f32::MIN_POSITIVE, -1e-45, 1e-45, f32::MAX, f32::MIN, 1.0, -1.0];
        Random::for_many(3000, |random| {
            let mut pick = || match random.below(4) {
                0 => edges[random.below(edges.len())],
                1 => random.below(7) as f32 - 3.0,
                _ => f32::from_bits(random.bits() as u32),
            };
            let (a, b) = (pick(), pick());
            if !a.is_finite() || !b.is_finite() {
                return;
            }
            assert_eq!(a.partial_cmp(&b).unwrap(), b.key().cmp(&a.key()), "{a} {b}");
            assert_eq!(Kind::F32.score(a.key().into()), f64::from(a));
            let (x, y) = (f64::from(a) * 1.000_000_1, f64::from(b));
            assert_eq!(x.partial_cmp(&y).unwrap(), y.key().cmp(&x.key()), "{x} {y}");
            assert_eq!(Kind::F64.score(x.key()), x);
            for (score, threshold) in [(a, x), (b, x), (a, y)] {
                let above = u64::from(score.key()) < Kind::F32.keys_above(threshold);
                assert_eq!(above, f64::from(score) > threshold, "{score} {threshold}");
            }
            assert_eq!(x.key() < Kind::F64.keys_above(y), x > y);
        });
        assert_eq!(Kind::F32.keys_above(f64::MAX), u64::from(f32::MAX.key()));
    }

    #[test]
    fn the_zeros_are_one() {
        assert_eq!(0.0_f32.key(), (-0.0_f32).key());
        assert_eq!(0.0_f64.key(), (-0.0_f64).key());
    }
}
