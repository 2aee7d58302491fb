//! A model and its search as a configuration opens them, timed step by step.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use farout::bank::Bank;
use farout::config::Config;
use farout::detector::open_session;
use farout::features::{ModelInput, Preprocessor, Session};
use farout::gpu_stream::GpuStream;
use farout::grid::{Distances, Features};
use farout::nearest::{self, SearchConfig};
use farout::source::{Purpose, SourceConfig};
use farout::stop::Stop;
use serde_json::json;

use crate::engine::Opener;
use crate::tell;
use crate::timing::median;

/// Times the steps of a frame, and writes features and distances of the first.
///
/// # Errors
/// What model, bank, source or disk say.
pub fn model(on: &Opener, config: &Path, source: &str, runs: usize, numbers: &Path) -> Result<()> {
    let mut config = Config::read(config)?;
    if on.kernels.is_some() {
        config.search.kernels.clone_from(&on.kernels);
    }
    let mut session = open_session(&config)?;
    let mut source = farout::source::open(source, &SourceConfig::default(), Purpose::Offline, Stop::new())?;
    let frame = source.next()?.context("the source has no frame")?;
    let mut preprocessor = Preprocessor::new(session.input_spec());
    let mut input = ModelInput::default();
    let preprocess = median(on.patience, || preprocessor.step(&frame, &mut input))?;

    let bank = Arc::new(Bank::open_in_memory(&config.bank.path, config.search.k)?);
    bank.check_model(session.identity())?;
    let open = |stream: Option<&Arc<dyn GpuStream>>| {
        let wanted = SearchConfig { gpu: config.runtime.gpu, ..config.search.clone() };
        nearest::open_on(&wanted, &bank, stream)
    };
    // As the daemon does: features stay where they are, if the search takes them there.
    let mut search = open(session.stream())?.engine;
    let shares = session.stream().is_some_and(|stream| search.shares(&**stream));
    session.keep_on_gpu(shares);
    let (mut features, mut out) = (Features::default(), Distances::default());
    let mut frames = 0;
    let mut chain = |session: &mut Session, search: &mut nearest::Gauge| {
        frames += 1;
        session.run(&input, &mut features, None)?;
        search.distances(&features, &mut out)
    };
    for _ in 0..runs {
        chain(&mut session, &mut search)?;
    }
    let together = median(on.patience, || chain(&mut session, &mut search))?;
    let mut apart = open(None)?.engine;
    session.keep_on_gpu(false);
    let read_back = median(on.patience, || chain(&mut session, &mut apart))?;

    let mut copy = Features::default();
    let run = median(on.patience, || session.run(&input, &mut features, None))?;
    let alone = median(on.patience, || apart.distances(&features, &mut out))?;
    let mut bytes: Vec<u8> = bytemuck::cast_slice(&features.data).to_vec();
    session.keep_on_gpu(shares);
    session.run(&input, &mut features, None)?;
    search.distances(&features, &mut out)?;
    let kept = features.on_host(&mut copy).map_err(anyhow::Error::msg)?;
    let same = bytemuck::cast_slice::<f32, u8>(&kept.data) == bytes;
    if on.falsify
        && let Some(last) = out.data.last_mut()
    {
        *last = *last * 1.1 + 1.0;
    }
    bytes.extend(bytemuck::cast_slice::<f32, u8>(&out.data));
    std::fs::write(numbers, bytes).with_context(|| numbers.display().to_string())?;

    let steps = copies(on, &mut session, &input, &features, shares)?;
    tell(&json!({
        "model": session.describe(), "runs_on": session.attempt().to_string(),
        "off_golden_frame": session.parity(),
        "passed_over": session.fallbacks().iter().map(|one| format!("{}: {}", one.attempt, one.why)).collect::<Vec<_>>(),
        "withheld": session.withheld().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "engine": search.name(), "shares_stream": shares,
        "patches": features.grid.len(), "width": features.width, "rows": bank.rows(),
        "ms_preprocess": preprocess, "ms_upload": steps.map(|s| s.upload), "ms_model": steps.map(|s| s.model),
        "ms_download": steps.map(|s| s.download), "ms_upload_model_download": run, "ms_search_from_host": alone,
        "ms_frame": together, "ms_frame_own_stream": read_back,
        "wrong": if same { vec![] } else { vec!["features that stay on the card are others than those read back"] },
    }));
    anyhow::ensure!(same, "features that stay on the card are others than those read back");
    Ok(())
}

/// Milliseconds of what a run on fixed places is made of.
#[derive(Clone, Copy)]
struct Steps {
    upload: f64,
    model: f64,
    download: f64,
}

/// Times them apart, where the session has a stream and leaves its features on the card.
///
/// # Errors
/// What the driver says.
fn copies(
    on: &Opener,
    session: &mut Session,
    input: &ModelInput,
    features: &Features,
    shares: bool,
) -> Result<Option<Steps>> {
    let Some(stream) = session.stream().filter(|_| shares).cloned() else { return Ok(None) };
    let failed = anyhow::Error::msg::<String>;
    let count = input.data.len().max(features.numbers());
    let place = stream.allocate(count * size_of::<f32>()).map_err(failed)?;
    let mut all = vec![0.0f32; features.numbers()];
    let mut time = || -> Result<Steps> {
        // SAFETY: the place has room for as many numbers.
        let send = || unsafe { stream.upload(&input.data, place) }.map_err(failed);
        // Reading one number waits for all that was given to the stream before.
        // SAFETY: the place was written to before.
        let wait = || unsafe { stream.download(place, &mut [0.0f32]) }.map_err(failed);
        send()?;
        let waiting = median(on.patience, wait)?;
        let upload = median(on.patience, || send().and_then(|()| wait()))? - waiting;
        // SAFETY: the place has as many numbers.
        let download = median(on.patience, || unsafe { stream.download(place, &mut all) }.map_err(failed))?;
        let mut kept = Features::default();
        let run = median(on.patience, || session.run(input, &mut kept, None).and_then(|()| wait()))?;
        Ok(Steps { upload, model: run - waiting - upload, download })
    };
    let steps = time();
    // SAFETY: allocated above, freed once, after its last use.
    unsafe { stream.free(place) };
    steps.map(Some)
}
