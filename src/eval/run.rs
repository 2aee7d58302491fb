//! A run from data set to result: checked, measured, judged; every step can be watched.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::dataset::{Check, Dataset};
use super::finished::{Finished, MapStore};
use super::judge::{self, Case};
use super::measure::measure;
use super::partial::WorkFolder;
use super::progress::Progress;
use super::region::{RegionRecord, Restriction};
use super::result::{
    BankRecord, DatasetRecord, EvalResult, FORMAT, MachineRecord, ModelRecord, ThresholdRecord, TimeRecord,
};
use super::settings::{Settings, Shard};
use crate::detector::{Mapper, RoadRecord, Setup};
use crate::digest::{digest_of, hex, sha256_of_file};
use crate::identity::ModelIdentity;
use crate::score::{MapRecipe, Method};
use crate::stop::Stop;
use crate::views::ViewsConfig;

/// What is wanted beside the settings.
pub struct Request {
    /// What the run is told; without methods, all that model and bank allow.
    pub settings: Settings,
    /// Only this part of the images.
    pub shard: Option<Shard>,
    /// Where what is half done is kept.
    pub work: PathBuf,
    /// Folder for the score maps at the truth's size.
    pub scores: Option<PathBuf>,
    /// A result that this run repeats: model, bank and data set must be the same.
    pub repeats: Option<EvalResult>,
}

/// What the score maps depend on; its hash names the work folder.
#[derive(Serialize)]
struct MapsKey<'a> {
    farout: &'a str,
    dataset: &'a str,
    model: &'a ModelIdentity,
    bank: Option<&'a str>,
    k: usize,
    provider: &'a str,
    engine: Option<&'a str>,
    methods: &'a [Method],
    recipe: MapRecipe,
    temporal: f32,
    #[serde(skip_serializing_if = "ViewsConfig::is_empty")]
    views: &'a ViewsConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    road: Option<&'a RoadRecord>,
}

/// Runs from data set to result.
///
/// # Errors
/// A data set that must not be scored, parts that do not fit, the first image that cannot be used; being
/// stopped, with how to go on.
pub fn run(request: Request, progress: &Arc<dyn Progress>, stop: &Stop) -> Result<Finished> {
    let Request { mut settings, shard, work, scores, repeats } = request;
    let (dataset, check) = checked(&settings, progress)?;
    let all: Vec<usize> =
        (0..dataset.samples.len()).filter(|i| dataset.samples[*i].truth.is_some()).collect();
    let indices: Vec<usize> = match shard {
        Some(shard) => shard.indices(all.len()).into_iter().map(|i| all[i]).collect(),
        None => all,
    };
    if let Some(shard) = shard.filter(|_| indices.is_empty()) {
        bail!("part {shard} has no images: the data set has {}", dataset.samples.len());
    }
    if settings.config.score.temporal > 0.0 {
        in_order(&dataset, shard)?;
    }
    let restriction = Restriction::open(&settings.region, &dataset)?;
    let mapper = Mapper::open(&settings.config, &settings.methods, settings.wants_road())?;
    let setup = mapper.setup.clone();
    settings.methods.clone_from(&setup.methods);
    let bank = setup.bank.as_ref().map(|bank| bank_record(bank)).transpose()?;
    let key = MapsKey {
        farout: env!("CARGO_PKG_VERSION"),
        dataset: &check.sha256,
        model: &setup.model,
        bank: bank.as_ref().map(|bank| bank.sha256.as_str()),
        k: settings.config.search.k,
        provider: &setup.provider,
        engine: setup.engine.as_deref(),
        methods: &settings.methods,
        recipe: settings.config.score.recipe(),
        temporal: settings.config.score.temporal,
        views: &settings.config.views,
        road: setup.road.as_ref(),
    };
    let key = hash(&key)?;
    if let Some(earlier) = &repeats {
        same_material(earlier, &check.sha256, &setup.model, bank.as_ref())?;
    }
    let region = RegionRecord {
        sha256: restriction.sha256(),
        road_model: setup
            .road
            .as_ref()
            .and_then(|road| road.model.as_ref())
            .map(|model| (model.name.clone(), model.sha256.clone())),
        ..RegionRecord::default()
    };
    if let Some(then) = repeats.as_ref().and_then(|earlier| earlier.region.as_ref())
        && then.sha256 != region.sha256
    {
        bail!("this would not repeat the earlier run, the masks of --region {} differ", settings.region);
    }
    let work = WorkFolder::open(&work, &key, &settings.map_names())?;
    progress.begin("score maps", indices.len() as u64);
    let in_order = settings.config.score.temporal > 0.0;
    let work = measure(&dataset, &indices, in_order, mapper, work, progress, stop)?;
    let mut result = EvalResult {
        format: FORMAT,
        farout: env!("CARGO_PKG_VERSION").to_owned(),
        made: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        dataset: record(&dataset, &check),
        region: Some(region),
        model: ModelRecord { identity: setup.model.clone() },
        bank,
        machine: MachineRecord::here(&setup),
        time: TimeRecord::of(&work.sessions()),
        maps_key: key,
        thresholds: thresholds(&settings, &setup),
        shard: None,
        methods: Vec::new(),
        settings,
    };
    let maps = MapStore::Work(work);
    if shard.is_none() {
        judge_all(&mut result, &dataset, &indices, &maps, scores.as_deref(), progress)?;
    }
    Ok(Finished { result, dataset, indices, maps })
}

