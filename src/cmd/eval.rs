//! `farout eval`: a data set through the detector's own stages, judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::eval_output::{self, EvalProgress};
use super::{settings, signals, unread};
use crate::cli::EvalRunArgs;
use crate::config::{Config, ConfigError};
use crate::eval::dataset::DatasetSpec;
use crate::eval::metrics::BootstrapSettings;
use crate::eval::progress::Progress;
use crate::eval::protocol::Protocol;
use crate::eval::result::EvalResult;
use crate::eval::run::{Request, run};
use crate::eval::settings::Settings;
use crate::eval::shards;
use crate::stop::Stop;

/// Runs from data set to numbers and report.
///
/// # Errors
/// What the run fails on; nothing half-written is left, and what was measured is kept for the next try.
pub fn eval(args: &EvalRunArgs) -> Result<()> {
    let (settings, repeats) = told(args)?;
    eval_output::try_places(&args.out)?;
    let stop = Stop::new();
    signals::listen(&stop)?;
    let work = args.work.clone().unwrap_or_else(|| work_folder(args));
    let request = Request {
        settings,
        shard: args.shard,
        work,
        scores: args.out.scores.clone(),
        repeats: repeats.clone(),
    };
    let shown = Arc::new(EvalProgress::new());
    let progress: Arc<dyn Progress> = Arc::clone(&shown) as Arc<dyn Progress>;
    let ended = run(request, &progress, &stop);
    shown.finish();
    let mut finished = ended?;
    if let (Some(shard), Some(json)) = (args.shard, &args.out.json) {
        shards::write_part(&mut finished, shard, json)?;
    }
    eval_output::write(&args.out, &finished)?;
    if let Some(earlier) = &repeats {
        eval_output::tell_repetition(earlier, &finished.result);
    }
    finished.clean();
    Ok(())
}

/// The settings from flags and configuration, or from an earlier result.
fn told(args: &EvalRunArgs) -> Result<(Settings, Option<EvalResult>)> {
    if let Some(path) = &args.from {
        let earlier = EvalResult::read_whole(path)?;
        let mut settings = earlier.settings.clone();
        if let Some(dataset) = &args.dataset {
            settings.dataset = dataset.clone();
        }
        if let Some(model) = &args.config.own.model {
            settings.config.model.path.clone_from(model);
        }
        if let Some(bank) = &args.bank {
            settings.config.bank.path.clone_from(bank);
        }
        return Ok((settings, Some(earlier)));
    }
    let config = settings::read_with_bank(&args.config, args.bank.as_deref(), ("eval", unread::EVAL))?;
    settings::named(&config.model.path, "model", "--model FILE", "model.path")?;
    let dataset = args.dataset.clone().ok_or_else(|| anyhow::anyhow!("give --dataset KIND:PATH"))?;
    if let Some(other) = args.protocol.iter().find(|protocol| !protocol.is_of_runs()) {
        let why = format!(
            "--protocol {}: it judges score maps; write them with --scores DIR and judge them with farout metrics",
            other.name()
        );
        return Err(ConfigError::Invalid(why).into());
    }
    let mut protocols = Protocol::of(dataset.kind).to_vec();
    protocols.extend(args.protocol.iter().filter(|p| !Protocol::of(dataset.kind).contains(p)));
    protocols.dedup();
    let settings = Settings {
        dataset: absolute(dataset),
        allow_missing: args.allow_missing,
        methods: args.methods.clone(),
        protocols,
        region: args.region.clone().absolute(),
        bootstrap: BootstrapSettings {
            replicates: args.replicates,
            seed: args.seed,
            ..BootstrapSettings::default()
        },
        config: of_use(config),
    };
    Ok((settings, None))
}

/// The configuration without what a run does not read, its paths independent of the working folder.
fn of_use(config: Config) -> Config {
    let whole = |path: PathBuf| match path.as_os_str().is_empty() {
        true => path,
        false => std::path::absolute(&path).unwrap_or(path),
    };
    let mut used = Config {
        model: config.model,
        runtime: config.runtime,
        bank: config.bank,
        search: config.search,
        score: config.score,
        roi: config.roi,
        views: config.views,
        ..Config::default()
    };
    used.model.path = whole(used.model.path);
    used.bank.path = whole(used.bank.path);
    used.roi.model = whole(used.roi.model);
    used
}

fn absolute(spec: DatasetSpec) -> DatasetSpec {
    DatasetSpec { path: std::path::absolute(&spec.path).unwrap_or(spec.path), ..spec }
}

/// Where what is half done is kept if nobody says.
fn work_folder(args: &EvalRunArgs) -> PathBuf {
    let beside = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".work");
        PathBuf::from(name)
    };
    match (&args.out.json, &args.out.report) {
        (Some(json), _) if json.as_os_str() != "-" => beside(json),
        (_, Some(report)) => beside(report),
        _ => std::env::temp_dir().join("farout-eval"),
    }
}
