//! The features of the footage, gathered part by part: what is interrupted loses one part.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;

use super::Stopped;
use super::cutout::PASTED;
use super::progress::Progress;
use super::recipe::Recipe;
use super::request::Request;
use super::work::Work;
use crate::bank::{ShardNumber, StepKind};
use crate::collect::{
    self, BuildConfig, BuildError, BuildOptions, Extract as _, FeatureExtractor, Input, RecipeConfig,
};
use crate::config::Config;
use crate::identity::ModelIdentity;
use crate::source::{self, Purpose, SourceConfig};
use crate::stop::Stop;

/// Pictures whose features are gathered in one go, which is what an interruption costs; known outliers are one part of their own.
const PART: usize = 32;

/// How the bank of features of `model` is built: a shipped recipe is fitted to it.
///
/// # Errors
/// A recipe that does not fit it.
pub(super) fn fitted(request: &Request, model: &ModelIdentity) -> Result<BuildOptions> {
    let (name, recipe) = &request.recipe;
    let build = &recipe.bank.build;
    let options = if Recipe::is_shipped(name) { build.fitted_to(model) } else { build.clone() };
    let asked = options.recipe();
    asked.smoothing(&asked.resolve(model)?)?;
    if options != *build {
        tracing::info!(
            "the recipe {name} is for another model: all parts of the features of this one are taken"
        );
    }
    Ok(options)
}

/// The shard of all pictures, and that of the known outliers if there are any.
pub(super) type Shards = (PathBuf, Option<PathBuf>);

/// The features of all pictures, gathered in files that are made one after another, then joined.
///
/// # Errors
/// A model that does not open or fit the recipe, a picture that cannot be used; [`Stopped`].
pub(super) fn shards(
    request: &Request,
    config: &Config,
    (inputs, outliers): (&[Input], &[Input]),
    work: &Work,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Shards> {
    let joined = work.path("whole.shard");
    let known = (!outliers.is_empty()).then(|| work.path("outliers.shard"));
    if joined.exists() && known.as_ref().is_none_or(|known| known.exists()) {
        return Ok((joined, known));
    }
    let options = &request.recipe.1.bank.build;
    let of = inputs.len().div_ceil(PART) as u32;
    let names: Vec<(ShardNumber, String)> =
        (1..=of).map(|number| (ShardNumber { number, of }, format!("{number}-of-{of}.shard"))).collect();
    let mut extractor = FeatureExtractor::open(config)?;
    // What does not fit should not be found when all features are there.
    fitted(request, &extractor.identity())?;
    let void = request.labels.iter().flat_map(|(_, void)| void).map(|value| u16::from(*value)).collect();
    let centred = options.transform.iter().copied().filter(|step| *step == StepKind::CenterImage).collect();
    // The scores of the recipe, not those of a detector's file that somebody has changed since: only files that were calibrated
    // alike merge.
    let score = &request.recipe.1.score;
    let build = BuildConfig {
        size: options.size,
        seed: options.seed,
        data_type: options.dtype,
        void,
        video_step: 1,
        k: config.search.k,
        recipe: RecipeConfig { transform: centred, ..RecipeConfig::default() },
        classes: options.classes,
        thumbnails: true,
        threads: config.search.threads,
        min_region_px: score.min_region_px,
        maps: score.recipe(),
        views: config.views.clone(),
        ..BuildConfig::default()
    };
    let token = stop.clone();
    let mut open = |input: &Input| {
        let location = input.path.to_string_lossy();
        Ok(source::open(&location, &SourceConfig::default(), Purpose::Offline, token.clone())?)
    };
    let mut shown =
        Whole { inner: progress, before: 0, all: (inputs.len() + outliers.len()) as u64, begun: false };
    if let Some(known) = known.as_ref().filter(|known| !known.exists()) {
        let wanted = (options.outlier_size, &[u16::from(PASTED)][..]);
        let with = (&mut open as &mut collect::Open, &mut extractor as &mut dyn collect::Extract);
        let built = stopped(collect::gather_outliers(outliers, wanted, &build, with, &mut shown, stop))?;
        built.write(known)?;
    }
    shown.before += outliers.len() as u64;
    let mut paths = Vec::new();
    for (shard, name) in names {
        let path = work.path(&name);
        let count = (names_of(inputs) + (of - shard.number) as usize) / of as usize;
        if !path.exists() {
            let build = BuildConfig { shard: Some(shard), ..build.clone() };
            let with = (&mut open as &mut collect::Open, &mut extractor as &mut dyn collect::Extract);
            let built = stopped(collect::build(inputs, None, &build, with, &mut shown, stop))?;
            built.write(&path)?;
        }
        shown.before += count as u64;
        paths.push(path);
    }
    collect::join(&paths, &mut ())?.write(&joined)?;
    Ok((joined, known))
}

/// How many names the inputs have: parts are dealt out by name.
fn names_of(inputs: &[Input]) -> usize {
    inputs.iter().map(|input| input.name.as_str()).collect::<BTreeSet<_>>().len()
}

/// What ends a build because it was asked to is no fault.
fn stopped<T>(built: Result<T, BuildError>) -> Result<T> {
    built.map_err(|why| match why {
        BuildError::Stopped => Stopped.into(),
        other => other.into(),
    })
}

/// One bar over all parts.
struct Whole<'a> {
    inner: &'a mut dyn Progress,
    before: u64,
    all: u64,
    begun: bool,
}

impl collect::Progress for Whole<'_> {
    fn begin(&mut self, _frames: u64) {
        if !std::mem::replace(&mut self.begun, true) {
            self.inner.step("features", Some(self.all), "pictures");
        }
    }

    fn frames(&mut self, done: u64) {
        self.inner.done(self.before + done);
    }

    fn warn(&mut self, message: &str) {
        self.inner.warn(message);
    }
}
