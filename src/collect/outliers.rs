//! Known outliers: things that are strange for sure.

use crate::bank::{OutlierRecord, OutlierRows};

/// Features of known outliers as they come from the model, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Outliers {
    /// The features.
    pub rows: OutlierRows,
    /// Pictures, patches and label values.
    pub record: OutlierRecord,
}
