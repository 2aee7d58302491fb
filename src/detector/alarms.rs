//! What alarms in each stream: its threshold, where it counts, and how large it must be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::classes::ClassNames;
use crate::bank::{Bank, Threshold};
use crate::config::{Config, ConfigError};
use crate::features::Session;
use crate::frame::StreamId;
use crate::overlay::ScoreScale;
use crate::score::{Regions, Roi, Scene, ScoreConfig, ThresholdSetting};

/// The streams that are judged; cloning shares them. Streams may come and go while frames are judged.
#[derive(Clone)]
pub struct Alarms(Arc<Inner>);

struct Inner {
    facts: Facts,
    /// Whether anybody wants the model's logits.
    with_logits: Arc<AtomicBool>,
    streams: Mutex<BTreeMap<StreamId, Alarm>>,
}

/// What thresholds and regions of interest are made of.
struct Facts {
    bank: Option<Arc<Bank>>,
    /// Neighbours, and the views in words.
    searched: (usize, String),
    classes: ClassNames,
    /// Classes of a road model of its own, and by how much the road is widened.
    road: Option<(Vec<usize>, f32)>,
}

/// What decides in one stream.
pub(super) struct Alarm {
    /// Where alarms count, if not everywhere.
    pub roi: Option<Roi>,
    pub regions: Regions,
    /// Finds what is evidence in part, if anything is.
    pub weak: Option<Regions>,
    /// Whether the scene as a whole is unlike the bank.
    pub scene: Scene,
    pub scale: ScoreScale,
}

/// What the score of normal frames is, by the bank's held-out ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Baseline {
    /// Half of all cells score less.
    pub median: f32,
    /// Standard deviation of all cells.
    pub deviation: f64,
}

/// The scores that alarm in a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// The threshold, and a step of the score.
    pub scale: ScoreScale,
    /// Where the threshold comes from, in words.
    pub basis: String,
    /// What is normal, if the bank tells.
    pub baseline: Option<Baseline>,
}

impl Alarms {
    /// No streams yet. Whoever needs logits sets `with_logits`. `road`: classes of a road model of its own.
    pub(super) fn new(
        config: &Config,
        session: &Session,
        bank: Option<Arc<Bank>>,
        with_logits: Arc<AtomicBool>,
        road: Option<&[usize]>,
    ) -> Alarms {
        let facts = Facts {
            bank,
            searched: (config.search.k, config.views.describe()),
            classes: ClassNames { classes: session.classes(), names: session.class_names().to_vec() },
            road: road.map(|classes| (classes.to_vec(), config.roi.margin)),
        };
        Alarms(Arc::new(Inner { facts, with_logits, streams: Mutex::default() }))
    }

    /// From now on frames of `stream` are judged by `rules`: threshold, region of interest, least area. Other rules of
    /// a stream that is known take the place of its own.
    ///
    /// # Errors
    /// Classes that the model does not give or name; an automatic threshold that the bank does not give.
    pub fn add(&self, stream: StreamId, rules: &ScoreConfig) -> Result<Level> {
        let facts = &self.0.facts;
        let roi = facts.roi(rules)?;
        let threshold = facts.threshold(rules)?;
        // A step of the score: what normal patches differ by, or a part of a threshold set by hand.
        let method = rules.method.name();
        let calibrated = facts.bank.as_ref().and_then(|bank| bank.calibration()?.method(method).ok());
        let spread = calibrated.map_or(threshold.value.abs() / 8.0, |known| known.deviation as f32).max(1e-6);
        let scale = ScoreScale { threshold: threshold.value, spread };
        tracing::info!(stream, threshold = threshold.value, basis = threshold.basis, method, "score");
        if facts.road.is_none() && roi.as_ref().is_some_and(Roi::needs_logits) {
            self.0.with_logits.store(true, Ordering::Relaxed);
        }
        let regions = |threshold| Regions::new(threshold, rules.min_region_px);
        let weak = (rules.event_reach > 0.0).then(|| regions(threshold.value - rules.event_reach));
        let scene = Scene::new(rules.scene_share, rules.scene_frames);
        self.insert(stream, Alarm { roi, regions: regions(threshold.value), weak, scene, scale });
        let baseline = calibrated.and_then(|known| {
            let median = known.quantiles.iter().find(|(level, _)| *level == 0.5)?.1;
            Some(Baseline { median, deviation: known.deviation })
        });
        Ok(Level { scale, basis: threshold.basis, baseline })
    }

    /// The bank that scores come from, if there is one.
    pub fn bank(&self) -> Option<Arc<Bank>> {
        self.0.facts.bank.clone()
    }

    /// Frames of `stream` are judged no more.
    pub fn remove(&self, stream: StreamId) {
        self.streams().remove(&stream);
    }

    pub(super) fn insert(&self, stream: StreamId, alarm: Alarm) {
        self.streams().insert(stream, alarm);
    }

    pub(super) fn streams(&self) -> MutexGuard<'_, BTreeMap<StreamId, Alarm>> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without model and bank.
    #[cfg(test)]
    pub(crate) fn of_test() -> Alarms {
        let facts =
            Facts { bank: None, searched: (1, String::new()), classes: ClassNames::default(), road: None };
        Alarms(Arc::new(Inner { facts, with_logits: Arc::default(), streams: Mutex::default() }))
    }
}

impl Facts {
    /// Where alarms count, if not everywhere.
    ///
    /// # Errors
    /// Classes that the model does not give or name.
    fn roi(&self, score: &ScoreConfig) -> Result<Option<Roi>> {
        let polygons = score.roi.as_ref().map_or(&[][..], |roi| roi.all());
        let road = match &self.road {
            Some(road) => Some(road.clone()),
            None if score.roi_classes.is_empty() => None,
            None => Some((self.classes.numbers("score.roi_classes", &score.roi_classes)?, score.roi_margin)),
        };
        Ok((!polygons.is_empty() || road.is_some()).then(|| Roi::new(polygons, road)))
    }

    fn threshold(&self, score: &ScoreConfig) -> Result<Threshold> {
        threshold(score, self.bank.as_deref(), self.searched.0, &self.searched.1)
    }
}

/// The threshold that `score` asks for, with a bank searched for `k` neighbours, and these views in words.
///
/// # Errors
/// An automatic one that the bank does not give.
pub fn threshold(score: &ScoreConfig, bank: Option<&Bank>, k: usize, views: &str) -> Result<Threshold> {
    Ok(match (bank, score.threshold) {
        (Some(bank), _) => score.resolve(bank, k, views)?,
        (None, ThresholdSetting::Fixed(value)) => Threshold { value, basis: "set by hand".into() },
        (None, ThresholdSetting::Auto) => {
            let why = "score.threshold is \"auto\", which comes from a bank: set bank.path, or give a number";
            return Err(ConfigError::Invalid(why.into()).into());
        }
    })
}
