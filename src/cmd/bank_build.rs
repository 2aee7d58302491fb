//! `farout bank build`: from images of normal driving to a bank.

use std::path::Path;

use anyhow::Result;
use indicatif::ProgressBar;

use super::answer::answer;
use super::{progress, settings, signals, unread};
use crate::bank::{Bank, summary};
use crate::cli::{BuildArgs, RecipeArgs};
use crate::collect::{
    self, BuildConfig, BuildOptions, Extract as _, FeatureExtractor, Input, Outliers, Plan, Progress,
};
use crate::config::ConfigError;
use crate::file;
use crate::learn::Recipe;
use crate::source::{self, Purpose, Source, SourceConfig};
use crate::stop::Stop;

/// Builds a bank and writes it whole.
///
/// # Errors
/// The first image, label or model that cannot be used, by name.
pub fn build(args: &BuildArgs) -> Result<()> {
    let config = settings::read(&args.config, ("bank build", unread::BANK_BUILD))?;
    settings::named(&config.model.path, "model", "--model FILE", "model.path")?;
    file::try_place(&args.output)?;
    let stop = Stop::new();
    signals::listen(&stop)?;
    // With a plan there may be more shards than inputs.
    if args.images.is_empty() && args.plan.is_none() {
        let why = "--images: name a folder, a glob, an image or a video of normal driving";
        return Err(ConfigError::Invalid(why.to_owned()).into());
    }
    let mut inputs = collect::list(&args.images)?;
    if let Some(folder) = &args.labels.labels {
        collect::attach_labels(&mut inputs, folder)?;
    }
    let options = options(args)?;
    let k = args.k.unwrap_or(config.search.k);
    anyhow::ensure!(k > 0, "search.k is 0; choose 1 or more, or give -k");
    let mut extractor = FeatureExtractor::open(&config)?;
    let options = match args.recipe.as_deref().is_some_and(Recipe::is_shipped) && args.how.parts.is_empty() {
        true => options.fitted_to(&extractor.identity()),
        false => options,
    };
    let build = BuildConfig {
        size: options.size,
        seed: options.seed,
        data_type: options.dtype,
        void: match args.labels.labels {
            Some(_) => args.labels.void.iter().map(|&value| u16::from(value)).collect(),
            None => Vec::new(),
        },
        video_step: options.every,
        k,
        shard: args.shard,
        keep_held_out: args.keep_held_out,
        recipe: options.recipe(),
        classes: options.classes,
        thumbnails: options.thumbnails,
        threads: config.search.threads,
        min_region_px: config.score.min_region_px,
        maps: config.score.recipe(),
        views: config.views.clone(),
        ..BuildConfig::default()
    };
    let build = match (&args.plan, args.shard) {
        (Some(path), Some(shard)) => {
            let plan = Plan::read(path)?;
            plan.must_fit(path, shard, build.split_keys(), build.video_step)?;
            BuildConfig { plan: Some(plan), ..build }
        }
        _ => build,
    };
    let mut open = opening(&stop);
    let mut outliers = None;
    // Of several machines one looks at the outliers.
    if !args.outliers.is_empty() && args.shard.is_none_or(|shard| shard.number == 1) {
        let mut inputs = collect::list(&args.outliers)?;
        let mut values = Vec::new();
        if let Some(folder) = &args.outlier_labels {
            collect::attach_labels(&mut inputs, folder)?;
            values = args.outlier_values.iter().map(|&v| u16::from(v)).collect();
        }
        let mut shown = BankProgress::new("outliers", "frames");
        let wanted = (options.outlier_size, &values[..]);
        let found =
            collect::gather_outliers(&inputs, wanted, &build, (&mut open, &mut extractor), &mut shown, &stop);
        shown.end();
        outliers = Some(Outliers::of(found?, &values));
    }
    let mut shown = BankProgress::new("features", "frames");
    let built = collect::build(&inputs, outliers, &build, (&mut open, &mut extractor), &mut shown, &stop);
    shown.end();
    built?.write(&args.output)?;
    tell(&args.output, args.json)
}

/// Opens inputs, until `stop` is asked.
pub(super) fn opening(stop: &Stop) -> impl FnMut(&Input) -> Result<Box<dyn Source>> {
    let token = stop.clone();
    move |input| {
        let location = input.path.to_string_lossy();
        Ok(source::open(&location, &SourceConfig::default(), Purpose::Offline, token.clone())?)
    }
}

