//! What the reference images show of themselves: the scales of the score `cdnp`.

use serde::{Deserialize, Serialize};

/// Measured while a bank is built from images with logits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReferenceRecord {
    /// The range of each parametric score over all cells of the reference images, void left out.
    pub ranges: Vec<ScoreRange>,
    /// How far reference features lie from each other; absent in a shard, if there are too few, and of a bank whose
    /// distances can be negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<DistanceScale>,
}

/// Lowest and highest score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRange {
    /// Name of the score.
    pub method: String,
    /// Lowest score.
    pub min: f32,
    /// Highest score.
    pub max: f32,
}

/// How far reference features lie from each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistanceScale {
    /// Largest mean distance of a feature to its `k` nearest others.
    pub largest: f32,
    /// Neighbours.
    pub k: usize,
    /// Features that were compared with each other, drawn at random from those of all reference images, or all
    /// of the bank if it holds fewer. A pruned bank keeps what the large one had, unless its parts are searched one by
    /// one: then it is measured anew, among the rows that stay.
    pub features: usize,
}

impl ReferenceRecord {
    /// Widens the range of `method` by these scores; those that are not finite do not count.
    pub fn widen(&mut self, method: &str, scores: impl Iterator<Item = f32>) {
        let (min, max) = scores
            .filter(|score| score.is_finite())
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), s| (min.min(s), max.max(s)));
        if min > max {
            return;
        }
        match self.ranges.iter_mut().find(|known| known.method == method) {
            Some(known) => (known.min, known.max) = (known.min.min(min), known.max.max(max)),
            None => {
                let at = self.ranges.partition_point(|known| known.method.as_str() < method);
                self.ranges.insert(at, ScoreRange { method: method.to_owned(), min, max });
            }
        }
    }

    /// Widens the ranges by those of another part of the images.
    pub fn join(&mut self, other: &ReferenceRecord) {
        for range in &other.ranges {
            self.widen(&range.method, [range.min, range.max].into_iter());
        }
    }

    /// The range of `method`.
    pub fn range(&self, method: &str) -> Option<&ScoreRange> {
        self.ranges.iter().find(|known| known.method == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_depend_on_order_or_parts() {
        let scores =
            [("lse", vec![-3.0, f32::INFINITY, 2.0]), ("entropy", vec![0.5]), ("lse", vec![-4.0, f32::NAN])];
        let mut whole = ReferenceRecord::default();
        scores.iter().for_each(|(method, scores)| whole.widen(method, scores.iter().copied()));
        assert_eq!(whole.range("lse").map(|r| (r.min, r.max)), Some((-4.0, 2.0)));
        let mut joined = ReferenceRecord::default();
        for (method, scores) in scores.iter().rev() {
            let mut part = ReferenceRecord::default();
            part.widen(method, scores.iter().copied());
            joined.join(&part);
        }
        assert_eq!(joined, whole);
        joined.widen("msp", [f32::NAN].into_iter());
        assert!(joined.range("msp").is_none());
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<ReferenceRecord>(&json).unwrap(), whole);
    }
}
