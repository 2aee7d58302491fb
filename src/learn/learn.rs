//! The steps of `farout learn`, in their order.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::progress::Progress;
use super::recipe::Recipe;
use super::work::{Plan, Work};
use super::{Stopped, frames, model, report, scraps};
use crate::bank::{Bank, ShardNumber, StepKind, Summary, summary};
use crate::collect::{
    self, BuildConfig, BuildError, BuildOptions, Extract as _, FeatureExtractor, Input, MergeConfig,
    RecipeConfig,
};
use crate::config::{
    BankConfig, Config, ConfigError, DetectorFile, DetectorSearch, Provenance, detector_file,
};
use crate::digest::{hex, sha256_of_file};
use crate::file::write_whole;
use crate::identity::ModelIdentity;
use crate::random::Random;
use crate::source::{self, Purpose, SourceConfig};
use crate::stop::Stop;

/// Pictures whose features are gathered in one go: what an interruption costs at most.
const PART: usize = 32;
/// The files of a detector, beside `detector.toml`.
const MODEL: &str = "model.onnx";
const BANK: &str = "references.bank";
const REPORT: &str = "REPORT.html";

/// What to learn.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folders, globs, pictures and videos of normal driving.
    pub footage: Vec<String>,
    /// Folder of label masks of the pictures, and the values in them that are left out.
    pub labels: Option<(PathBuf, Vec<u8>)>,
    /// The folder of the detector.
    pub output: PathBuf,
    /// The recipe, and what it was called.
    pub recipe: (String, Recipe),
    /// Most pictures to learn from.
    pub pictures: usize,
    /// The model (none: the recipe's), devices and threads.
    pub config: Config,
}

/// What was learnt.
#[derive(Debug, Clone, Serialize)]
pub struct Learnt {
    /// The folder of the detector.
    pub detector: String,
    /// Pictures that were learnt from, held-out ones included.
    pub pictures: usize,
    /// The bank.
    pub bank: Summary,
    /// What the footage lacks, for people.
    pub warnings: Vec<String>,
}

/// Learns a detector and writes it whole: `detector.toml` comes last. What is interrupted goes on with the same request.
///
/// # Errors
/// Footage, model or recipe that cannot be used, by name; a folder that holds a detector already; [`Stopped`].
pub fn learn(request: &Request, progress: &mut dyn Progress, stop: &Stop) -> Result<Learnt> {
    let out = &request.output;
    if out.join(detector_file::FILE).exists() {
        let why = format!(
            "{} is a detector already: name another folder with --output, or remove it",
            out.display()
        );
        return Err(ConfigError::Invalid(why).into());
    }
    let (name, recipe) = &request.recipe;
    let footage = collect::list(&request.footage)?;
    let given = Some(&request.config.model.path).filter(|path| !path.as_os_str().is_empty());
    let work = Work::open(out, &plan(request, &footage, given)?)?;
    if work.taken_up {
        tracing::info!("going on where the last run ended");
    }
    let chosen = frames::choose(&footage, request.pictures, &work.path("frames"), progress, stop)?;
    let mut inputs = listed(&chosen)?;
    if let Some((folder, _)) = &request.labels {
        collect::attach_labels(&mut inputs, folder)?;
    }
    progress.step("model", None, "");
    let model = work.once(MODEL, |path| match given {
        Some(given) => model::copied(given, path),
        None => model::fetched(&recipe.model, &chosen, path, &request.config.runtime),
    })?;
    let mut config = Config { score: recipe.score.clone(), ..request.config.clone() };
    config.model.path = model;
    let outliers = outliers(request, &chosen, &work, progress, stop)?;
    let parts = parts(request, &config, (&inputs, &outliers), &work, progress, stop)?;
    let bank = work.once(BANK, |path| {
        progress.step("bank", None, "");
        let first = parts.first().context("no picture to learn from")?;
        let options = options(request, &Bank::open_any(first)?.metadata().model)?;
        let how = MergeConfig {
            threads: config.search.threads,
            recipe: Some(options.recipe()),
            size: Some(options.size),
            k: Some(config.search.k),
            ..MergeConfig::default()
        };
        Ok(collect::merge(&parts, &how, progress)?.write(path)?)
    })?;
    config.bank.path.clone_from(&bank);
    let found = summary(&Bank::open_any(&bank)?);
    let warnings = report::warnings(&found, &inputs);
    let seed = recipe.bank.build.seed;
    let page =
        report::page(&config, (name, &request.footage), &found, (&inputs, seed, &warnings), progress, stop)?;
    let file = DetectorFile {
        detector: Provenance {
            farout: env!("CARGO_PKG_VERSION").into(),
            made: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            recipe: name.clone(),
            footage: request.footage.clone(),
            pictures: inputs.len() as u64,
            model_sha256: digest(&config.model.path)?,
            bank_sha256: digest(&bank)?,
        },
        model: crate::model::ModelConfig { path: MODEL.into(), ..config.model.clone() },
        bank: BankConfig { path: BANK.into() },
        search: DetectorSearch { k: config.search.k },
        score: config.score.clone(),
        ..DetectorFile::default()
    };
    place(out, &work, &page, &file)?;
    work.remove()?;
    let mut bank = found;
    bank.path = out.join(BANK).display().to_string();
    Ok(Learnt { detector: out.display().to_string(), pictures: inputs.len(), bank, warnings })
}

