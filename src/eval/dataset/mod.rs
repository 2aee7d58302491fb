//! Data sets: which images there are, which mask tells the truth of each, and what its values mean.

mod check;
mod error;
mod folder;
mod kind;
mod layouts;
mod spec;
mod walk;

use std::path::PathBuf;

pub use check::{Check, Fault, FileCheck};
pub use error::DatasetError;
pub use kind::Kind;
pub use spec::DatasetSpec;

use super::truth::ValueMap;

/// One image and its truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What it is called in results; may have folders, with `/` between.
    pub name: String,
    /// The picture; its content decides the format.
    pub image: PathBuf,
    /// The mask; `None` if there is none.
    pub truth: Option<PathBuf>,
    /// The video that it is a frame of.
    pub sequence: Option<String>,
}

/// A data set, listed and not yet checked.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Kind and path.
    pub spec: DatasetSpec,
    /// Images in natural order; frames of a sequence follow each other.
    pub samples: Vec<Sample>,
    /// What the values of the masks mean.
    pub values: ValueMap,
    /// Frames per second of its sequences.
    pub fps: f64,
    /// What was left out on purpose, in words.
    pub notes: Vec<String>,
}

/// Frames per second of the published sequences, which do not say.
const DEFAULT_FPS: f64 = 10.0;

impl Dataset {
    /// Lists the data set; looks at names, not into files.
    ///
    /// # Errors
    /// [`DatasetError`]: nothing of that kind lies there, or the description of a folder is wrong.
    pub fn open(spec: &DatasetSpec) -> Result<Dataset, DatasetError> {
        if !spec.path.exists() {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(DatasetError::Unreadable { path: spec.path.clone(), source });
        }
        if spec.kind == Kind::Folder {
            return folder::open(spec);
        }
        let listing = layouts::list(spec.kind, &spec.path)?;
        Ok(Dataset {
            spec: spec.clone(),
            samples: listing.samples,
            values: values(spec.kind),
            fps: DEFAULT_FPS,
            notes: listing.notes,
        })
    }
}

/// What the values of a kind's masks mean. Values that are not named are errors.
fn values(kind: Kind) -> ValueMap {
    let map = |normal: &[u16], anomaly: &[u16], void: &[u16]| ValueMap {
        normal: normal.to_vec(),
        anomaly: anomaly.to_vec(),
        void: void.to_vec(),
    };
    match kind {
        Kind::RoadAnomaly => map(&[0], &[2], &[255]),
        Kind::LostAndFound | Kind::LostAndFoundNoKnown => {
            ValueMap { normal: vec![1], anomaly: (2..=200).collect(), void: vec![0, 255] }
        }
        // Stored plus one: 1 is unlabelled, which the authors' protocol counts as normal.
        Kind::StreetHazards => ValueMap { normal: (1..=13).collect(), anomaly: vec![14], void: Vec::new() },
        Kind::VideoOod => map(&[0], &[254], &[255]),
        Kind::SmiycAnomaly | Kind::SmiycObstacle | Kind::FishyscapesLaf | Kind::Folder => ValueMap::default(),
    }
}

#[cfg(test)]
mod tests;
