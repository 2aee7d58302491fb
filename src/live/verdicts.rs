//! The newest verdict, how old verdicts are when they are first seen, and how the detection lane stands.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::detector::Verdict;
use crate::frame::FrameId;
use crate::health::Health;
use crate::overlay::ScoreScale;

/// What was found in a frame, and which that was.
#[derive(Debug)]
pub struct Scored {
    /// The frame's number.
    pub frame: FrameId,
    /// When it was captured.
    pub captured: Instant,
    /// What was found.
    pub verdict: Verdict,
}

/// How the detection lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneState {
    /// Model, bank and search are being opened.
    Opening,
    /// Verdicts come.
    Running,
    /// It failed, and is opened again.
    Failed {
        /// What happened.
        why: String,
    },
}

/// Shared by the lanes.
#[derive(Debug)]
pub struct Verdicts {
    state: Mutex<State>,
    /// Counts verdicts when they are first shown: the rate is theirs, the latency their age then.
    pub health: Arc<Health>,
}

#[derive(Debug)]
struct State {
    lane: LaneState,
    newest: Option<Arc<Scored>>,
    /// What scores mean, and device, model and bank in a few words.
    opened: Option<(ScoreScale, String)>,
    restarts: u64,
}

impl Default for Verdicts {
    fn default() -> Self {
        let state = State { lane: LaneState::Opening, newest: None, opened: None, restarts: 0 };
        Verdicts { state: Mutex::new(state), health: Arc::new(Health::new()) }
    }
}

impl Verdicts {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The detector is open.
    pub(super) fn opened(&self, scale: ScoreScale, summary: String) {
        let mut state = self.state();
        state.lane = LaneState::Running;
        state.opened = Some((scale, summary));
    }

    /// The lane failed and is opened again.
    pub(super) fn failed(&self, why: String) {
        let mut state = self.state();
        state.lane = LaneState::Failed { why };
        state.newest = None;
        state.restarts += 1;
    }

    /// A frame was judged.
    pub(super) fn publish(&self, scored: Scored) {
        let mut state = self.state();
        state.lane = LaneState::Running;
        state.newest = Some(Arc::new(scored));
    }

    /// The newest verdict.
    pub(super) fn newest(&self) -> Option<Arc<Scored>> {
        self.state().newest.clone()
    }

    /// What scores mean, and device, model and bank in a few words; nothing before the detector is open.
    pub(super) fn meaning(&self) -> Option<(ScoreScale, String)> {
        self.state().opened.clone()
    }

    /// How the lane stands.
    pub fn lane(&self) -> LaneState {
        self.state().lane.clone()
    }

    /// How often it was opened again.
    pub fn restarts(&self) -> u64 {
        self.state().restarts
    }
}
