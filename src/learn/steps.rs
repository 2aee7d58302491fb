//! The steps of `farout learn`, in their order.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::parts::{fitted, parts};
use super::progress::Progress;
use super::recipe::Recipe;
use super::request::Request;
use super::work::{Plan, Work};
use super::{Stopped, frames, model, report, scraps, work};
use crate::bank::{Bank, Summary, summary};
use crate::collect::{self, Input, MergeConfig};
use crate::config::{
    BankConfig, Config, ConfigError, DetectorFile, DetectorSearch, Provenance, detector_file,
};
use crate::digest::{hex, sha256_of_file};
use crate::file::write_whole;
use crate::model::ModelConfig;
use crate::random::Random;
use crate::stop::Stop;

/// Fewer pictures than this give no thresholds.
const LEAST: usize = 10;
/// The files of a detector, beside `detector.toml`.
const MODEL: &str = "model.onnx";
const BANK: &str = "references.bank";
const REPORT: &str = "REPORT.html";

/// What was learnt.
#[derive(Debug, Clone, Serialize)]
pub struct Learnt {
    /// The folder of the detector.
    pub detector: String,
    /// Pictures that were learnt from, held-out ones included.
    pub pictures: usize,
    /// The score of its alarms.
    pub method: String,
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
    let (name, recipe) = &request.recipe;
    if out.join(detector_file::FILE).exists() {
        // Interrupted after its last step: it is whole.
        if let Some(left) = Work::left(out) {
            work::remove(&left);
        }
        let why =
            format!("{} is a detector already: use it, or name another folder with --output", out.display());
        return Err(ConfigError::Invalid(why).into());
    }
    let taken = [MODEL, BANK, REPORT].into_iter().map(|name| out.join(name)).find(|path| path.exists());
    if let Some(path) = taken.filter(|_| Work::left(out).is_none()) {
        let why =
            format!("{} is there already and would be overwritten: name another folder", path.display());
        return Err(ConfigError::Invalid(why).into());
    }
    recipe.check_for_learning()?;
    let given = Some(&request.config.model.path).filter(|path| !path.as_os_str().is_empty());
    let input = ModelConfig { path: PathBuf::new(), ..request.config.model.clone() };
    if given.is_none() && input != ModelConfig::default() {
        let why = "--features, --input-height and keys of [model] are those of a model that is given with --model; the features and \
                   the height of the one that is fetched stand in the recipe, as model.features and model.height";
        return Err(ConfigError::Invalid(why.into()).into());
    }
    if let Some((folder, _)) = &request.labels {
        std::fs::read_dir(folder)
            .with_context(|| format!("cannot read the labels in {}", folder.display()))?;
    }
    let footage = footage(request)?;
    let work = Work::open(out, &plan(request, &footage, given)?)?;
    if work.taken_up {
        tracing::info!("going on where the last run ended");
    }
    let chosen = frames::choose(&footage, request.pictures, &work.path("frames"), progress, stop)?;
    if chosen.len() < LEAST {
        bail!(
            "{} picture{} to learn from, of {}: give at least {LEAST}, better hundreds of several drives",
            chosen.len(),
            if chosen.len() == 1 { "" } else { "s" },
            request.footage.join(", ")
        );
    }
    let mut inputs = listed(&chosen)?;
    if let Some((folder, _)) = &request.labels {
        collect::attach_labels(&mut inputs, folder)?;
    }
    progress.step("model", None, "");
    let model = work.once(MODEL, |path| match given {
        Some(given) => model::copied(given, path),
        None => model::fetched(&recipe.model, &chosen, path, &request.config.runtime),
    })?;
    // Nothing else of the configuration counts: it would shape scores, and no detector would hold it.
    let mut config = Config {
        score: recipe.score.clone(),
        model: request.config.model.clone(),
        runtime: request.config.runtime.clone(),
        search: request.config.search.clone(),
        ..Config::default()
    };
    config.model.path = model;
    let outliers = outliers(request, &chosen, &work, progress, stop)?;
    let parts = parts(request, &config, (&inputs, &outliers), &work, progress, stop)?;
    let bank = work.once(BANK, |path| {
        progress.step("bank", None, "");
        let first = parts.first().context("no picture to learn from")?;
        let options = fitted(request, &Bank::open_any(first)?.metadata().model)?;
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
        model: ModelConfig { path: MODEL.into(), ..config.model.clone() },
        bank: BankConfig { path: BANK.into() },
        search: DetectorSearch { k: config.search.k },
        score: config.score.clone(),
        ..DetectorFile::default()
    };
    place(out, &work, &page, &file)?;
    work.remove();
    let mut bank = found;
    bank.path = out.join(BANK).display().to_string();
    Ok(Learnt {
        detector: out.display().to_string(),
        pictures: inputs.len(),
        method: config.score.method.name().into(),
        bank,
        warnings,
    })
}

/// The files of the footage, each once, and none that lies in the detector's own folder (a glob may reach into it).
///
/// # Errors
/// What cannot be read; a name that is not UTF-8.
fn footage(request: &Request) -> Result<Vec<Input>> {
    let own = std::fs::canonicalize(&request.output).ok();
    let (mut seen, mut files) = (BTreeSet::new(), Vec::new());
    for input in collect::list(&request.footage)? {
        if input.path.to_str().is_none() {
            bail!("the name of {} is not UTF-8: rename it", input.path.display());
        }
        let real = std::fs::canonicalize(&input.path).with_context(|| input.path.display().to_string())?;
        let is_own = own.as_ref().is_some_and(|own| real.starts_with(own));
        if !is_own && seen.insert(real) {
            files.push(input);
        }
    }
    Ok(files)
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
        labels: request
            .labels
            .as_ref()
            .map(|(folder, void)| Ok::<_, std::io::Error>((std::path::absolute(folder)?, void.clone())))
            .transpose()?,
        pictures: request.pictures,
        recipe: toml::to_string(&request.recipe.1)?,
        model: given.map(|path| digest(path)).transpose()?,
        input: toml::to_string(&ModelConfig { path: PathBuf::new(), ..request.config.model.clone() })?,
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
    let onto: Vec<&PathBuf> = chosen.iter().step_by(outliers.scraps_every.max(1)).collect();
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
        for line in self.bank.thresholds.iter().filter(|line| line.method == self.method) {
            let sure = if line.counted { "" } else { " (a guess: too few held-out frames)" };
            let percent = 100.0 * line.false_frame_rate;
            writeln!(
                f,
                "  threshold    {:.3}: {percent} % of normal frames show a false region{sure}",
                line.threshold
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "  warning      {warning}")?;
        }
        writeln!(f, "  report       {}", Path::new(&self.detector).join(REPORT).display())?;
        write!(f, "  next         farout run '{}' --source rtsp://CAMERA", self.detector)
    }
}
