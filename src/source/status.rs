//! How a source that can be lost stands: written by the source, read by status and watchdog.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Damage is told for so long after the last picture that was left out.
const DAMAGE_LASTS: Duration = Duration::from_secs(10);

/// Whether frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// No frame has come yet.
    Starting,
    /// Frames come.
    Running,
    /// Frames came and have stopped, or none came in time; it is being tried again.
    Lost,
}

/// Shared between a source and whoever watches it.
#[derive(Debug, Default)]
pub struct SourceStatus {
    state: AtomicU8,
    reconnects: AtomicU64,
    frames: AtomicU64,
    dropped: AtomicU64,
    left_out: AtomicU64,
    /// When a picture was left out last.
    damaged: Mutex<Option<Instant>>,
    problem: Mutex<Option<String>>,
}

impl SourceStatus {
    #[cfg(test)]
    pub(crate) fn of(frames: u64, dropped: u64, reconnects: u64) -> SourceStatus {
        SourceStatus {
            frames: frames.into(),
            dropped: dropped.into(),
            reconnects: reconnects.into(),
            ..SourceStatus::default()
        }
    }

    /// Whether frames come.
    pub fn state(&self) -> SourceState {
        match self.state.load(Ordering::Acquire) {
            0 => SourceState::Starting,
            1 => SourceState::Running,
            _ => SourceState::Lost,
        }
    }

    /// How often the stream came back after it was lost.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Frames that the source has seen, those included that it dropped.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Frames that were replaced by newer ones before the reader took them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Pictures that were left out because packets of them, or of pictures that they refer to, were damaged or missing.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// What is wrong with pictures that come, if any were left out lately.
    pub fn damage(&self) -> Option<String> {
        self.damage_within(DAMAGE_LASTS)
    }

    /// The same of the time `within`.
    pub(super) fn damage_within(&self, within: Duration) -> Option<String> {
        let last = *self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_now = self.state() == SourceState::Running && last.is_some_and(|at| at.elapsed() < within);
        is_now.then(|| {
            let all = self.left_out();
            format!("packets are damaged or missing: pictures are left out up to the next key picture ({all} so far)")
        })
    }

    /// What was wrong last, even if it is over.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(feature = "media")]
    /// A frame arrived: the stream runs. True if it did not before.
    pub(super) fn running(&self, frames: u64, dropped: u64) -> bool {
        self.frames.store(frames, Ordering::Relaxed);
        self.dropped.store(dropped, Ordering::Relaxed);
        let before = self.state.swap(1, Ordering::AcqRel);
        if before == 2 && frames > 1 {
            self.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        before != 1
    }

    #[cfg(feature = "media")]
    /// So many more pictures were left out.
    pub(super) fn leave_out(&self, count: u64) {
        self.left_out.fetch_add(count, Ordering::Relaxed);
        *self.damaged.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    #[cfg(feature = "media")]
    /// The stream is lost because of `problem`.
    pub(super) fn lost(&self, problem: &str) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem.to_owned());
        self.state.store(2, Ordering::Release);
    }
}
