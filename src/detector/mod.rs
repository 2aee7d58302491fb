//! The detector: its parts opened from a configuration, and the only place where the order of the
//! stages is written.

mod ends;
mod fallbacks;
mod items;
mod mapper;
mod opener;
mod scoring;
mod stages;
mod status;
mod views;

use std::time::Duration;

use anyhow::Result;

pub use ends::{Deliver, Draw, EventRecorder, Record, VideoEnd};
pub use items::{Featured, Judged, Mapped, Measured, Prepared, Verdict};
pub use mapper::{Mapper, Setup};
pub use opener::{open_features, open_session};
pub use stages::{Bypass, Extract, Map, Preprocess, Score, Search};
pub use status::Status;

use crate::bank::{Bank, Threshold};
use crate::config::{Config, ConfigError};
use crate::features::Session;
use crate::flow::{Flow, FlowError};
use crate::frame::Frame;
use crate::overlay::ScoreScale;
use crate::pool::Pool;
use crate::score::{Class, Enlarger, Regions, Roi, ThresholdSetting};
use opener::{Front, Opened};

/// Everything between a frame and its scores, opened and checked against each other.
pub struct Detector {
    front: Front,
    score: Score,
    /// What scores mean in this run.
    pub scale: ScoreScale,
    /// Where the threshold comes from, in words.
    pub threshold_basis: String,
    /// Device, model and bank in a few words, for the status line.
    pub summary: String,
}

impl Detector {
    /// Opens model, bank and search, and says in the log what runs where and why.
    ///
    /// # Errors
    /// What does not open or does not fit, with the remedy.
    pub fn open(config: &Config) -> Result<Detector> {
        let method = config.score.method;
        let Opened { mut front, mut scoring, bank, engine, numbers, .. } = Opened::open(config, &[method])?;
        let roi = roi(config, &front.extract.session)?;
        front.extract.with_logits |= roi.as_ref().is_some_and(Roi::needs_logits);
        let threshold = threshold(config, bank.as_deref())?;
        // A step of the score: what normal patches differ by, or a part of a threshold set by hand.
        let calibrated = bank.as_ref().and_then(|bank| bank.calibration()?.method(method.name()).ok());
        let spread = calibrated.map_or(threshold.value.abs() / 8.0, |known| known.deviation as f32).max(1e-6);
        let scale = ScoreScale { threshold: threshold.value, spread };
        tracing::info!(threshold = threshold.value, basis = threshold.basis, method = method.name(), "score");
        let enlarger = Enlarger::new(&config.score);
        scoring.with_luma = enlarger.needs_luma();
        Ok(Detector {
            summary: summary(config, &front.extract.session, engine.as_deref()),
            front,
            score: Score {
                scoring,
                enlarger,
                roi,
                masks: Pool::new(),
                regions: Regions::new(threshold.value, config.score.min_region_px),
                maps: Vec::new(),
                numbers,
                region_lists: Pool::new(),
            },
            scale,
            threshold_basis: threshold.basis,
        })
    }

    /// The stages from a frame to its verdict, in their order.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn chain(self, frames: Flow<Frame>) -> Result<Flow<Judged>, FlowError> {
        self.front.chain(frames)?.stage("score", self.score)
    }
}

/// Device, model and bank in a few words.
fn summary(config: &Config, session: &Session, engine: Option<&str>) -> String {
    // What follows the engine's name is detail for the log.
    let device = match engine.and_then(|name| name.split(' ').next()) {
        Some(name) => format!("{} {name}", session.provider()),
        None => session.provider().to_owned(),
    };
    let bank = config.bank.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    format!("{device}  {}  {}", session.identity().name, bank.unwrap_or_else(|| "no bank".into()))
}

/// Where alarms count, if not everywhere.
///
/// # Errors
/// Classes that the model does not give or name.
fn roi(config: &Config, session: &Session) -> Result<Option<Roi>> {
    let score = &config.score;
    let polygons = score.roi.as_ref().map_or(&[][..], |roi| roi.all());
    if polygons.is_empty() && score.roi_classes.is_empty() {
        return Ok(None);
    }
    if score.roi_classes.is_empty() {
        return Ok(Some(Roi::new(polygons, None)));
    }
    let invalid = |why: String| ConfigError::Invalid(format!("score.roi_classes: {why}"));
    let classes = session.classes().ok_or_else(|| {
        invalid("this model gives no logits to see classes by; name them in model.logits".to_owned())
    })?;
    let names = session.class_names();
    let number = |class: &Class| match class {
        Class::Number(number) if *number < classes => Ok(*number),
        Class::Number(number) => {
            Err(invalid(format!("there is no class {number}, the model has 0 to {}", classes - 1)))
        }
        Class::Name(name) if names.is_empty() => {
            Err(invalid(format!("the model file names no classes; give {name:?} as a number from 0")))
        }
        Class::Name(name) => names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| invalid(format!("there is no class {name:?}; known are {}", names.join(", ")))),
    };
    let numbers = score.roi_classes.iter().map(number).collect::<Result<_, _>>()?;
    Ok(Some(Roi::new(polygons, Some((numbers, score.roi_margin)))))
}

/// The threshold that `config` asks for.
fn threshold(config: &Config, bank: Option<&Bank>) -> Result<Threshold> {
    Ok(match (bank, config.score.threshold) {
        (Some(bank), _) => config.score.resolve(bank, config.search.k, &config.views.describe())?,
        (None, ThresholdSetting::Fixed(value)) => Threshold { value, basis: "set by hand".into() },
        (None, ThresholdSetting::Auto) => {
            let why = "score.threshold is \"auto\", which comes from a bank: set bank.path, or give a number";
            return Err(ConfigError::Invalid(why.into()).into());
        }
    })
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