/// Checks that the frames can be smoothed over time.
fn in_order(dataset: &Dataset, shard: Option<Shard>) -> Result<()> {
    if dataset.samples.iter().any(|sample| sample.sequence.is_none()) {
        bail!(
            "score.temporal smooths over the frames of a sequence, but this data set holds single images; set it to 0"
        );
    }
    if let Some(shard) = shard {
        bail!("score.temporal needs all frames of a sequence in order: run it without --shard {shard}");
    }
    Ok(())
}

/// The data set, listed and checked.
///
/// # Errors
/// [`super::dataset::DatasetError`].
pub(super) fn checked(settings: &Settings, progress: &Arc<dyn Progress>) -> Result<(Dataset, Check)> {
    let dataset = Dataset::open(&settings.dataset)?;
    progress.begin("truth check", dataset.samples.len() as u64);
    let check = Check::run(&dataset, settings.allow_missing, &|| progress.step()).passed()?;
    Ok((dataset, check))
}

/// Judges the maps and fills in the numbers.
///
/// # Errors
/// As [`judge::judge`].
pub(super) fn judge_all(
    result: &mut EvalResult,
    dataset: &Dataset,
    indices: &[usize],
    maps: &MapStore,
    scores: Option<&Path>,
    progress: &Arc<dyn Progress>,
) -> Result<()> {
    let begun = Instant::now();
    progress.begin("judging", indices.len() as u64 * judge::PASSES);
    let restriction = Restriction::open(&result.settings.region, dataset)?;
    if let Some(region) = &result.region
        && region.sha256 != restriction.sha256()
    {
        bail!("the masks of --region {} are not those of the run", result.settings.region);
    }
    let load = |index: usize| maps.load(index, &dataset.samples[index].name);
    let done = || progress.step();
    let case = Case {
        dataset,
        indices,
        settings: &result.settings,
        thresholds: &result.thresholds,
        restriction: &restriction,
        load: &load,
        scores,
        done: &done,
    };
    let (methods, seen) = judge::judge(&case)?;
    result.methods = methods;
    if let Some(region) = &mut result.region {
        (region.share, region.with_anomaly) = (seen.share, seen.with_anomaly);
    }
    result.time.judging_seconds = begun.elapsed().as_secs_f64();
    Ok(())
}

/// The daemon's threshold of each method, or why there is none.
fn thresholds(settings: &Settings, setup: &Setup) -> Vec<ThresholdRecord> {
    let none = |basis: String| ThresholdRecord { value: None, basis };
    let of = |method: &Method| {
        let score = crate::score::ScoreConfig { method: *method, ..settings.config.score.clone() };
        match &setup.bank {
            None => none("there is no bank to take a threshold from".into()),
            Some(bank) => {
                match score.resolve(bank, settings.config.search.k, &settings.config.views.describe()) {
                    Ok(known) => ThresholdRecord { value: Some(known.value), basis: known.basis },
                    Err(why) => none(why.to_string()),
                }
            }
        }
    };
    settings.methods.iter().map(of).collect()
}

fn bank_record(bank: &crate::bank::Bank) -> Result<BankRecord> {
    let path = bank.path().to_owned();
    let sha256 = sha256_of_file(&path).with_context(|| format!("cannot read the bank {}", path.display()))?;
    let metadata = bank.metadata();
    Ok(BankRecord {
        sha256: hex(&sha256),
        rows: bank.rows(),
        frames: metadata.build.frames as usize,
        seed: metadata.build.seed,
        farout: metadata.farout.clone(),
        path,
    })
}

fn record(dataset: &Dataset, check: &Check) -> DatasetRecord {
    let without: Vec<String> =
        dataset.samples.iter().filter(|s| s.truth.is_none()).map(|s| s.name.clone()).collect();
    DatasetRecord {
        images: dataset.samples.len() - without.len(),
        without_mask: without,
        sha256: check.sha256.clone(),
        share: check.share,
        with_anomaly: check.files.iter().filter(|f| f.share.is_some_and(|s| s.anomaly > 0)).count(),
        notes: check.notes.clone(),
    }
}

/// Refuses to call a run a repetition if it has other material.
fn same_material(
    earlier: &EvalResult,
    dataset: &str,
    model: &ModelIdentity,
    bank: Option<&BankRecord>,
) -> Result<()> {
    let mut differences = model.differences(&earlier.model.identity);
    let mut compare = |what: &str, now: Option<&str>, then: Option<&str>| {
        if now != then {
            let none = "none";
            differences.push(format!("{what}: {}, not {}", now.unwrap_or(none), then.unwrap_or(none)));
        }
    };
    compare("data set SHA-256", Some(dataset), Some(&earlier.dataset.sha256));
    let bank_then = earlier.bank.as_ref().map(|bank| bank.sha256.as_str());
    compare("bank SHA-256", bank.map(|bank| bank.sha256.as_str()), bank_then);
    if !differences.is_empty() {
        bail!("this would not repeat the earlier run, the material differs: {}", differences.join("; "));
    }
    Ok(())
}

/// SHA-256 of a value's JSON, in hexadecimal.
fn hash(value: &impl Serialize) -> Result<String> {
    let bytes = serde_json::to_vec(value).context("a key that is no JSON; this is a bug in farout")?;
    Ok(hex(&digest_of(&[&bytes])))
}
