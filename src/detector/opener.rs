//! Model, bank, search and scorers, opened from a configuration and checked against each other: the one opener of
//! detection, evaluation and banks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::fallbacks;
use super::items::Measured;
use super::road::Road;
use super::scoring::Scoring;
use super::stages::{Extract, Preprocess, Search};
use super::views::{self, Views};
use crate::bank::{Bank, Supplements};
use crate::config::{Config, ConfigError};
use crate::features::{Preprocessor, Session, grouped};
use crate::flow::{Flow, FlowError};
use crate::frame::Frame;
use crate::identity::ModelIdentity;
use crate::nearest::{self, SearchConfig};
use crate::pool::Pool;
use crate::score::{Method, ScoreError, ScoreInputs, Scorer};

/// Everything between a frame and its score maps.
pub(super) struct Opened {
    /// The stages up to the distances.
    pub front: Front,
    /// What makes maps of them.
    pub scoring: Scoring,
    /// The bank, if one was named.
    pub bank: Option<Arc<Bank>>,
    /// The name of the search engine, if any method searches.
    pub engine: Option<String>,
    /// Why better devices were passed over.
    pub fallbacks: Vec<String>,
    /// Where buffers of numbers go round.
    pub numbers: Pool<Vec<f32>>,
}

/// The stages that every way shares.
pub(super) struct Front {
    pub preprocess: Preprocess,
    pub extract: Extract,
    pub search: Search,
    /// Where the road is, if a model of its own tells.
    pub road: Option<Road>,
}

impl Front {
    /// From frames to distances and logits, in their order.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn chain(mut self, frames: Flow<Frame>) -> Result<Flow<Measured>, FlowError> {
        self.search.faulty = frames.health().faulty_patches();
        let health = Arc::clone(frames.health());
        let measured = frames
            .stage("preprocess", self.preprocess)?
            .stage("features", self.extract)?
            .stage("nearest", self.search)?;
        match self.road {
            Some(mut road) => {
                road.health = Some(health);
                measured.stage("road", road)
            }
            None => Ok(measured),
        }
    }
}

impl Opened {
    /// Opens all that `methods` need; without any, for all methods that this model and this bank allow. What is in
    /// `supplements` is normal, too.
    ///
    /// # Errors
    /// What does not open or does not fit, with the remedy; a method that needs what is not there.
    pub fn open(config: &Config, methods: &[Method], supplements: Option<Supplements>) -> Result<Opened> {
        let (mut preprocess, mut extract) = open_features(config)?;
        let session = &mut extract.session;
        let bank = open_bank(config, session.identity())?;
        let at_hand = ScoreInputs {
            bank: bank.as_deref(),
            k: config.search.k,
            has_logits: session.classes().is_some(),
            logits_kind: session.logits_kind(),
            same_views: bank.as_ref().map_or("", |bank| bank.views()) == config.views.describe(),
        };
        let scorers = scorers(config, &at_hand, methods)?;
        let wanted = bank.as_ref().filter(|_| scorers.iter().any(|one| one.method().searches()));
        let search = open_search(config, wanted, session)?;
        let mut fallbacks: Vec<String> =
            grouped(session.fallbacks()).iter().map(|(who, why)| format!("{who}: {why}")).collect();
        fallbacks.extend(session.withheld().iter().map(ToString::to_string));
        fallbacks
            .extend(search.iter().filter_map(|search| search.fallback.as_ref().map(ToString::to_string)));
        let mut engine = search.map(|search| search.engine);
        if let (Some(engine), Some(supplements)) = (&mut engine, supplements) {
            engine.supplement(supplements);
        }
        let with_logits = wants_logits(engine.as_ref(), extract.session.classes())?
            || scorers.iter().any(|one| one.method().needs_logits());
        extract.with_logits.store(with_logits, Ordering::Relaxed);
        let views = engine.as_ref().and_then(|_| Views::open(config, bank.as_deref()));
        if views.is_none() {
            preprocess.views.clear();
        }
        let numbers = Pool::new();
        Ok(Opened {
            engine: engine.as_ref().map(nearest::Gauge::name),
            front: Front {
                preprocess,
                extract,
                search: Search::new(engine, numbers.clone(), views),
                road: None,
            },
            scoring: Scoring::new(scorers, config.score.temporal, numbers.clone()),
            bank,
            fallbacks,
            numbers,
        })
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

/// A scorer for each of `methods`; without any, for all that model and bank allow.
fn scorers(config: &Config, at_hand: &ScoreInputs<'_>, methods: &[Method]) -> Result<Vec<Scorer>> {
    let open = |method: Method| Scorer::open(method, &config.score, at_hand);
    let mut scorers = Vec::new();
    if methods.is_empty() {
        for method in Method::allowed(at_hand) {
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
        if method.searches() && at_hand.bank.is_none() {
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

/// The search among the features of `bank`, if any method wants it; features that it takes as they are stay on the GPU.
fn open_search(
    config: &Config,
    bank: Option<&Arc<Bank>>,
    session: &mut Session,
) -> Result<Option<nearest::Search>> {
    let Some(bank) = bank else { return Ok(None) };
    let wanted = SearchConfig { gpu: config.runtime.gpu, ..config.search.clone() };
    let search = nearest::open_on(&wanted, bank, session.stream())?;
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

/// Opens the model; on a GPU, on a stream that the search can share.
///
/// # Errors
/// As [`Session::open`].
pub fn open_session(config: &Config) -> Result<Session> {
    Session::open_on(&config.model, &config.runtime, &nearest::cuda::Driver)
}

/// Opens the model and says what runs it.
///
/// # Errors
/// If the library, the model or the device insisted on cannot be had.
pub fn open_features(config: &Config) -> Result<(Preprocess, Extract)> {
    let session = open_session(config)?;
    fallbacks::of_model("model", &session);
    tracing::info!("{}", session.describe());
    let preprocess = Preprocess {
        preprocessor: Preprocessor::new(session.input_spec()),
        views: views::preprocessors(&config.views, session.input_spec())?,
        inputs: Pool::new(),
    };
    let with_logits = Arc::new(session.classes().is_some().into());
    Ok((preprocess, Extract { session, numbers: Pool::new(), with_logits }))
}
