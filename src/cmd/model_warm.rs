//! `farout model warm`: the models opened as `run` opens them, so that nothing is left to build when it matters.

use std::fmt;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use super::answer::answer;
use super::{progress, settings, unread};
use crate::cli::ModelWarmArgs;
use crate::config::{Config, ConfigError};
use crate::detector;
use crate::features::{Device, Session};

/// Frame that the time of a run is told for.
const FRAME: (usize, usize) = (1280, 720);

/// Opens the model, and that of the road if there is one, and tells what runs them.
///
/// # Errors
/// If one cannot be opened on what is asked for.
pub fn warm(args: &ModelWarmArgs) -> Result<()> {
    let config = settings::read(&args.config, ("model warm", unread::MODEL_WARM))?;
    if config.model.path.as_os_str().is_empty() {
        return Err(ConfigError::Invalid(
            "no model is named: give --model FILE, or set model.path in the file given with --config".into(),
        )
        .into());
    }
    // Both at once, as a run has them: the memory is that of both.
    let (model, _open) = opened(&config, "the model", detector::open_session, args.runs)?;
    let road = match config.roi.has_model() {
        true => Some(opened(&config, "the road model", road_session, args.runs)?.0),
        false => None,
    };
    answer(args.json, &Warmed { model, road, peak_memory_mb: peak_memory_mb() })
}

/// That of the road.
fn road_session(config: &Config) -> Result<Session> {
    detector::open_road_session(config).map(|(session, _)| session)
}

/// Opens a model by `open` and runs it.
fn opened(
    config: &Config,
    name: &str,
    open: impl FnOnce(&Config) -> Result<Session>,
    runs: u16,
) -> Result<(Opened, Session)> {
    let bar = progress::bar(None, "");
    bar.set_message(match config.runtime.device {
        Device::CPU => format!("opening {name}"),
        _ => format!("opening {name}; TensorRT may build for minutes"),
    });
    let start = Instant::now();
    let session = open(config);
    bar.finish_and_clear();
    let mut session = session?;
    session.settle();
    let opened_secs = start.elapsed().as_secs_f64();
    let run_ms = session.warm_up(FRAME.0, FRAME.1, runs)?.as_secs_f64() * 1e3;
    let opened = Opened {
        model: session.describe(),
        runs_on: session.attempt().to_string(),
        passed_over: session.fallbacks().iter().map(|one| format!("{}: {}", one.attempt, one.why)).collect(),
        withheld: session.withheld().iter().map(ToString::to_string).collect(),
        engines: session.engines().map(|(folder, _)| folder.display().to_string()),
        built: session.engines().is_some_and(|(_, new)| new),
        off_golden_frame: session.parity(),
        opened_secs,
        run_ms,
        input_size: session.identity().input_size.clone(),
    };
    Ok((opened, session))
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Warmed {
    /// The model.
    #[serde(flatten)]
    model: Opened,
    /// That of `[roi]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    road: Option<Opened>,
    /// Most memory that the process has had, in MB; 0 where the system does not tell.
    peak_memory_mb: f64,
}

/// What came of one model.
#[derive(Debug, Serialize)]
struct Opened {
    /// The model in one line.
    model: String,
    /// Provider and precision.
    runs_on: String,
    /// What was wanted more, with the reason.
    passed_over: Vec<String>,
    /// What was to make it faster and does not work, with the reason.
    withheld: Vec<String>,
    /// Folder of TensorRT's engines.
    engines: Option<String>,
    /// True if they were built just now.
    built: bool,
    /// Difference from the CPU's features of the golden frame as part of their length.
    off_golden_frame: Option<f32>,
    /// Seconds until the model was open.
    opened_secs: f64,
    /// Milliseconds of one run on a frame of 1280x720: median.
    run_ms: f64,
    /// Size of the model's input.
    input_size: String,
}

impl fmt::Display for Warmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.model)?;
        if let Some(road) = &self.road {
            write!(f, "road model: {road}")?;
        }
        writeln!(f, "  memory       at most {:.0} MB", self.peak_memory_mb)
    }
}

impl fmt::Display for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.model)?;
        for why in &self.passed_over {
            writeln!(f, "  passed over  {why}")?;
        }
        for why in &self.withheld {
            writeln!(f, "  withheld     {why}")?;
        }
        if let Some(folder) = &self.engines {
            let how = if self.built { "built now" } else { "built before" };
            writeln!(f, "  engines      {folder} ({how})")?;
        }
        if let Some(off) = self.off_golden_frame {
            writeln!(f, "  golden frame {:.3} % from the CPU", 100.0 * off)?;
        }
        writeln!(
            f,
            "  opened in    {:.1} s; one run of a {}x{} frame {:.1} ms",
            self.opened_secs, FRAME.0, FRAME.1, self.run_ms
        )
    }
}

/// Most memory that this process has had, in MB; 0 where the system does not tell.
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() * 1024.0 / 1e6
}
