//! The detector: its parts opened from a configuration, and the only place where the order of the
//! stages is written.

mod ends;
mod extractor;
mod fallbacks;
mod items;
mod looks;
mod mapper;
mod stages;
mod status;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

pub use ends::{Deliver, Draw, EventRecorder, Record, VideoEnd};
pub use extractor::FeatureExtractor;
pub use items::{Featured, Judged, Mapped, Measured, Prepared, Verdict};
pub use looks::{Looks, resolve};
pub use mapper::{MapScores, Mapper, Setup};
pub use stages::{Bypass, Extract, Preprocess, Score, Search};
pub use status::Status;

use crate::bank::{Bank, Threshold};
use crate::config::{Config, ConfigError};
use crate::features::{Preprocessor, Session};
use crate::flow::{Flow, FlowError};
use crate::frame::Frame;
use crate::grid::ScoreMap;
use crate::identity::ModelIdentity;
use crate::luma::Luma;
use crate::nearest;
use crate::overlay::ScoreScale;
use crate::pool::Pool;
use crate::score::{
    Class, Enlarger, Grounds, MotionTracker, Regions, Roi, Scorer, TemporalSmoother, ThresholdSetting,
};

/// Everything between a frame and its scores, opened and checked against each other.
pub struct Detector {
    preprocess: Preprocess,
    extract: Extract,
    search: Search,
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
        let (mut preprocess, mut extract) = open_features(config)?;
        let identity = extract.session.identity().clone();
        let method = config.score.method;
        let bank = open_bank(config, &identity)?;
        let scorer =
            Scorer::open(method, &config.score, &grounds(config, &extract.session, bank.as_deref()))?;
        let roi = roi(config, &extract.session)?;
        extract.with_logits = method.needs_logits() || roi.as_ref().is_some_and(Roi::needs_logits);
        let search = open_search(config, bank.as_ref().filter(|_| method.searches()), &mut extract.session)?;
        let engine = search.map(|search| search.engine);
        let looks = engine.as_ref().and_then(|_| Looks::open(config, bank.as_deref()));
        if looks.is_none() {
            preprocess.views.clear();
        }
        extract.with_logits |= wants_logits(engine.as_ref(), extract.session.classes())?;
        let threshold = threshold(config, bank.as_deref())?;
        // A step of the score: what normal patches differ by, or a part of a threshold set by hand.
        let calibrated = bank.as_ref().and_then(|bank| bank.calibration()?.method(method.name()).ok());
        let spread = calibrated.map_or(threshold.value.abs() / 8.0, |known| known.deviation as f32).max(1e-6);
        let scale = ScoreScale { threshold: threshold.value, spread };
        tracing::info!(threshold = threshold.value, basis = threshold.basis, method = method.name(), "score");
        // What follows the engine's name is detail for the log.
        let engine_name = engine.as_ref().map(|engine| engine.name());
        let device = match engine_name.as_deref().and_then(|name| name.split(' ').next()) {
            Some(name) => format!("{} {name}", extract.session.provider()),
            None => extract.session.provider().to_owned(),
        };
        let bank_name = config.bank.path.file_stem().map(|s| s.to_string_lossy().into_owned());
        let summary =
            format!("{device}  {}  {}", identity.name, bank_name.unwrap_or_else(|| "no bank".into()));
        let numbers = Pool::new();
        Ok(Detector {
            preprocess,
            extract,
            search: Search { engine, numbers: numbers.clone(), classes: Vec::new(), looks },
            score: Score {
                scorer,
                temporal: TemporalSmoother::new(config.score.temporal)
                    .map(|smoother| (MotionTracker::new(), smoother)),
                enlarger: Enlarger::new(&config.score),
                roi,
                luma: Luma::default(),
                masks: Pool::new(),
                regions: Regions::new(threshold.value, config.score.min_region_px),
                map: ScoreMap::default(),
                numbers,
                region_lists: Pool::new(),
            },
            scale,
            threshold_basis: threshold.basis,
            summary,
        })
    }

    /// The stages from a frame to its verdict, in their order.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn chain(self, frames: Flow<Frame>) -> Result<Flow<Judged>, FlowError> {
        featured(frames, self.preprocess, self.extract)?
            .stage("nearest", self.search)?
            .stage("score", self.score)
    }
}

