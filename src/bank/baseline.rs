//! What is normal for a score of patches.

use serde::{Deserialize, Serialize};

/// Distances of one part, or what a discriminant says, on the patches of held-out normal frames, void ones left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (of the population).
    pub deviation: f64,
}

impl Baseline {
    /// What numbers mean where nothing is known of normal ones: as they are.
    pub const UNKNOWN: Baseline = Baseline { mean: 0.0, deviation: 1.0 };
}
