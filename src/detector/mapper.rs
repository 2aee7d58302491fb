//! Score maps by several methods from one pass over the model: the detector's own stages up to the
//! search, then every method's score. What `farout eval` runs.

use std::sync::Arc;

use anyhow::Result;

use super::items::{Mapped, Measured};
use super::stages::{Extract, Preprocess, Search};
use super::{Looks, featured, grounds, open_bank, open_features, open_search, wants_logits};
use crate::bank::Bank;
use crate::config::{Config, ConfigError};
use crate::features::grouped;
use crate::flow::{Flow, FlowError, Stage};
use crate::frame::Frame;
use crate::grid::ScoreMap;
use crate::identity::ModelIdentity;
use crate::luma::Luma;
use crate::pool::Pool;
use crate::score::{Grounds, Method, MotionTracker, ScoreError, Scorer, TemporalSmoother};

/// Everything between a frame and its score maps, opened and checked against each other.
pub struct Mapper {
    preprocess: Preprocess,
    extract: Extract,
    search: Search,
    maps: MapScores,
    /// What runs where, on what.
    pub setup: Setup,
}

/// What a run's numbers depend on besides its settings.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The methods, in the order of the maps.
    pub methods: Vec<Method>,
    /// The model.
    pub model: ModelIdentity,
    /// The execution provider that runs it.
    pub provider: String,
    /// Model, provider and library in one line.
    pub description: String,
    /// The search engine, if any method searches.
    pub engine: Option<String>,
    /// Why better devices were passed over.
    pub fallbacks: Vec<String>,
    /// The bank, if one was named.
    pub bank: Option<Arc<Bank>>,
}

impl Mapper {
    /// Opens model, bank and search for `methods`; without any, for all that this model and this bank allow.
    ///
    /// # Errors
    /// What does not open or does not fit, with the remedy; a method that needs what is not there.
    pub fn open(config: &Config, methods: &[Method]) -> Result<Mapper> {
        let (mut preprocess, mut extract) = open_features(config)?;
        let identity = extract.session.identity().clone();
        let bank = open_bank(config, &identity)?;
        let scorers = scorers(config, &grounds(config, &extract.session, bank.as_deref()), methods)?;
        let methods: Vec<Method> = scorers.iter().map(Scorer::method).collect();
        extract.with_logits = methods.iter().any(|method| method.needs_logits());
        let wanted = bank.as_ref().filter(|_| methods.iter().any(|method| method.searches()));
        let engine = open_search(config, wanted, &mut extract.session)?;
        let gauge = engine.as_ref().map(|search| &search.engine);
        extract.with_logits |= wants_logits(gauge, extract.session.classes())?;
        let mut fallbacks: Vec<String> =
            grouped(extract.session.fallbacks()).iter().map(|(who, why)| format!("{who}: {why}")).collect();
        fallbacks.extend(extract.session.withheld().iter().map(ToString::to_string));
        fallbacks
            .extend(engine.iter().filter_map(|search| search.fallback.as_ref().map(ToString::to_string)));
        let setup = Setup {
            methods,
            model: identity,
            provider: extract.session.provider().to_string(),
            description: extract.session.describe(),
            engine: engine.as_ref().map(|search| search.engine.name()),
            fallbacks,
            bank,
        };
        let looks = engine.as_ref().and_then(|_| Looks::open(config, setup.bank.as_deref()));
        if looks.is_none() {
            preprocess.views.clear();
        }
        let numbers = Pool::new();
        Ok(Mapper {
            preprocess,
            extract,
            search: Search {
                engine: engine.map(|search| search.engine),
                numbers: numbers.clone(),
                classes: Vec::new(),
                looks,
            },
            maps: MapScores {
                smoothers: scorers
                    .iter()
                    .filter_map(|_| TemporalSmoother::new(config.score.temporal))
                    .collect(),
                scorers,
                tracker: MotionTracker::new(),
                luma: Luma::default(),
                numbers,
            },
            setup,
        })
    }

    /// The stages from a frame to its score maps, in their order.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn chain(self, frames: Flow<Frame>) -> Result<Flow<Mapped>, FlowError> {
        featured(frames, self.preprocess, self.extract)?
            .stage("nearest", self.search)?
            .stage("score", self.maps)
    }
}

/// A scorer for each of `methods`; without any, for all that model and bank allow.
fn scorers(config: &Config, grounds: &Grounds<'_>, methods: &[Method]) -> Result<Vec<Scorer>> {
    let open = |method: Method| Scorer::open(method, &config.score, grounds);
    let mut scorers = Vec::new();
    if methods.is_empty() {
        for method in Method::allowed(grounds) {
            match open(method) {
                Ok(scorer) => scorers.push(scorer),
                Err(why @ (ScoreError::NoStatistics { .. } | ScoreError::OtherK { .. })) => {
                    tracing::info!("{} is left out: {why}", method.name());
                }
                Err(other) => return Err(other.into()),
            }
        }
    }
    for method in methods {
        if method.searches() && grounds.bank.is_none() {
            let name = method.name();
            let why =
                format!("the method \"{name}\" needs a bank: use --bank FILE (made by farout bank build)");
            return Err(ConfigError::Invalid(why).into());
        }
        scorers.push(open(*method)?);
    }
    if scorers.is_empty() {
        let why = "no method can score: give a bank with --bank, or name the model's logits";
        return Err(ConfigError::Invalid(why.into()).into());
    }
    Ok(scorers)
}

/// Distances and logits -> one score map per method.
pub struct MapScores {
    scorers: Vec<Scorer>,
    /// Of each method, if maps are smoothed over time.
    smoothers: Vec<TemporalSmoother>,
    tracker: MotionTracker,
    luma: Luma,
    numbers: Pool<Vec<f32>>,
}

impl Stage for MapScores {
    type In = Measured;
    type Out = Mapped;

    fn step(&mut self, Measured { frame, distances, logits }: Measured) -> Result<Mapped> {
        let mut maps = Vec::with_capacity(self.scorers.len());
        for scorer in &mut self.scorers {
            let mut map = ScoreMap { data: self.numbers.take(), ..ScoreMap::default() };
            scorer.step(&distances, logits.as_ref(), &mut map)?;
            maps.push(map);
        }
        if !self.smoothers.is_empty() {
            self.luma.take(&frame);
            let how = self.tracker.step(&frame, &self.luma);
            for (smoother, map) in self.smoothers.iter_mut().zip(&mut maps) {
                smoother.step(map, (frame.width, frame.height), &how);
            }
        }
        Ok(Mapped { frame, maps })
    }
}
