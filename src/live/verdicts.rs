//! The newest verdict of each stream, how old verdicts are when they are first seen, and how the detection lane stands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::scores::RecentScores;
use crate::detector::Verdict;
use crate::frame::FrameId;
use crate::health::Health;

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

/// What was found in a frame of a stream, for those that want to know of each.
#[derive(Debug, Clone, Copy)]
pub struct TimedVerdict<'a> {
    /// What the stream is called.
    pub stream: &'a str,
    /// When the frame was captured.
    pub captured: Instant,
    /// The same as a time of day, if that is known.
    pub utc: Option<Timestamp>,
    /// What was found.
    pub verdict: &'a Verdict,
}

/// Told of each verdict, on the detection lane's thread.
pub type VerdictHook = Arc<dyn Fn(TimedVerdict<'_>) + Send + Sync>;

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

/// The detection lane, which all streams share.
#[derive(Debug)]
pub struct DetectionStatus {
    state: Mutex<State>,
    /// Its stages; and verdicts of all streams, counted when they are first shown: the rate is theirs, the latency their
    /// age then.
    pub health: Arc<Health>,
    /// Pictures that could have been judged.
    offered: AtomicU64,
}

#[derive(Debug)]
struct State {
    lane: LaneState,
    facts: Option<Arc<Facts>>,
    restarts: u64,
}

/// What judges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Device, model and bank in a few words.
    pub summary: String,
    /// What runs the model.
    pub provider: String,
    /// What searches, if anything does.
    pub search: Option<String>,
    /// Why better devices were passed over.
    pub fallbacks: Vec<String>,
}

impl Default for DetectionStatus {
    fn default() -> Self {
        let state = State { lane: LaneState::Opening, facts: None, restarts: 0 };
        DetectionStatus {
            state: Mutex::new(state),
            health: Arc::new(Health::new()),
            offered: AtomicU64::new(0),
        }
    }
}

impl DetectionStatus {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The detector is open.
    pub(super) fn opened(&self, facts: Facts) {
        let mut state = self.state();
        state.lane = LaneState::Running;
        state.facts = Some(Arc::new(facts));
    }

    /// The detector is opened anew, with other settings.
    pub(super) fn reopens(&self) {
        self.state().lane = LaneState::Opening;
    }

    /// The lane failed and is opened again.
    pub(super) fn failed(&self, why: String) {
        let mut state = self.state();
        state.lane = LaneState::Failed { why };
        state.restarts += 1;
    }

    /// Device, model and bank in a few words; nothing before the detector is open.
    pub fn summary(&self) -> Option<String> {
        self.facts().map(|facts| facts.summary.clone())
    }

    /// What judges; nothing before the detector is open.
    pub fn facts(&self) -> Option<Arc<Facts>> {
        self.state().facts.clone()
    }

    /// How the lane stands.
    pub fn lane(&self) -> LaneState {
        self.state().lane.clone()
    }

    /// A picture could be judged.
    pub(super) fn offered(&self) {
        self.offered.fetch_add(1, Ordering::Relaxed);
    }

    /// How many pictures could have been judged.
    pub fn pictures(&self) -> u64 {
        self.offered.load(Ordering::Relaxed)
    }

    /// How often it was opened again.
    pub fn restarts(&self) -> u64 {
        self.state().restarts
    }
}

/// The verdicts of one stream, shared by the lanes.
#[derive(Debug)]
pub struct Verdicts {
    newest: Mutex<Option<Arc<Scored>>>,
    /// Counts them when they are first shown.
    pub health: Health,
    /// What their scores have been lately.
    pub scores: RecentScores,
    /// The lane that they come from.
    pub detection: Arc<DetectionStatus>,
}

impl Verdicts {
    pub(super) fn of(detection: &Arc<DetectionStatus>) -> Verdicts {
        Verdicts {
            newest: Mutex::default(),
            health: Health::new(),
            scores: RecentScores::default(),
            detection: Arc::clone(detection),
        }
    }

    /// A frame was judged; `None`: what is known holds no more.
    pub(super) fn publish(&self, scored: Option<Scored>) {
        scored.iter().for_each(|scored| self.scores.see(&scored.verdict));
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = scored.map(Arc::new);
    }

    /// The newest one.
    pub fn newest(&self) -> Option<Arc<Scored>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One is shown for the first time.
    pub(super) fn shown(&self, scored: &Scored) {
        self.health.frame_done(scored.captured);
        self.detection.health.frame_done(scored.captured);
    }
}
