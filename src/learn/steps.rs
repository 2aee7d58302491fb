//! The steps of `farout learn`, in their order.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::cutout::PASTED;
use super::kept::{Kept, Set};
use super::outliers::outliers;
use super::parts::{fitted, shards};
use super::progress::Progress;
use super::request::Request;
use super::work::{Plan, Work};
use super::{frames, listed, model, report, work};
use crate::bank::{Bank, Summary, summary};
use crate::collect::{self, Input, MergeConfig, Outliers};
use crate::config::{
    BankConfig, Config, ConfigError, DetectorFile, DetectorSearch, Provenance, detector_file,
};
use crate::digest::{hex, sha256_of_file};
use crate::file::write_whole;
use crate::model::ModelConfig;
use crate::nearest::SearchConfig;
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

/// Learns a detector, or adds footage to one, and writes it whole: `detector.toml` comes last. What is interrupted goes on with
/// the same request.
///
/// # Errors
/// Footage, model or recipe that cannot be used, by name; a folder that holds a detector already, or none to add to;
/// [`Stopped`](super::Stopped).
pub fn learn(request: &Request, progress: &mut dyn Progress, stop: &Stop) -> Result<Learnt> {
    let out = &request.output;
    let given = given(request)?;
    let before = match request.more {
        true => Some(DetectorFile::read(out)?),
        false => {
            may_begin(out)?;
            None
        }
    };
    let mut kept = match &before {
        Some(file) => Kept::of(out, file)?,
        None => Kept::none(out, request.recipe.clone()),
    };
    let (name, recipe) = kept.recipe.clone();
    recipe.check_for_learning(request.objects.is_some() || kept.has_outliers())?;
    for (folder, what) in
        [(request.labels.as_ref().map(|(folder, _)| folder), "labels"), (request.objects.as_ref(), "objects")]
    {
        if let Some(folder) = folder {
            std::fs::read_dir(folder)
                .with_context(|| format!("cannot read the {what} in {}", folder.display()))?;
        }
    }
    if let Some(before) = &before {
        let (asked, has) = (request.config.search.k, before.search.k);
        if asked != has && asked != SearchConfig::default().k {
            let why =
                format!("search.k is {asked}, and the detector has {has}: take it out of the configuration");
            return Err(ConfigError::Invalid(why).into());
        }
    }
    let request = &Request { recipe: kept.recipe.clone(), ..request.clone() };
    let added_to = before.as_ref().map(|file| file.detector.bank_sha256.clone());
    let is_old = |left: &PathBuf| Work::added_to(left).is_some_and(|other| other != added_to);
    if let Some(left) = Work::left(out).filter(|left| added_to.is_some() && is_old(left)) {
        // Interrupted after its last step: the detector has it.
        work::remove(&left);
    }
    let (footage, files) = footage(request, &kept)?;
    let work = Work::open(out, &plan(request, files.clone(), (given, added_to.clone()))?)?;
    if added_to.is_some() && DetectorFile::read(out)?.detector.bank_sha256 != added_to.unwrap_or_default() {
        bail!("{} was changed meanwhile: run the same command again", out.display());
    }
    if work.taken_up {
        tracing::info!("going on where the last run ended");
    }
    let number = kept.sets.len() + 1;
    let chosen = frames::choose(&footage, request.pictures, &work.path("frames"), progress, stop)?;
    if chosen.len() < LEAST && kept.sets.is_empty() {
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
    let config = config(request, (before.as_ref(), given), &work, &chosen, progress)?;
    let outliers = outliers(request, &chosen, &work, progress, stop)?;
    let (shard, known) = shards(request, &config, (&inputs, &outliers), &work, progress, stop)?;
    let bank = work.once(BANK, |path| {
        progress.step("bank", None, "");
        let mut all = kept.shards();
        all.push(shard.clone());
        let mut strange = kept.outliers();
        strange.extend(known.clone());
        let options = fitted(request, &Bank::open_any(&shard)?.metadata().model)?;
        let pasted = &[u16::from(PASTED)];
        let how = MergeConfig {
            threads: config.search.threads,
            recipe: Some(options.recipe()),
            size: Some(options.size),
            k: Some(config.search.k),
            outliers: match strange.is_empty() {
                true => None,
                false => Some(Outliers::of(collect::join(&strange, &mut ())?, pasted)),
            },
            ..MergeConfig::default()
        };
        Ok(collect::merge(&all, &how, progress)?.write(path)?)
    })?;
    let config = Config { bank: BankConfig { path: bank.clone() }, ..config };
    let mut found = summary(&Bank::open_any(&bank)?);
    let set = Set {
        farout: env!("CARGO_PKG_VERSION").into(),
        files,
        series: report::series(&inputs),
        has_night: report::has_night(&inputs),
        has_outliers: known.is_some(),
    };
    let mut footage = before.as_ref().map(|file| file.detector.footage.clone()).unwrap_or_default();
    footage.extend(request.footage.iter().cloned());
    let sets: Vec<&Set> = kept.sets.iter().chain([&set]).collect();
    let warnings = report::warnings(&found, &sets);
    let told = report::Told {
        recipe: &name,
        footage: &footage,
        bank: &found,
        sets: &sets,
        inputs: &inputs,
        seed: recipe.bank.build.seed,
        warnings: &warnings,
    };
    let page = report::page(&config, &told, progress, stop)?;
    let pictures = sets.iter().flat_map(|set| set.series.values()).sum::<usize>();
    let bank_name = if number == 1 { BANK.to_owned() } else { BANK.replace('.', &format!("-{number}.")) };
    // Paths of the detector are relative to its folder again.
    let own = |path: &Path| path.strip_prefix(out).unwrap_or(path).to_owned();
    let model = before.as_ref().map_or_else(|| MODEL.into(), |file| own(&file.model.path));
    let mut roi = before.as_ref().map(|file| file.roi.clone()).unwrap_or_default();
    roi.model = own(&roi.model);
    let provenance = Provenance {
        farout: env!("CARGO_PKG_VERSION").into(),
        made: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        recipe: name,
        footage,
        pictures: pictures as u64,
        sets: number,
        model_sha256: digest(&config.model.path)?,
        bank_sha256: digest(&bank)?,
    };
    let file = DetectorFile {
        detector: provenance,
        model: ModelConfig { path: model, ..config.model.clone() },
        bank: BankConfig { path: bank_name.clone().into() },
        search: DetectorSearch { k: config.search.k },
        views: config.views.clone(),
        score: config.score.clone(),
        roi,
    };
    kept.add(set, (&shard, known.as_deref()))?;
    place(out, &work, &page, &file)?;
    work.remove();
    if let Some(old) = before.map(|file| file.bank.path).filter(|old| old.parent() == Some(out))
        && let Err(why) = std::fs::remove_file(&old)
    {
        tracing::warn!("{} is no longer needed and cannot be removed: {why}", old.display());
    }
    found.path = out.join(bank_name).display().to_string();
    Ok(Learnt {
        detector: out.display().to_string(),
        pictures,
        method: config.score.method.name().into(),
        bank: found,
        warnings,
    })
}

/// Refuses a folder that holds a detector, or files of the same names.
fn may_begin(out: &Path) -> Result<(), ConfigError> {
    if out.join(detector_file::FILE).exists() {
        // Interrupted after its last step: it is whole.
        if let Some(left) = Work::left(out).filter(|left| Work::added_to(left) == Some(None)) {
            work::remove(&left);
        }
        return Err(ConfigError::Invalid(format!(
            "{} is a detector already: use it, add footage to it with --more, or name another folder with --output",
            out.display()
        )));
    }
    let taken = [MODEL, BANK, REPORT].into_iter().map(|name| out.join(name)).find(|path| path.exists());
    match taken.filter(|_| Work::left(out).is_none()) {
        Some(path) => Err(ConfigError::Invalid(format!(
            "{} is there already and would be overwritten: name another folder",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// The model that is given.
///
/// # Errors
/// [`ConfigError`]: keys of a model where none is given; anything of a model or a recipe where a detector is added to.
fn given(request: &Request) -> Result<Option<&PathBuf>, ConfigError> {
    let given = Some(&request.config.model.path).filter(|path| !path.as_os_str().is_empty());
    let input = ModelConfig { path: PathBuf::new(), ..request.config.model.clone() };
    let why = match given {
        Some(_) if request.more => {
            "--more goes on with the detector's model: leave --model out, and model.path of the configuration"
        }
        None if request.more && input != ModelConfig::default() => {
            "--more keeps the detector's model and its input: leave --features, --input-height and keys of [model] out"
        }
        None if input != ModelConfig::default() => {
            "--features, --input-height and keys of [model] are those of a model that is given with --model; the features and \
             the height of the one that is fetched stand in the recipe, as model.features and model.height"
        }
        _ => return Ok(given),
    };
    Err(ConfigError::Invalid(why.into()))
}

/// What features and scores are made by. Nothing else of the configuration counts: it would shape scores, and no detector would
/// hold it.
fn config(
    request: &Request,
    (before, given): (Option<&DetectorFile>, Option<&PathBuf>),
    work: &Work,
    chosen: &[PathBuf],
    progress: &mut dyn Progress,
) -> Result<Config> {
    let recipe = &request.recipe.1;
    let mut config = Config {
        score: recipe.score.clone(),
        views: recipe.views.clone(),
        model: request.config.model.clone(),
        runtime: request.config.runtime.clone(),
        search: request.config.search.clone(),
        ..Config::default()
    };
    if let Some(before) = before {
        config.model = before.model.clone();
        config.score = before.score.clone();
        config.search.k = before.search.k;
        return Ok(config);
    }
    progress.step("model", None, "");
    let runtime = &request.config.runtime;
    config.model.path = work.once(MODEL, |path| match given {
        Some(given) => model::copied(given, path),
        None => model::fetched(&recipe.model, chosen, path, runtime, progress),
    })?;
    Ok(config)
}

/// The files of the footage, each once: none that lies in the detector's own folder (a glob may reach into it), none that was
/// learnt from before; and the same with their sizes.
///
/// # Errors
/// What cannot be read; a name that is not UTF-8; nothing new.
fn footage(request: &Request, kept: &Kept) -> Result<(Vec<Input>, work::Footage)> {
    let own = std::fs::canonicalize(&request.output).ok();
    let (mut seen, mut inputs, mut files, mut known) = (BTreeSet::new(), Vec::new(), Vec::new(), 0);
    let before = kept.files();
    for input in collect::list(&request.footage)? {
        if input.path.to_str().is_none() {
            bail!("the name of {} is not UTF-8: rename it", input.path.display());
        }
        let named = || input.path.display().to_string();
        let real = std::fs::canonicalize(&input.path).with_context(named)?;
        let size = std::fs::metadata(&input.path).with_context(named)?.len();
        let is_own = own.as_ref().is_some_and(|own| real.starts_with(own));
        let file = (real.clone(), size);
        if is_own || !seen.insert(real) {
            continue;
        }
        if before.contains(&file) {
            known += 1;
            continue;
        }
        inputs.push(input);
        files.push(file);
    }
    if known > 0 {
        tracing::info!("{known} files were learnt from before and are left out");
        if inputs.is_empty() {
            bail!("{} has learnt from all of this footage already", request.output.display());
        }
    }
    Ok((inputs, files))
}

/// What the work folder stands for.
fn plan(
    request: &Request,
    footage: work::Footage,
    (given, added_to): (Option<&PathBuf>, Option<String>),
) -> Result<Plan> {
    let absolute = |path: &PathBuf| std::path::absolute(path);
    Ok(Plan {
        farout: env!("CARGO_PKG_VERSION").into(),
        footage,
        labels: request
            .labels
            .as_ref()
            .map(|(folder, void)| Ok::<_, std::io::Error>((absolute(folder)?, void.clone())))
            .transpose()?,
        objects: request.objects.as_ref().map(absolute).transpose()?,
        added_to,
        pictures: request.pictures,
        recipe: toml::to_string(&request.recipe.1)?,
        model: given.map(|path| digest(path)).transpose()?,
        input: toml::to_string(&ModelConfig { path: PathBuf::new(), ..request.config.model.clone() })?,
        k: request.config.search.k,
    })
}

/// Moves the detector's files into its folder, `detector.toml` last.
fn place(out: &Path, work: &Work, page: &str, file: &DetectorFile) -> Result<()> {
    for (name, to) in [(MODEL, Path::new(MODEL)), (BANK, &file.bank.path)] {
        let (from, to) = (work.path(name), out.join(to));
        // A model that the detector has already is not among the work.
        if from.exists() {
            std::fs::rename(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
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
        writeln!(f, "  next         farout run '{}' --source rtsp://CAMERA", self.detector)
    }
}
