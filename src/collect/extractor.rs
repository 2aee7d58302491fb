//! The first stages without threads: features of single frames, for the building of banks.

use anyhow::Result;

use super::extract::Extract;
use crate::config::Config;
use crate::detector::open_features;
use crate::features::{ModelInput, Preprocessor, Session};
use crate::frame::Frame;
use crate::grid::{Features, Logits, LogitsKind};
use crate::identity::ModelIdentity;

/// Preprocessing and model in one call.
pub struct FeatureExtractor {
    preprocessor: Preprocessor,
    views: Vec<Preprocessor>,
    session: Session,
    input: ModelInput,
}

impl FeatureExtractor {
    /// Opens the model of `config`.
    ///
    /// # Errors
    /// If the library, the model or the device insisted on cannot be had.
    pub fn open(config: &Config) -> Result<Self> {
        let (preprocess, extract) = open_features(config)?;
        Ok(FeatureExtractor {
            preprocessor: preprocess.preprocessor,
            views: preprocess.views,
            session: extract.session,
            input: ModelInput::default(),
        })
    }
}

impl Extract for FeatureExtractor {
    fn extract(&mut self, frame: &Frame, out: &mut Features, logits: Option<&mut Logits>) -> Result<()> {
        self.preprocessor.step(frame, &mut self.input)?;
        self.session.settle();
        self.session.run(&self.input, out, logits)
    }

    fn extract_views(&mut self, frame: &Frame, out: &mut Vec<Features>) -> Result<()> {
        out.resize_with(self.views.len(), Features::default);
        for (view, out) in self.views.iter_mut().zip(out) {
            view.step(frame, &mut self.input)?;
            self.session.run(&self.input, out, None)?;
        }
        Ok(())
    }

    fn identity(&self) -> ModelIdentity {
        self.session.identity().clone()
    }

    fn has_logits(&self) -> bool {
        self.session.classes().is_some()
    }

    fn logits_kind(&self) -> Option<LogitsKind> {
        self.session.logits_kind()
    }
}