/// How the bank of features of `model` is built: a shipped recipe is fitted to it.
///
/// # Errors
/// A recipe that does not fit it.
fn options(request: &Request, model: &ModelIdentity) -> Result<BuildOptions> {
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

/// What the work folder stands for.
fn plan(request: &Request, footage: &[Input], given: Option<&PathBuf>) -> Result<Plan> {
    let size = |input: &Input| -> Result<(PathBuf, u64)> {
        let told = std::fs::metadata(&input.path).with_context(|| input.path.display().to_string())?;
        Ok((std::path::absolute(&input.path)?, told.len()))
    };
    Ok(Plan {
        farout: env!("CARGO_PKG_VERSION").into(),
        footage: footage.iter().map(size).collect::<Result<_>>()?,
        labels: request.labels.clone(),
        pictures: request.pictures,
        recipe: toml::to_string(&request.recipe.1)?,
        model: given.map(|path| digest(path)).transpose()?,
        k: request.config.search.k,
    })
}

/// Pictures as inputs.
fn listed(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let paths: Vec<String> = paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    Ok(collect::list(&paths)?)
}

/// Pictures with scraps on them and their truth, if the recipe wants outliers: images and labels below a folder.
fn outliers(
    request: &Request,
    chosen: &[PathBuf],
    work: &Work,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Vec<Input>> {
    let Recipe { outliers, bank, .. } = &request.recipe.1;
    if !bank.build.wants_outliers() {
        return Ok(Vec::new());
    }
    if outliers.scraps_every == 0 {
        let why = "the recipe uses known outliers and makes none: set outliers.scraps_every, such as 4, or bank.build.outlier_use \
                   to \"off\" and no discriminant";
        return Err(ConfigError::Invalid(why.into()).into());
    }
    let onto: Vec<&PathBuf> = chosen.iter().step_by(outliers.scraps_every).collect();
    let folders = ["images", "labels"].map(|name| work.path("outliers").join(name));
    for folder in &folders {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    progress.step("outliers", Some(onto.len() as u64), "pictures");
    let mut pictures = Vec::new();
    for (number, path) in onto.iter().enumerate() {
        if stop.asked() {
            return Err(Stopped.into());
        }
        let [picture, label] = [0, 1].map(|which| folders[which].join(format!("{number:06}.png")));
        // The label comes last: where it is, both are.
        if !label.exists() {
            let mut random = Random::of_part(bank.build.seed, &[number as u64]);
            let pasted = scraps::paste(path, chosen, &mut random)?;
            for (image, path) in
                [(image::DynamicImage::from(pasted.picture), &picture), (pasted.truth.into(), &label)]
            {
                write_whole(path, |out| {
                    let mut bytes = std::io::Cursor::new(Vec::new());
                    image.write_to(&mut bytes, image::ImageFormat::Png).map_err(std::io::Error::other)?;
                    out.write_all(bytes.get_ref())
                })?;
            }
        }
        pictures.push(picture);
        progress.done(number as u64 + 1);
    }
    let mut inputs = listed(&pictures)?;
    collect::attach_labels(&mut inputs, &folders[1])?;
    Ok(inputs)
}

/// The features of all pictures, in files that are made one after another.
fn parts(
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
    self::options(request, &extractor.identity())?;
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
        let count = (inputs.len() + (of - shard.number) as usize) / of as usize;
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

/// Moves the detector's files into its folder, `detector.toml` last.
fn place(out: &Path, work: &Work, page: &str, file: &DetectorFile) -> Result<()> {
    for name in [MODEL, BANK] {
        let to = out.join(name);
        std::fs::rename(work.path(name), &to).with_context(|| format!("cannot write {}", to.display()))?;
    }
    write_whole(&out.join(REPORT), |to| to.write_all(page.as_bytes()))?;
    let head = "# A detector, made by farout learn. A run takes all that a score depends on from here: farout run FOLDER.\n\
                # What a vehicle decides (thresholds, events, regions of interest, outputs) belongs into its own configuration.\n\n";
    let text = format!("{head}{}", toml::to_string(file)?);
    write_whole(&out.join(detector_file::FILE), |to| to.write_all(text.as_bytes()))?;
    Ok(())
}

fn digest(path: &Path) -> Result<String> {
    let found = sha256_of_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&found))
}

impl fmt::Display for Learnt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.detector)?;
        writeln!(f, "  pictures     {}, of them {} held out", self.pictures, self.bank.held_out_frames)?;
        writeln!(f, "  references   {} x {}", self.bank.rows, self.bank.stored_width)?;
        for line in self.bank.thresholds.iter().filter(|line| line.method == "knn") {
            let sure = if line.counted { "" } else { " (extrapolated: too few held-out frames)" };
            let percent = 100.0 * line.false_frame_rate;
            writeln!(f, "  threshold    {:.3} for {percent} % of false frames{sure}", line.threshold)?;
        }
        for warning in &self.warnings {
            writeln!(f, "  warning      {warning}")?;
        }
        writeln!(f, "  report       {}", Path::new(&self.detector).join(REPORT).display())?;
        write!(f, "  next         farout run {} --source rtsp://CAMERA", self.detector)
    }
}
