//! A detector that is open: what the detection lane works with.

use anyhow::Result;

use super::verdicts::Facts;
use crate::bank::Supplements;
use crate::config::Config;
use crate::detector::{Alarms, Detector, Judged};
use crate::flow::{Flow, FlowError};
use crate::frame::Frame;

/// A detector that can be put to work.
pub(super) struct Opened {
    pub alarms: Alarms,
    pub facts: Facts,
    pub chain: Box<Chain>,
}

/// The way of frames through it.
pub(super) type Chain = dyn FnOnce(Flow<Frame>) -> Result<Flow<Judged>, FlowError> + Send;
/// What opens it.
pub(super) type Opener = dyn Fn(&Config) -> Result<Opened> + Send + Sync;

/// The detector that a configuration describes, which judges by what was marked as normal, too.
///
/// # Errors
/// As [`Detector::open`].
pub(super) fn open(config: &Config, supplements: &Supplements) -> Result<Opened> {
    let mut detector = Detector::open_beside(config, Some(supplements.clone()))?;
    detector.keep_features();
    let alarms = detector.alarms.clone();
    let facts = Facts {
        summary: detector.summary.clone(),
        provider: detector.provider().to_owned(),
        search: detector.search.clone(),
        fallbacks: detector.fallbacks.clone(),
    };
    Ok(Opened { alarms, facts, chain: Box::new(|frames| detector.chain(frames)) })
}
