//! A detector that is open: what the detection lane works with.

use anyhow::Result;

use super::verdicts::Facts;
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

/// The detector that a configuration describes.
///
/// # Errors
/// As [`Detector::open`].
pub(super) fn open(config: &Config) -> Result<Opened> {
    let detector = Detector::open(config)?;
    let alarms = detector.alarms.clone();
    let facts = Facts {
        summary: detector.summary.clone(),
        provider: detector.provider().to_owned(),
        search: detector.search.clone(),
        fallbacks: detector.fallbacks.clone(),
    };
    Ok(Opened { alarms, facts, chain: Box::new(|frames| detector.chain(frames)) })
}
