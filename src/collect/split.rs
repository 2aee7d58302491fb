//! Which frames are held out of the bank: whole blocks of neighbouring frames, drawn by hash.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest::hash;

/// Where a frame stands among its neighbours: a series (a folder with a name prefix, or a video)
/// and a number within it. Frames of one series with close numbers look alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Folder and file name up to the number, or a video's name.
    pub series: String,
    /// Number in the file name, or frame number.
    pub number: u64,
}

/// Which part a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Its patches may enter the bank.
    Bank,
    /// It is kept for calibration.
    HeldOut,
    /// Neither: too near to a held-out block.
    Guard,
}

/// By what frames are split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitKeys {
    /// Seed of the draw.
    pub seed: u64,
    /// Share of the blocks that is held out.
    pub share: f64,
    /// Length of a block in frame numbers.
    pub block: u64,
    /// Frames less than this many numbers from a held-out block are in neither part.
    pub guard: u64,
}

/// The rule that splits frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    seed: u64,
    share: f64,
    block: u64,
    guard: u64,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    /// Each block by its own hash.
    Hash,
    /// Hashes held out no block (or all): this one alone.
    OneBlock(String, u64),
    /// All frames are of one block: those from this number on, and a gap before them.
    Tail { from: u64, gap: u64 },
    /// One frame only: nothing.
    Nothing,
}

impl Place {
    /// The place of a still image called `name` (folder/file). The number is the last run of at
    /// least three digits in the stem, else its last digits; what comes before names the series. An image
    /// without any digits is a series of its own.
    pub fn of_still(name: &str) -> Place {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let file = stem.rfind('/').map_or(0, |slash| slash + 1);
        let bytes = stem.as_bytes();
        let (mut at, mut best) = (file, None);
        while at < bytes.len() {
            let digits = bytes[at..].iter().take_while(|c| c.is_ascii_digit()).count();
            if digits >= 3 || (digits > 0 && best.is_none_or(|(_, n)| n < 3)) {
                best = Some((at, digits));
            }
            at += digits.max(1);
        }
        let (start, digits) = best.unwrap_or((stem.len(), 0));
        // More digits than fit are a hash or a time stamp: the last ones count.
        let number = stem[start..start + digits]
            .bytes()
            .fold(0u64, |n, c| n.wrapping_mul(10).wrapping_add(u64::from(c - b'0')));
        Place { series: stem[..start].to_owned(), number }
    }
}

impl Split {
    /// The rule for frames at `places` (all of them, any order, as far as known). Blocks are `keys.block`
    /// numbers long; each is held out with probability `keys.share` by the hash of seed and block alone, and
    /// frames less than `keys.guard` numbers away from a held-out block are in neither part.
    ///
    /// Only where that leaves no frame on one of the sides do the other places matter: then one
    /// block is held out, or of a single block the last `share` of its frames.
    pub fn new(keys: SplitKeys, places: &[Place]) -> Split {
        let SplitKeys { seed, share, block, guard } = keys;
        let mut split = Split { seed, share, block: block.max(1), guard, rule: Rule::Hash };
        let blocks: BTreeMap<(&str, u64), u128> = places
            .iter()
            .map(|p| {
                ((p.series.as_str(), p.number / split.block), split.hash(&p.series, p.number / split.block))
            })
            .collect();
        let sides: BTreeSet<bool> = places
            .iter()
            .map(|p| split.side(p))
            .filter(|s| *s != Side::Guard)
            .map(|s| s == Side::Bank)
            .collect();
        if share <= 0.0 || sides.len() == 2 {
            return split;
        }
        let first = blocks.iter().min_by_key(|(_, hash)| **hash).map(|(key, _)| *key);
        split.rule = match (first, blocks.len()) {
            (Some((series, number)), 2..) => Rule::OneBlock(series.to_owned(), number),
            _ => split.tail(places),
        };
        split
    }

    /// Whether it was made by these keys.
    pub(super) fn is_by(&self, keys: SplitKeys) -> bool {
        *self == Split { rule: self.rule.clone(), ..Split::new(keys, &[]) }
    }

    fn tail(&self, places: &[Place]) -> Rule {
        let numbers: BTreeSet<u64> = places.iter().map(|p| p.number).collect();
        let held = ((numbers.len() as f64 * self.share).round() as usize).clamp(1, numbers.len().max(1));
        match numbers.iter().nth_back(held - 1) {
            Some(from) if numbers.len() > held => {
                let span = from - numbers.first().unwrap_or(from);
                Rule::Tail { from: *from, gap: self.guard.min(span / 10) }
            }
            _ => Rule::Nothing,
        }
    }

    fn hash(&self, series: &str, block: u64) -> u128 {
        hash(&[b"held out block", &self.seed.to_le_bytes(), &block.to_le_bytes(), series.as_bytes()])
    }

