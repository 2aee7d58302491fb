//! The features of the footage, gathered part by part: what is interrupted loses one part.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;

use super::progress::Progress;
use super::recipe::Recipe;
use super::request::Request;
use super::work::Work;
use super::{Stopped, scraps};
use crate::bank::{ShardNumber, StepKind};
use crate::collect::{
    self, BuildConfig, BuildError, BuildOptions, Extract as _, FeatureExtractor, Input, RecipeConfig,
};
use crate::config::Config;
use crate::identity::ModelIdentity;
use crate::source::{self, Purpose, SourceConfig};
use crate::stop::Stop;

/// Pictures whose features are gathered in one go: what an interruption costs at most.
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

/// The features of all pictures, in files that are made one after another.
///
/// # Errors
/// A model that does not open or fit the recipe, a picture that cannot be used; [`Stopped`].
pub(super) fn parts(
    request: &Request,
    config: &Config,
    (inputs, outliers): (&[Input], &[Input]),
    work: &Work,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Vec<PathBuf>> {
    let options = &request.recipe.1.bank.build;
    let of = inputs.len().div_ceil(PART) as u32;
    let names: Vec<(ShardNumber, String)> =
        (1..=of).map(|number| (ShardNumber { number, of }, format!("{number}-of-{of}.shard"))).collect();
    let paths = names.iter().map(|(_, name)| work.path(name)).collect();
    if names.iter().all(|(_, name)| work.path(name).exists()) {
        return Ok(paths);
    }
    let mut extractor = FeatureExtractor::open(config)?;
    // What does not fit should not be found when all features are there.
    fitted(request, &extractor.identity())?;
    let void = request.labels.iter().flat_map(|(_, void)| void).map(|value| u16::from(*value)).collect();
    let centred = options.transform.iter().copied().filter(|step| *step == StepKind::CenterImage).collect();
    let build = BuildConfig {
        size: options.size,
        seed: options.seed,
        data_type: options.dtype,
        void,
        video_step: 1,
        k: config.search.k,
        recipe: RecipeConfig { transform: centred, ..RecipeConfig::default() },
        classes: options.classes,
        threads: config.search.threads,
        min_region_px: config.score.min_region_px,
        maps: config.score.recipe(),
        ..BuildConfig::default()
    };
    let token = stop.clone();
    let mut open = |input: &Input| {
        let location = input.path.to_string_lossy();
        Ok(source::open(&location, &SourceConfig::default(), Purpose::Offline, token.clone())?)
    };
    let mut shown =
        Whole { inner: progress, before: 0, all: (inputs.len() + outliers.len()) as u64, begun: false };
    for (shard, name) in names {
        let is_first = shard.number == 1;
        let path = work.path(&name);
        let count = (names_of(inputs) + (of - shard.number) as usize) / of as usize;
        if !path.exists() {
            let known = match is_first && !outliers.is_empty() {
                true => {
                    let wanted = (options.outlier_size, &[u16::from(scraps::SCRAP)][..]);
                    Some(stopped(collect::gather_outliers(
                        outliers,
                        wanted,
                        &build,
                        (&mut open, &mut extractor),
                        &mut shown,
                        stop,
                    ))?)
                }
                false => None,
            };
            shown.before += if is_first { outliers.len() as u64 } else { 0 };
            let build = BuildConfig { shard: Some(shard), ..build.clone() };
            let built = stopped(collect::build(
                inputs,
                known,
                &build,
                (&mut open, &mut extractor),
                &mut shown,
                stop,
            ))?;
            built.write(&path)?;
        } else if is_first {
            shown.before += outliers.len() as u64;
        }
        shown.before += count as u64;
    }
    Ok(paths)
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