/// What recipe and flags ask for: flags win.
fn options(args: &BuildArgs) -> Result<BuildOptions> {
    let mut options = recipe(args.recipe.as_deref(), &args.how)?;
    take(&mut options.size, args.size);
    take(&mut options.seed, args.seed);
    take(&mut options.every, args.every);
    take(&mut options.outlier_size, args.outlier_size);
    take(&mut options.dtype, args.dtype.map(Into::into));
    options.thumbnails |= args.thumbnails;
    options.classes = args.classes.map(Into::into).or(options.classes);
    Ok(options)
}

/// The recipe with this name or in this file, with the flags of recipes over it.
///
/// # Errors
/// If there is no such recipe, or it is none.
pub(super) fn recipe(named: Option<&str>, args: &RecipeArgs) -> Result<BuildOptions> {
    let mut options = match named {
        Some(named) => Recipe::find(named)?.bank.build,
        None => BuildOptions::default(),
    };
    if !args.parts.is_empty() {
        options.parts.clone_from(&args.parts);
    }
    if !args.transform.is_empty() {
        options.transform.clone_from(&args.transform);
    }
    take(&mut options.split_heads, args.split_heads);
    take(&mut options.whiten_floor, args.whiten_floor);
    take(&mut options.combine, args.combine.map(Into::into));
    take(&mut options.outlier_use, args.outlier_use);
    take(&mut options.outlier_k, args.outlier_k);
    options.discriminant = args.discriminant.or(options.discriminant);
    take(&mut options.discriminant_ridge, args.discriminant_ridge);
    options.by_class |= args.by_class;
    options.affinity = args.affinity.clone().or(options.affinity);
    take(&mut options.affinity_temperature, args.affinity_temperature);
    take(&mut options.affinity_radius, args.affinity_radius);
    take(&mut options.affinity_share, args.affinity_share);
    let without = |whose: &str, flag: &str| {
        Err(ConfigError::Invalid(format!("{flag} needs {whose}: pass both, or neither")).into())
    };
    if options.discriminant.is_none() && args.discriminant_ridge.is_some() {
        return without("--discriminant", "--discriminant-ridge");
    }
    let of_affinity = [args.affinity_temperature, args.affinity_radius, args.affinity_share];
    if options.affinity.is_none() && of_affinity.iter().any(Option::is_some) {
        return without("--affinity", "--affinity-temperature, --affinity-radius or --affinity-share");
    }
    Ok(options)
}

/// Overrides `key` by what is given.
pub(super) fn take<T>(key: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *key = given;
    }
}

/// Opens the bank just written at `path` and prints its summary.
pub(super) fn tell(path: &Path, json: bool) -> Result<()> {
    let summary = summary(&Bank::open_any(path)?);
    answer(json, &summary)
}

/// The progress of work on banks as a bar.
pub(super) struct BankProgress {
    bar: ProgressBar,
    /// What the bar counts, one message for each time that it begins.
    messages: Vec<&'static str>,
    /// What the bar shows that did not tell when it began.
    following: &'static str,
}

impl BankProgress {
    /// A bar over `unit`s of the work that `message` names.
    pub(super) fn new(message: &'static str, unit: &'static str) -> BankProgress {
        BankProgress { bar: progress::bar(Some(0), unit), messages: vec![message], following: "" }
    }

    /// Names the work that begins after that.
    pub(super) fn then(mut self, message: &'static str) -> BankProgress {
        self.messages.push(message);
        self
    }

    /// Shows work that tells how far it is, and no beginning.
    fn follow(&mut self, message: &'static str, done: usize, of: usize) {
        if self.following != message {
            self.following = message;
            self.bar.reset();
            self.bar.set_message(message);
            self.bar.set_length(of as u64);
        }
        self.bar.set_position(done as u64);
    }

    /// Removes the bar.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for BankProgress {
    fn begin(&mut self, frames: u64) {
        let message = if self.messages.len() > 1 { self.messages.remove(0) } else { self.messages[0] };
        self.bar.reset();
        self.bar.set_message(message);
        self.bar.set_length(frames);
    }

    fn frames(&mut self, done: u64) {
        self.bar.set_position(done);
    }

    fn compared(&mut self, done: usize, of: usize) {
        self.follow("reference distances", done, of);
    }

    fn calibrated(&mut self, done: usize, of: usize) {
        self.follow("calibration", done, of);
    }

    fn warn(&mut self, message: &str) {
        self.bar.suspend(|| tracing::warn!("{message}"));
    }
}
