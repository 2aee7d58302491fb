//! The detector: its parts opened from a configuration, and the only place where the order of the
//! stages is written.

mod alarms;
mod classes;
mod crop;
mod ends;
mod event_looks;
mod events;
mod fallbacks;
mod items;
mod looks;
mod mapper;
mod opener;
mod road;
mod road_map;
mod scoring;
mod stages;
mod status;
mod views;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

pub use alarms::{Alarms, Baseline, Level, threshold};
pub use ends::{Deliver, Draw, Record, VideoEnd};
pub use events::{EventRecorder, EventRecorders};
pub use items::{Featured, FrameFeatures, Judged, Mapped, Measured, Prepared, RoadSeen, Verdict};
pub use looks::{Looks, Seen};
pub use mapper::{Mapper, Setup};
pub use opener::{open_features, open_session};
pub use road_map::RoadRecord;
pub use stages::{Bypass, Extract, Map, Preprocess, Score, Search};
pub use status::Status;

use crate::bank::Supplements;
use crate::config::Config;
use crate::features::Session;
use crate::flow::{Flow, FlowError};
use crate::frame::Frame;
use crate::score::Enlarger;
use opener::{Front, Opened};
pub use road::open_road_session;
use road::{Road, RoadModel};

/// Everything between a frame and its scores, opened and checked against each other.
pub struct Detector {
    front: Front,
    score: Score,
    /// The streams that are judged. Frames of others come out without a verdict.
    pub alarms: Alarms,
    /// Device, model and bank in a few words, for the status line.
    pub summary: String,
    /// The search engine, if any method searches.
    pub search: Option<String>,
    /// Why better devices were passed over.
    pub fallbacks: Vec<String>,
}

impl Detector {
    /// Opens model, bank and search, and says in the log what runs where and why. No stream is judged yet.
    ///
    /// # Errors
    /// What does not open or does not fit, with the remedy.
    pub fn open(config: &Config) -> Result<Detector> {
        Detector::open_beside(config, Supplements::existing(&config.supplement)?)
    }

    /// As [`Detector::open`], with these supplements of the bank instead of those that the configuration names.
    ///
    /// # Errors
    /// As there.
    pub fn open_beside(config: &Config, supplements: Option<Supplements>) -> Result<Detector> {
        let Opened { mut front, mut scoring, bank, engine, fallbacks, numbers } =
            Opened::open(config, &[config.score.method], supplements)?;
        let road = config.roi.has_model().then(|| RoadModel::open(config)).transpose()?;
        let session = &front.extract.session;
        let with_logits = Arc::clone(&front.extract.with_logits);
        let alarms = Alarms::new(config, session, bank, with_logits, road.as_ref().map(RoadModel::classes));
        let enlarger = Enlarger::new(&config.score);
        scoring.with_luma = enlarger.needs_luma();
        let summary = summary(config, session, engine.as_deref(), road.as_ref());
        let mut score = Score::new(scoring, enlarger, alarms.clone(), numbers);
        score.road_model = road.is_some();
        front.road = road.map(|mut model| {
            let look = Box::new(move |frame: &Frame| model.look(frame));
            Road::new(look, config.roi.every, alarms.clone())
        });
        Ok(Detector { summary, search: engine, fallbacks, front, score, alarms })
    }

    /// From now on [`Judged`] frames hold their features.
    pub fn keep_features(&mut self) {
        self.front.search.keep = Some(Arc::new(self.front.extract.session.identity().clone()));
    }

    /// What runs the model.
    pub fn provider(&self) -> &str {
        self.front.extract.session.provider()
    }

    /// The stages from a frame to its verdict, in their order.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn chain(self, frames: Flow<Frame>) -> Result<Flow<Judged>, FlowError> {
        self.front.chain(frames)?.stage("score", self.score)
    }
}

/// Device, models and bank in a few words, or the detector that has them.
fn summary(config: &Config, session: &Session, engine: Option<&str>, road: Option<&RoadModel>) -> String {
    // What follows the engine's name is detail for the log.
    let device = match engine.and_then(|name| name.split(' ').next()) {
        Some(name) => format!("{} {name}", session.provider()),
        None => session.provider().to_owned(),
    };
    if let Some(detector) = &config.detector {
        return format!("{device}  {detector}");
    }
    let bank = config.bank.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let road = road.map(|road| format!(" + {}", road.identity().name)).unwrap_or_default();
    format!("{device}  {}{road}  {}", session.identity().name, bank.unwrap_or_else(|| "no bank".into()))
}

/// The whole way of a frame: detected (or passed by), recorded, drawn, delivered. Returns when the
/// source has ended or was asked to stop and everything is drained.
///
/// # Errors
/// The first failure along the way.
pub fn detect(
    frames: Flow<Frame>,
    detector: Option<Detector>,
    record: Record,
    draw: Option<Draw>,
    deliver: Deliver,
    patience: Duration,
) -> Result<(), FlowError> {
    let judged = match detector {
        Some(detector) => detector.chain(frames)?,
        None => frames.stage("bypass", Bypass)?,
    };
    let recorded = judged.stage("record", record)?;
    let drawn = match draw {
        Some(draw) => recorded.stage("overlay", draw)?,
        None => recorded,
    };
    drawn.run("encode", deliver, patience)
}

#[cfg(test)]
mod tests;
