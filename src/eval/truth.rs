//! Truth masks: raw values read by content, brought to normal, anomaly and void by a value map.
//!
//! A wrong label encoding scores wrong without a word, so no value is guessed: each one a mask holds is
//! either in the map or an error that names it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::collect::{LabelError, LabelMask};

/// Label of a pixel that shows what the training data knows.
pub const NORMAL: u8 = 0;
/// Label of a pixel that shows what the training data never did.
pub const ANOMALY: u8 = 1;
/// Label of a pixel that no metric counts.
pub const VOID: u8 = 255;

/// Why a mask cannot serve as truth.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// Not an image of values: corrupt, lossy, in colours.
    #[error(transparent)]
    Unreadable(#[from] LabelError),
    /// Values that the map does not know.
    #[error("the truth {path} holds {unknown}", path = path.display())]
    Unknown {
        /// The mask.
        path: PathBuf,
        /// What is unknown.
        unknown: UnknownValues,
    },
}

/// Values of a mask that its value map does not name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "values that are neither normal, anomaly nor void: {}; name them in the value map, or take the mask of the right kind",
    listed(values)
)]
pub struct UnknownValues {
    /// Each value and the pixels that have it.
    pub values: BTreeMap<u16, u64>,
}

/// Why a value map makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueMapError {
    /// Nothing would be an anomaly.
    #[error("the value map names no value as anomaly")]
    NoAnomaly,
    /// One value, two meanings.
    #[error("the value map names {value} as {one} and as {other}")]
    Ambiguous {
        /// The value.
        value: u16,
        /// One meaning.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
}

/// What the raw values of a mask mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueMap {
    /// Values of normal pixels.
    pub normal: Vec<u16>,
    /// Values of anomalous pixels.
    pub anomaly: Vec<u16>,
    /// Values of pixels that no metric counts.
    #[serde(default)]
    pub void: Vec<u16>,
}

impl Default for ValueMap {
    /// 0 normal, 1 anomaly, 255 void.
    fn default() -> Self {
        ValueMap { normal: vec![0], anomaly: vec![1], void: vec![255] }
    }
}

impl ValueMap {
    /// Checks that some value means anomaly and that none means two things.
    ///
    /// # Errors
    /// [`ValueMapError`].
    pub fn check(&self) -> Result<(), ValueMapError> {
        if self.anomaly.is_empty() {
            return Err(ValueMapError::NoAnomaly);
        }
        let sets = [("normal", &self.normal), ("anomaly", &self.anomaly), ("void", &self.void)];
        for (i, (one, set)) in sets.iter().enumerate() {
            for (other, others) in &sets[i + 1..] {
                if let Some(value) = set.iter().find(|value| others.contains(value)) {
                    return Err(ValueMapError::Ambiguous { value: *value, one, other });
                }
            }
        }
        Ok(())
    }

    /// The truth that `raw` tells.
    ///
    /// # Errors
    /// [`UnknownValues`]: all of them, with their pixels.
    pub fn apply(&self, raw: &LabelMask) -> Result<Truth, UnknownValues> {
        // 256 stands for "unknown": no label has it.
        const UNKNOWN: u16 = 256;
        let mut table = vec![UNKNOWN; 1 << 16];
        for (label, set) in [(NORMAL, &self.normal), (ANOMALY, &self.anomaly), (VOID, &self.void)] {
            set.iter().for_each(|value| table[usize::from(*value)] = u16::from(label));
        }
        let mut unknown = false;
        let labels = raw.values.iter().map(|value| {
            let label = table[usize::from(*value)];
            unknown |= label == UNKNOWN;
            label as u8
        });
        let labels = labels.collect();
        if unknown {
            let mut values = values_seen(raw);
            values.retain(|value, _| table[usize::from(*value)] == UNKNOWN);
            return Err(UnknownValues { values });
        }
        Ok(Truth { width: raw.width, height: raw.height, labels })
    }
}

