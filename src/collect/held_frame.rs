//! What is kept of a held-out frame until the bank stands.

use super::seen::Seen;
use super::uncertainty::Uncertainty;
use crate::digest::Digest;

/// One held-out frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeldFrame {
    pub(super) image: Digest,
    pub(super) block: (String, u64),
    /// Width and height in pixels, where it has views.
    pub(super) size: (usize, usize),
    pub(super) seen: Seen,
    /// The same of views beside the whole picture, one for each window.
    pub(super) views: Vec<Seen>,
    /// What its logits say, of no method where the model has none.
    pub(super) uncertainty: Uncertainty,
}
