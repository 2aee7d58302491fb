//! What alarms in each stream: its threshold, where it counts, and how large it must be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::bank::{Bank, Threshold};
use crate::config::{Config, ConfigError};
use crate::features::Session;
use crate::frame::StreamId;
use crate::overlay::ScoreScale;
use crate::score::{Class, Regions, Roi, ScoreConfig, ThresholdSetting};

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
    classes: Option<usize>,
    class_names: Vec<String>,
}

/// What decides in one stream.
pub(super) struct Alarm {
    /// Where alarms count, if not everywhere.
    pub roi: Option<Roi>,
    pub regions: Regions,
    pub scale: ScoreScale,
}

/// The scores that alarm in a stream.
#[derive(Debug, Clone)]
pub struct Level {
    /// The threshold, and a step of the score.
    pub scale: ScoreScale,
    /// Where the threshold comes from, in words.
    pub basis: String,
}

impl Alarms {
    /// No streams yet. Whoever needs logits sets `with_logits`.
    pub(super) fn new(
        config: &Config,
        session: &Session,
        bank: Option<Arc<Bank>>,
        with_logits: Arc<AtomicBool>,
    ) -> Alarms {
        let facts = Facts {
            bank,
            searched: (config.search.k, config.views.describe()),
            classes: session.classes(),
            class_names: session.class_names().to_vec(),
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
        if roi.as_ref().is_some_and(Roi::needs_logits) {
            self.0.with_logits.store(true, Ordering::Relaxed);
        }
        self.insert(
            stream,
            Alarm { roi, regions: Regions::new(threshold.value, rules.min_region_px), scale },
        );
        Ok(Level { scale, basis: threshold.basis })
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
            Facts { bank: None, searched: (1, String::new()), classes: None, class_names: Vec::new() };
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
        if polygons.is_empty() && score.roi_classes.is_empty() {
            return Ok(None);
        }
        if score.roi_classes.is_empty() {
            return Ok(Some(Roi::new(polygons, None)));
        }
        let invalid = |why: String| ConfigError::Invalid(format!("score.roi_classes: {why}"));
        let classes = self.classes.ok_or_else(|| {
            invalid("this model gives no logits to see classes by; name them in model.logits".to_owned())
        })?;
        let names = &self.class_names;
        let number = |class: &Class| match class {
            Class::Number(number) if *number < classes => Ok(*number),
            Class::Number(number) => {
                Err(invalid(format!("there is no class {number}, the model has 0 to {}", classes - 1)))
            }
            Class::Name(name) if names.is_empty() => {
                Err(invalid(format!("the model file names no classes; give {name:?} as a number from 0")))
            }
            Class::Name(name) => names.iter().position(|known| known == name).ok_or_else(|| {
                invalid(format!("there is no class {name:?}; known are {}", names.join(", ")))
            }),
        };
        let numbers = score.roi_classes.iter().map(number).collect::<Result<_, _>>()?;
        Ok(Some(Roi::new(polygons, Some((numbers, score.roi_margin)))))
    }

    /// The threshold that `score` asks for.
    fn threshold(&self, score: &ScoreConfig) -> Result<Threshold> {
        Ok(match (&self.bank, score.threshold) {
            (Some(bank), _) => score.resolve(bank, self.searched.0, &self.searched.1)?,
            (None, ThresholdSetting::Fixed(value)) => Threshold { value, basis: "set by hand".into() },
            (None, ThresholdSetting::Auto) => {
                let why =
                    "score.threshold is \"auto\", which comes from a bank: set bank.path, or give a number";
                return Err(ConfigError::Invalid(why.into()).into());
            }
        })
    }
}
