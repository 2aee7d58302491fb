//! What `farout eval` shows and writes: progress, the table, JSON and report.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::{answer, progress};
use crate::cli::EvalOutArgs;
use crate::eval::finished::Finished;
use crate::eval::progress::Progress;
use crate::eval::report;
use crate::eval::result::{EvalResult, MethodResult};
use crate::eval::table;
use crate::file;

/// Where nobody sees a bar, the log tells of long phases this often.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// Progress as a bar with the time left; as log lines where standard error is no terminal.
pub struct EvalProgress {
    bar: ProgressBar,
    phase: Mutex<Phase>,
}

/// The phase under way.
struct Phase {
    name: &'static str,
    begun: Instant,
    told: Instant,
}

impl EvalProgress {
    /// A bar that waits for its first phase.
    pub fn new() -> EvalProgress {
        let now = Instant::now();
        let phase = Mutex::new(Phase { name: "", begun: now, told: now });
        EvalProgress { bar: progress::bar(Some(0), "images"), phase }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for EvalProgress {
    fn begin(&self, phase: &'static str, steps: u64) {
        let now = Instant::now();
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) =
            Phase { name: phase, begun: now, told: now };
        self.bar.reset();
        self.bar.set_length(steps);
        self.bar.set_message(phase);
    }

    fn step(&self) {
        self.bar.inc(1);
        if !self.bar.is_hidden() {
            return;
        }
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        if phase.told.elapsed() < TOLD_EVERY {
            return;
        }
        phase.told = Instant::now();
        let (done, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let left =
            phase.begun.elapsed().as_secs_f64() * (of.saturating_sub(done)) as f64 / done.max(1) as f64;
        tracing::info!("{}: {done} of {of}, about {:.0} s left", phase.name, left);
    }
}

/// Tries all places that will be written to, so that no long work is done in vain.
///
/// # Errors
/// The first that cannot be written to, by name.
pub fn try_places(out: &EvalOutArgs) -> Result<()> {
    if let Some(json) = out.json.as_deref().filter(|json| *json != Path::new("-")) {
        file::try_place(json)?;
    }
    for (flag, folder) in [("--report", &out.report), ("--scores", &out.scores)] {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder)
                .and_then(|()| tempfile::Builder::new().prefix(".farout-").tempfile_in(folder).map(drop))
                .with_context(|| format!("cannot write into the folder {} ({flag})", folder.display()))?;
        }
    }
    Ok(())
}

/// Writes JSON and report, and prints the table.
///
/// # Errors
/// What cannot be written.
pub fn write(out: &EvalOutArgs, finished: &Finished) -> Result<()> {
    match out.json.as_deref() {
        Some(path) if path == Path::new("-") => {
            answer::print_json(&finished.result)?;
        }
        json => {
            if let Some(path) = json {
                finished.result.write(path)?;
            }
            answer::print(table::of(&finished.result))?;
        }
    }
    if let Some(folder) = &out.report {
        report::write(folder, finished)?;
        tracing::info!("report: {}", folder.join("index.html").display());
    }
    Ok(())
}

/// Says whether a repetition gave the same numbers.
pub fn tell_repetition(earlier: &EvalResult, now: &EvalResult) {
    // Written and read again, as the earlier ones were: the last digit of a number may not survive that.
    let written = serde_json::to_vec(&now.methods);
    let now: Vec<MethodResult> = written.and_then(|bytes| serde_json::from_slice(&bytes)).unwrap_or_default();
    if earlier.methods == now {
        tracing::info!("every number is the same as in the earlier run");
        return;
    }
    for (then, now) in earlier.methods.iter().zip(&now) {
        if then != now {
            let ap = |m: &MethodResult| m.pooled.as_ref().map(|p| p.detection.ap);
            tracing::warn!(
                method = then.method.name(),
                "numbers differ from the earlier run (pooled AP {:?}, then {:?}): another machine, library or version?",
                ap(now),
                ap(then)
            );
        }
    }
}
