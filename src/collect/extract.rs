//! What a build wants of a model: features of frames.

use crate::frame::Frame;
use crate::grid::{Features, Logits, LogitsKind};
use crate::identity::ModelIdentity;

/// What makes features of frames.
pub trait Extract {
    /// Fills `out` and, if the model has them, `logits` from one frame.
    ///
    /// # Errors
    /// If the model fails.
    fn extract(
        &mut self,
        frame: &Frame,
        out: &mut Features,
        logits: Option<&mut Logits>,
    ) -> anyhow::Result<()>;

    /// Fills `out` with the features of each window of the configuration's views beside the whole picture, if there are any.
    ///
    /// # Errors
    /// If the model fails.
    fn extract_views(&mut self, _frame: &Frame, out: &mut Vec<Features>) -> anyhow::Result<()> {
        out.clear();
        Ok(())
    }

    /// The model.
    fn identity(&self) -> ModelIdentity;

    /// Whether it gives logits.
    fn has_logits(&self) -> bool;

    /// What these are, if that is known.
    fn logits_kind(&self) -> Option<LogitsKind> {
        None
    }
}