/// Each value of a mask and how many pixels have it.
pub fn values_seen(raw: &LabelMask) -> BTreeMap<u16, u64> {
    let mut counts = vec![0_u64; 1 << 16];
    raw.values.iter().for_each(|value| counts[usize::from(*value)] += 1);
    (0..=u16::MAX).zip(counts).filter(|(_, count)| *count > 0).collect()
}

/// What each pixel of an image shows: [`NORMAL`], [`ANOMALY`] or [`VOID`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height x width` labels, row by row.
    pub labels: Vec<u8>,
}

/// How many pixels are what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Share {
    /// Normal pixels.
    pub normal: u64,
    /// Anomalous pixels.
    pub anomaly: u64,
    /// Void pixels.
    pub void: u64,
}

impl std::ops::AddAssign for Share {
    fn add_assign(&mut self, other: Share) {
        self.normal += other.normal;
        self.anomaly += other.anomaly;
        self.void += other.void;
    }
}

impl Truth {
    /// Reads a mask and maps its values.
    ///
    /// # Errors
    /// [`TruthError`]: the file is no mask, or holds a value that the map does not know.
    pub fn read(path: &Path, values: &ValueMap) -> Result<Truth, TruthError> {
        let raw = LabelMask::read(path)?;
        values.apply(&raw).map_err(|unknown| TruthError::Unknown { path: path.to_owned(), unknown })
    }

    /// How many pixels are what.
    pub fn share(&self) -> Share {
        let mut share = Share::default();
        for label in &self.labels {
            match *label {
                NORMAL => share.normal += 1,
                ANOMALY => share.anomaly += 1,
                _ => share.void += 1,
            }
        }
        share
    }
}

/// The first few values with their pixels.
fn listed(values: &BTreeMap<u16, u64>) -> String {
    const SHOWN: usize = 8;
    let mut parts: Vec<String> =
        values.iter().take(SHOWN).map(|(value, pixels)| format!("{value} ({pixels} pixels)")).collect();
    if values.len() > SHOWN {
        parts.push(format!("{} more", values.len() - SHOWN));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(values: &[u16]) -> LabelMask {
        LabelMask { width: values.len(), height: 1, values: values.to_vec() }
    }

    #[test]
    fn values_become_labels_and_unknown_ones_are_all_named() {
        let map = ValueMap { normal: vec![1, 7000], anomaly: (2..=200).collect(), void: vec![0, 65535] };
        map.check().unwrap();
        let truth = map.apply(&raw(&[0, 1, 2, 200, 7000, 65535])).unwrap();
        assert_eq!(truth.labels, [VOID, NORMAL, ANOMALY, ANOMALY, NORMAL, VOID]);
        assert_eq!(truth.share(), Share { normal: 2, anomaly: 2, void: 2 });
        let unknown = map.apply(&raw(&[201, 1, 300, 201])).unwrap_err();
        assert_eq!(unknown.values, BTreeMap::from([(201, 2), (300, 1)]));
        assert!(unknown.to_string().contains("201 (2 pixels), 300 (1 pixels)"));
    }

    #[test]
    fn a_map_without_sense_is_refused() {
        let map = |n: &[u16], a: &[u16], v: &[u16]| ValueMap {
            normal: n.to_vec(),
            anomaly: a.to_vec(),
            void: v.to_vec(),
        };
        assert_eq!(map(&[0], &[], &[1]).check(), Err(ValueMapError::NoAnomaly));
        assert!(
            map(&[0, 3], &[3], &[]).check().unwrap_err().to_string().contains("names 3 as normal and as")
        );
        assert!(map(&[0], &[3], &[3]).check().is_err());
        let text = "normal = [0]\nanomaly = [1]\nvoids = [2]\n";
        assert!(toml::from_str::<ValueMap>(text).unwrap_err().to_string().contains("voids"));
    }
}