/// The bank that `config` names, if any, checked to be made by the model at hand.
fn open_bank(config: &Config, model: &ModelIdentity) -> Result<Option<Arc<Bank>>> {
    if config.bank.path.as_os_str().is_empty() {
        return Ok(None);
    }
    let bank = Bank::open_in_memory(&config.bank.path, config.search.k)?;
    bank.check_model(model)?;
    tracing::info!(bank = %config.bank.path.display(), rows = bank.rows(), width = bank.width(), "bank");
    Ok(Some(Arc::new(bank)))
}

/// What the scores of this model and this bank are made from.
fn grounds<'a>(config: &Config, session: &Session, bank: Option<&'a Bank>) -> Grounds<'a> {
    Grounds {
        bank,
        k: config.search.k,
        has_logits: session.classes().is_some(),
        logits_kind: session.logits_kind(),
        same_views: looks::same_views(config, bank),
    }
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

/// The search among the features of `bank`, if any method wants it; features that it takes as they are stay on the GPU.
fn open_search(
    config: &Config,
    bank: Option<&Arc<Bank>>,
    session: &mut Session,
) -> Result<Option<nearest::Search>> {
    let Some(bank) = bank else { return Ok(None) };
    let search = nearest::open_on(&config.search, bank, session.stream())?;
    let shares = session.stream().is_some_and(|stream| search.engine.shares(&**stream));
    session.keep_on_gpu(shares);
    if let Some(why) = &search.fallback {
        fallbacks::of_search(why);
    }
    tracing::info!(engine = search.engine.name(), k = config.search.k, "search");
    Ok(Some(search))
}

/// Whether `engine` wants the model's logits, to tell classes apart.
fn wants_logits(engine: Option<&nearest::Gauge>, classes: Option<usize>) -> Result<bool> {
    let wants = engine.is_some_and(nearest::Gauge::wants_classes);
    if wants && classes.is_none() {
        let why = "the bank is searched by class, which needs the model's logits: name them in model.logits";
        return Err(ConfigError::Invalid(why.into()).into());
    }
    Ok(wants)
}

/// The threshold that `config` asks for.
fn threshold(config: &Config, bank: Option<&Bank>) -> Result<Threshold> {
    Ok(match (bank, config.score.threshold) {
        (Some(bank), _) => resolve(config, &config.score, bank)?,
        (None, ThresholdSetting::Fixed(value)) => Threshold { value, basis: "set by hand".into() },
        (None, ThresholdSetting::Auto) => {
            let why = "score.threshold is \"auto\", which comes from a bank: set bank.path, or give a number";
            return Err(ConfigError::Invalid(why.into()).into());
        }
    })
}

/// The stages from a frame to its features: shared by detection and the building of banks.
fn featured(
    frames: Flow<Frame>,
    preprocess: Preprocess,
    extract: Extract,
) -> Result<Flow<Featured>, FlowError> {
    frames.stage("preprocess", preprocess)?.stage("features", extract)
}

/// Opens the model; on a GPU, on a stream that the search can share.
///
/// # Errors
/// As [`Session::open`].
pub fn open_session(config: &Config) -> Result<Session> {
    let streams = |gpu| nearest::cuda::stream(gpu).map_err(|why| why.to_string());
    Session::open_on(&config.model, &config.runtime, &streams)
}

/// Opens the model and says what runs it.
///
/// # Errors
/// If the library, the model or the device insisted on cannot be had.
pub fn open_features(config: &Config) -> Result<(Preprocess, Extract)> {
    let session = open_session(config)?;
    fallbacks::of_model(&session);
    tracing::info!("{}", session.describe());
    let preprocess = Preprocess {
        preprocessor: Preprocessor::new(session.input_spec()),
        views: looks::preprocessors(&config.views, session.input_spec())?,
        inputs: Pool::new(),
    };
    let with_logits = session.classes().is_some();
    Ok((preprocess, Extract { session, numbers: Pool::new(), with_logits }))
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
