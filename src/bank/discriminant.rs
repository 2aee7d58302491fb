//! What tells references from known outliers beside distances: a direction in the space of the features.

use serde::{Deserialize, Serialize};

use super::Baseline;

/// The score of a patch x becomes its distance, in standard deviations, plus `weight` times max(z - 1, 0), z being the
/// z-score of L(x) = w . x on normal frames: what lies on the outliers' side is stranger for it, and nothing is less
/// strange because it is unlike the known outliers. w is Fisher's linear discriminant between the references r and the known outliers o, regularised:
/// w = ((S_r + S_o) / 2 + ridge I)^-1 (m_o - m_r), m the means and S the covariances of the features of the recipe's parts,
/// each part divided by the root of the mean variance of its references; the mean of a picture is taken off first where
/// the recipe does so. All numbers of the parts count, those that a reduction leaves out, too.
///
/// Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems" (1936); the ridge: J. H. Friedman,
/// "Regularized discriminant analysis" (1989).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Discriminant {
    /// How much it counts beside the distance.
    pub weight: f64,
    /// How far the covariance is drawn to that of equal, independent numbers; in mean variances.
    pub ridge: f64,
    /// L on the patches of held-out normal frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

impl Discriminant {
    /// What is added to the distance of a patch with this z-score.
    pub fn of(&self, z: f64) -> f64 {
        /// One normal patch in six lies further, if they are Gaussian.
        const USUAL: f64 = 1.0;
        self.weight * (z - USUAL).max(0.0)
    }

    /// Whether its numbers make sense.
    pub fn is_sane(&self) -> bool {
        let fine = |x: f64| x.is_finite() && x >= 0.0;
        fine(self.weight) && fine(self.ridge)
    }
}
