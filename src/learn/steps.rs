//! The steps of `farout learn`, in their order.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::asked::{check_addition, check_inputs, footage, given, may_begin, plan};
use super::cutout::PASTED;
use super::horizon::{self, Laid};
use super::kept::{Kept, Set};
use super::learnt::Learnt;
use super::outliers::outliers;
use super::parts::{Shards, fitted, shards};
use super::place::{BANK, MODEL, bank_name, place, tidy};
use super::progress::Progress;
use super::request::Request;
use super::work::{Footage, Work};
use super::{frames, listed, model, report, work};
use crate::bank::{Bank, summary};
use crate::collect::{self, Input, MergeConfig, Outliers};
use crate::config::{BankConfig, Config, DetectorFile, DetectorSearch, Provenance};
use crate::model::ModelConfig;
use crate::stop::Stop;

/// Fewer pictures than this give no thresholds.
const LEAST: usize = 10;

/// Learns a detector, or adds footage to one, and writes it whole: `detector.toml` comes last. What is interrupted goes on with
/// the same request.
///
/// # Errors
/// Footage, model or recipe that cannot be used, by name; a folder that holds a detector already, or none to add to;
/// [`Stopped`](super::Stopped).
pub fn learn(request: &Request, progress: &mut dyn Progress, stop: &Stop) -> Result<Learnt> {
    let out = &request.output;
    work::sweep(out);
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
    kept.recipe.1.check_for_learning(request.objects.is_some() || kept.has_outliers())?;
    check_inputs(request)?;
    if let Some(before) = &before {
        check_addition(request, before, &kept)?;
    }
    let k = before.as_ref().map_or(request.config.search.k, |before| before.search.k);
    let request = &Request { recipe: kept.recipe.clone(), k: Some(k), ..request.clone() };
    let added_to = before.as_ref().map(|file| file.detector.bank_sha256.clone());
    let is_old = |left: &PathBuf| Work::added_to(left).is_some_and(|other| other != added_to);
    if let Some(left) = Work::left(out).filter(|left| added_to.is_some() && is_old(left)) {
        // Interrupted after its last step: the detector has it.
        before.iter().for_each(|file| tidy(out, file));
        tracing::info!(
            "{} is left over from an addition that the detector has, and is removed",
            left.display()
        );
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
    let wanted = (request.pictures, horizon::is_wanted(&kept.recipe.1));
    let frames::Chosen { pictures: chosen, rows } =
        frames::choose(&footage, wanted, &work.path("frames"), progress, stop)?;
    if chosen.len() < LEAST && kept.sets.is_empty() {
        bail!(
            "{} picture{} to learn from, of {}: give at least {LEAST}, better hundreds of several drives",
            chosen.len(),
            if chosen.len() == 1 { "" } else { "s" },
            request.footage.join(", ")
        );
    }
    let mut laid = horizon::laid(&kept.recipe.1, rows.as_deref())?;
    match &before {
        // It was found, and told, then.
        Some(before) => laid.horizon.clone_from(&before.detector.horizon),
        None => tell(&laid, progress),
    }
    // What is added later is looked at in the same places.
    kept.recipe.1 = laid.recipe.clone();
    let request = &Request { recipe: kept.recipe.clone(), ..request.clone() };
    let mut inputs = listed(&chosen)?;
    if let Some((folder, _)) = &request.labels {
        collect::attach_labels(&mut inputs, folder)?;
    }
    let config = config(request, (before.as_ref(), given), &work, &chosen, progress, stop)?;
    let outliers = outliers(request, &chosen, &work, progress, stop)?;
    let new = shards(request, &config, (&inputs, &outliers), &work, progress, stop)?;
    let bank = work.once(BANK, |path| merged(request, &config, (&kept, &new), path, progress))?;
    let config = Config { bank: BankConfig { path: bank }, ..config };
    finish((request, config), (before, kept, laid), (work, new), (&inputs, files), progress, stop)
}

/// Says where the recipe's closer look lies, before hours of work.
fn tell(laid: &Laid, progress: &mut dyn Progress) {
    match (&laid.warning, &laid.horizon) {
        (Some(warning), _) => progress.warn(warning),
        (None, Some(horizon)) => {
            tracing::info!("the recipe's closer look is laid for a horizon at {horizon}")
        }
        (None, None) => {}
    }
}

/// Makes the bank of all that was kept and of what is new.
fn merged(
    request: &Request,
    config: &Config,
    (kept, (shard, known)): (&Kept, &Shards),
    path: &Path,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut all = kept.shards();
    all.push(shard.clone());
    let mut strange = kept.outliers();
    strange.extend(known.clone());
    let options = fitted(request, &Bank::open_any(shard)?.metadata().model)?;
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
}

/// The report, what is kept of the footage, and the detector's files.
fn finish(
    (request, config): (&Request, Config),
    (before, mut kept, laid): (Option<DetectorFile>, Kept, Laid),
    (work, (shard, known)): (Work, Shards),
    (inputs, files): (&[Input], Footage),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Learnt> {
    let (out, (name, recipe)) = (&request.output, &request.recipe);
    let mut found = summary(&Bank::open_any(&config.bank.path)?);
    let set = Set {
        farout: env!("CARGO_PKG_VERSION").into(),
        files,
        series: report::series(inputs),
        has_night: report::has_night(inputs),
        has_outliers: known.is_some(),
        void: request.labels.as_ref().map(|(_, void)| void.clone()),
        k: config.search.k,
    };
    let mut footage = before.as_ref().map(|file| file.detector.footage.clone()).unwrap_or_default();
    footage.extend(request.footage.iter().cloned());
    let sets: Vec<&Set> = kept.sets.iter().chain([&set]).collect();
    let mut warnings = report::warnings(&found, &sets);
    warnings.extend(laid.warning);
    let horizon = laid.horizon;
    let told = report::Told {
        recipe: name,
        footage: &footage,
        bank: &found,
        horizon: horizon.as_ref(),
        sets: &sets,
        inputs,
        seed: recipe.bank.build.seed,
        warnings: &warnings,
    };
    let page = report::page(&config, &told, progress, stop)?;
    let pictures = sets.iter().flat_map(|set| set.series.values()).sum::<usize>();
    // Paths of the detector are relative to its folder again.
    let own = |path: &Path| path.strip_prefix(out).unwrap_or(path).to_owned();
    let mut roi = before.as_ref().map(|file| file.roi.clone()).unwrap_or_default();
    roi.model = own(&roi.model);
    let provenance = Provenance {
        farout: env!("CARGO_PKG_VERSION").into(),
        made: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        recipe: name.clone(),
        footage,
        pictures: pictures as u64,
        sets: sets.len(),
        model_sha256: model::digest(&config.model.path)?,
        bank_sha256: model::digest(&config.bank.path)?,
        horizon: horizon.clone(),
    };
    let bank_name = bank_name(provenance.sets);
    let file = DetectorFile {
        detector: provenance,
        model: ModelConfig {
            path: before.as_ref().map_or_else(|| MODEL.into(), |file| own(&file.model.path)),
            ..config.model
        },
        bank: BankConfig { path: bank_name.clone().into() },
        search: DetectorSearch { k: config.search.k },
        views: config.views,
        score: config.score,
        roi,
    };
    kept.add(set, (&shard, known.as_deref()))?;
    place(out, &work, &page, &file)?;
    // The work last: as long as its plan is there, the next call knows that there may be something to tidy.
    tidy(out, &file);
    work.remove();
    found.path = out.join(bank_name).display().to_string();
    Ok(Learnt {
        detector: out.display().to_string(),
        pictures,
        method: file.score.method.name().into(),
        bank: found,
        horizon,
        warnings,
    })
}

/// What features and scores are made by. Nothing else of the configuration counts: it would shape scores, and no detector would
/// hold it.
fn config(
    request: &Request,
    (before, given): (Option<&DetectorFile>, Option<&PathBuf>),
    work: &Work,
    chosen: &[PathBuf],
    progress: &mut dyn Progress,
    stop: &Stop,
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
    config.search.k = request.k.unwrap_or(config.search.k);
    if let Some(before) = before {
        config.model = before.model.clone();
        config.score = before.score.clone();
        return Ok(config);
    }
    progress.step("model", None, "");
    let runtime = &request.config.runtime;
    config.model.path = work.once(MODEL, |path| match given {
        Some(given) => model::copied(given, path),
        None => model::fetched(&recipe.model, chosen, path, runtime, progress, stop),
    })?;
    Ok(config)
}
