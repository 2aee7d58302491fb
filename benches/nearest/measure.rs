//! Our engine on some work: how long, and how far from the reference in double precision.

use anyhow::{Context, Result, ensure};
use farout::grid::{Distances, Features};
use farout::nearest::{SearchConfig, open};

use super::data::Work;
use super::made_up::{self, features};

/// Patches of each checked frame that are compared with the reference: fewer of a large bank, never fewer than 4.
fn checked(rows: usize, width: usize) -> usize {
    (1_000_000_000 / (rows * width).max(1)).clamp(4, 24)
}

/// What seconds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The time that passes: what counts, on a machine that has nothing else to do.
    Wall,
    /// Processor time of all threads of the process: for one thread on a busy machine.
    Processor,
}

impl Clock {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Wall => "wall",
            Clock::Processor => "processor",
        }
    }

    /// Seconds since some moment.
    pub fn now(self) -> f64 {
        let id = match self {
            Clock::Wall => libc::CLOCK_MONOTONIC,
            Clock::Processor => libc::CLOCK_PROCESS_CPUTIME_ID,
        };
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer lives through the call; both clocks exist on Linux.
        unsafe { libc::clock_gettime(id, &raw mut time) };
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }
}

/// Our figures.
pub struct Ours {
    /// What the engine calls itself.
    pub backend: String,
    /// Per frame.
    pub seconds: f64,
    /// From the bank to an engine that can search.
    pub open_seconds: f64,
    /// Mean distances of the last frame.
    pub distances: Vec<f32>,
    /// The largest relative error among the checked patches, beyond 1e-6 of the query's norm.
    pub max_rel_error: f64,
}

/// The configuration: k nearest, on the CPU, `backend` if named.
pub fn config(k: usize, threads: usize, backend: Option<&str>) -> Result<SearchConfig> {
    let mut keys = serde_json::json!({"k": k, "device": "cpu", "threads": threads});
    if let Some(backend) = backend {
        keys["backend"] = backend.into();
    }
    serde_json::from_value(keys).context("this farout knows no such search configuration")
}

/// Searches all frames in their order, over and over for at least `least` seconds. Frames of a video are all
/// timed but the first; of other work, the median frame counts.
pub fn ours(work: &Work, config: &SearchConfig, clock: Clock, least: f64) -> Result<Ours> {
    let start = clock.now();
    let mut engine = open(config, &work.bank)?.engine;
    let open_seconds = clock.now() - start;
    let frames: Vec<Features> = work.frames.iter().map(|f| features(work.bank.width(), f.clone())).collect();
    let mut out = Distances::default();
    let mut max_rel_error: f64 = 0.0;
    // Checked before anything is timed, on the first frame and on one that had a predecessor.
    for (i, frame) in frames.iter().enumerate().take(2) {
        engine.distances(frame, &mut out)?;
        max_rel_error = max_rel_error.max(error(work, i, config.k, &out.data));
    }
    ensure!(max_rel_error <= 1e-4, "{} is wrong by {max_rel_error:e} on {} data", engine.name(), work.data);
    let (mut times, begun) = (Vec::new(), clock.now());
    while times.is_empty() || clock.now() - begun < least {
        for (i, frame) in frames.iter().enumerate() {
            let start = clock.now();
            engine.distances(frame, &mut out)?;
            if work.data != "video" || i > 0 {
                times.push(clock.now() - start);
            }
        }
    }
    let seconds = match work.data.as_str() {
        "video" => times.iter().sum::<f64>() / times.len() as f64,
        _ => {
            times.sort_unstable_by(f64::total_cmp);
            times[times.len() / 2]
        }
    };
    max_rel_error = max_rel_error.max(error(work, frames.len() - 1, config.k, &out.data));
    ensure!(max_rel_error <= 1e-4, "{} is wrong by {max_rel_error:e} on {} data", engine.name(), work.data);
    Ok(Ours { backend: engine.name(), seconds, open_seconds, distances: out.data.to_vec(), max_rel_error })
}

/// The largest error of `got` among evenly picked patches of frame `number`, see [`made_up::error`].
pub fn error(work: &Work, number: usize, k: usize, got: &[f32]) -> f64 {
    let (bank, patches) = (&work.bank, work.frames[number].chunks(work.bank.width()));
    let step = patches.len().div_ceil(checked(bank.rows(), bank.width())).max(1);
    let errors = patches
        .enumerate()
        .step_by(step)
        .map(|(p, patch)| made_up::error(got[p], made_up::mean(&made_up::nearest(bank, patch, k)), patch));
    errors.fold(0.0, f64::max)
}
