//! Score maps by several methods from one pass over the model: the detector's own stages up to the
//! search, then every method's score. What `farout eval` runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::items::Mapped;
use super::opener::{Front, Opened};
use super::road_map::{RoadMap, RoadRecord};
use super::stages::Map;
use crate::bank::Bank;
use crate::bank::Supplements;
use crate::config::Config;
use crate::flow::{Flow, FlowError};
use crate::frame::Frame;
use crate::identity::ModelIdentity;
use crate::score::Method;

/// Everything between a frame and its score maps, opened and checked against each other.
pub struct Mapper {
    front: Front,
    map: Map,
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
    /// What tells the road, if a map of it is wanted.
    pub road: Option<RoadRecord>,
}

impl Mapper {
    /// Opens model, bank and search for `methods`; without any, for all that this model and this bank allow. `with_road`:
    /// after the methods' maps comes one of the road.
    ///
    /// # Errors
    /// What does not open or does not fit, with the remedy; a method that needs what is not there; nothing that tells the
    /// road.
    pub fn open(config: &Config, methods: &[Method], with_road: bool) -> Result<Mapper> {
        let Opened { front, scoring, bank, engine, fallbacks, .. } =
            Opened::open(config, methods, Supplements::existing(&config.supplement)?)?;
        let session = &front.extract.session;
        let road = with_road.then(|| RoadMap::open(config, session)).transpose()?;
        if road.as_ref().is_some_and(RoadMap::needs_logits) {
            front.extract.with_logits.store(true, Ordering::Relaxed);
        }
        let setup = Setup {
            methods: scoring.methods(),
            model: session.identity().clone(),
            provider: session.provider().to_string(),
            description: session.describe(),
            engine,
            fallbacks,
            bank,
            road: road.as_ref().map(RoadMap::record),
        };
        Ok(Mapper { front, map: Map { scoring, road }, setup })
    }

    /// The stages from a frame to its score maps, in their order.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn chain(self, frames: Flow<Frame>) -> Result<Flow<Mapped>, FlowError> {
        self.front.chain(frames)?.stage("score", self.map)
    }
}