    fn held_out(&self, series: &str, block: u64) -> bool {
        match &self.rule {
            Rule::Hash => (self.hash(series, block) >> 64) as f64 / 2f64.powi(64) < self.share,
            Rule::OneBlock(s, b) => s == series && *b == block,
            Rule::Tail { .. } | Rule::Nothing => false,
        }
    }

    /// The part that a frame at `place` belongs to.
    pub fn side(&self, place: &Place) -> Side {
        if let Rule::Tail { from, gap } = self.rule {
            return match place.number {
                n if n >= from => Side::HeldOut,
                n if from - n < gap => Side::Guard,
                _ => Side::Bank,
            };
        }
        let block = place.number / self.block;
        if self.held_out(&place.series, block) {
            return Side::HeldOut;
        }
        let into = place.number % self.block;
        let near_last = into < self.guard && block > 0 && self.held_out(&place.series, block - 1);
        let near_next = self.block - into <= self.guard && self.held_out(&place.series, block + 1);
        if near_last || near_next { Side::Guard } else { Side::Bank }
    }

    /// The key of the block that `place` is in, for counting.
    pub fn block(&self, place: &Place) -> (String, u64) {
        (place.series.clone(), place.number / self.block)
    }

    /// The rule in words.
    pub fn describe(&self) -> String {
        match &self.rule {
            Rule::Hash => format!(
                "{:.0} % of the blocks of {} frame numbers, by hash, {} numbers apart from the bank's",
                self.share * 100.0,
                self.block,
                self.guard
            ),
            Rule::OneBlock(series, block) => {
                format!(
                    "one block of {} frame numbers ({series} from {}), there are few",
                    self.block,
                    block * self.block
                )
            }
            Rule::Tail { from, gap } => {
                format!(
                    "the end of a single block, from number {from} on with a gap of {gap}: no independent sequence"
                )
            }
            Rule::Nothing => "none: too few frames to hold any out".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: SplitKeys = SplitKeys { seed: 0, share: 0.2, block: 300, guard: 30 };

    #[test]
    fn neighbouring_frames_are_never_on_both_sides() {
        let series = ["0001TP_", "Seq05VD_f", "0016E5_"];
        let places: Vec<Place> = series
            .iter()
            .flat_map(|s| (0..100).map(move |i| Place::of_still(&format!("images/{s}{:05}.jpg", i * 30))))
            .collect();
        let split = Split::new(KEYS, &places);
        let (mut bank, mut held) = (0, 0);
        for place in &places {
            match split.side(place) {
                Side::Bank => bank += 1,
                Side::HeldOut => {
                    held += 1;
                    for near in [place.number.saturating_sub(30), place.number + 30] {
                        let near = Place { number: near, ..place.clone() };
                        assert_ne!(split.side(&near), Side::Bank, "{near:?} beside {place:?}");
                    }
                }
                Side::Guard => {}
            }
        }
        assert!(bank > 150 && held > 20, "{bank} in the bank, {held} held out");
        // A part of the work gives the same sides, as long as it has both.
        assert_eq!(split, Split::new(KEYS, &places[..200]));
    }

    #[test]
    fn few_frames_are_split_sensibly_and_it_is_said() {
        let numbered = |n: u64| (0..n).map(|i| Place { series: "a/".into(), number: i }).collect::<Vec<_>>();
        for (frames, held, words) in
            [(1, 0, "none"), (2, 1, "single block"), (10, 2, "single block"), (60, 12, "single block")]
        {
            let places = numbered(frames);
            let split = Split::new(KEYS, &places);
            let count = |side| places.iter().filter(|p| split.side(p) == side).count();
            assert_eq!(count(Side::HeldOut), held, "{frames} frames");
            assert!(
                count(Side::Bank) * 2 >= places.len(),
                "{frames} frames: {} for the bank",
                count(Side::Bank)
            );
            assert!(split.describe().contains(words), "{}", split.describe());
        }
        let two: Vec<Place> = ["a/x1", "b/y1"].iter().map(|n| Place::of_still(n)).collect();
        let split = Split::new(SplitKeys { share: 0.001, ..KEYS }, &two);
        assert_ne!(split.side(&two[0]), split.side(&two[1]));
        assert!(split.describe().contains("one block"), "{}", split.describe());
    }

    #[test]
    fn names_tell_series_and_number() {
        for (name, series, number) in [
            ("images/0001TP_006690.jpg", "images/0001TP_", 6690),
            ("images/Seq05VD_f00000.png", "images/Seq05VD_f", 0),
            ("images/0016E5_00390.jpg", "images/0016E5_", 390),
            ("aachen/aachen_000001_000019_leftImg8bit.png", "aachen/aachen_000001_", 19),
            ("dir7/img12.png", "dir7/img", 12),
            ("dir7/tree.png", "dir7/tree", 0),
        ] {
            assert_eq!(Place::of_still(name), Place { series: series.into(), number }, "{name}");
        }
    }
}
