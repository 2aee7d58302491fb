//! Known outliers: things that are strange for sure.

use super::part::Built;
use crate::bank::{OutlierRecord, OutlierRows};

/// Features of known outliers as they come from the model, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Outliers {
    /// The features.
    pub rows: OutlierRows,
    /// Pictures, patches and label values.
    pub record: OutlierRecord,
}

impl Outliers {
    /// The features of a shard that [`super::gather_outliers`] made by the label `values`.
    pub fn of(shard: Built, values: &[u16]) -> Outliers {
        let contents = shard.contents;
        let build = &contents.metadata.build;
        let record = OutlierRecord {
            frames: build.frames,
            patches: build.patches - build.void_patches,
            rows: contents.origins.len(),
            values: values.to_vec(),
        };
        Outliers { rows: OutlierRows { rows: contents.features, means: contents.extras.means }, record }
    }
}
