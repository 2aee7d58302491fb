//! What the daemon knows of itself: counters, stage times, latency.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

mod report;
pub mod times;

pub use report::{Recent, Report, StageReport};
use times::{Counted, Times};

use crate::source::{SourceState, SourceStatus};

/// Counters of one run, shared by all of its threads.
#[derive(Debug)]
pub struct Health {
    begun: Instant,
    frames_in: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    faulty_patches: Arc<AtomicU64>,
    source: Mutex<Option<Arc<SourceStatus>>>,
    problems: Mutex<BTreeMap<&'static str, String>>,
    done: Mutex<Done>,
    latency: Times,
    encoded_bytes: AtomicU64,
    stages: Mutex<Vec<(String, Arc<StageCounters>)>>,
}

/// Frames that reached the end, and when.
#[derive(Debug)]
struct Done {
    frames: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    /// Microseconds, over the whole run, within 1 %.
    all: Histogram<u32>,
    /// Microseconds, of the last frames only, oldest overwritten first.
    recent: Vec<u32>,
    /// Moments at which the last frames were done, in step with `recent`.
    recent_at: Vec<Instant>,
    next: usize,
}

/// How many frames "recent" figures cover.
const RECENT: usize = 128;

/// Below so many frames the time of a stage is not known: the first one allocates and warms up.
const FEWEST_FRAMES: u64 = 2;
/// The share of the rate that the slowest stage could reach which is enough: a frame more under way would only wait.
const ENOUGH: f64 = 0.9;
/// A stage's time now is the mean of about so many of its last frames.
const WINDOW: f64 = 8.0;

/// Name of the stage that reads the source: it runs beside the frames under way, not among them.
pub const SOURCE_STAGE: &str = "decode";

#[derive(Debug, Default)]
struct StageCounters {
    frames: AtomicU64,
    busy: Times,
    wait_nanos: AtomicU64,
    /// Of the last frames, exponentially averaged. Written by the stage's thread alone.
    recent_nanos: AtomicU64,
}

impl StageCounters {
    fn report(&self, name: &str) -> StageReport {
        let frames = self.frames.load(Relaxed);
        let per_frame = |time: Duration| time.as_secs_f64() * 1e3 / frames.max(1) as f64;
        StageReport {
            name: name.to_owned(),
            frames,
            busy_ms: per_frame(self.busy.sum()),
            wait_ms: per_frame(Duration::from_nanos(self.wait_nanos.load(Relaxed))),
        }
    }
}

/// The counters of one stage; cloning shares them.
#[derive(Debug, Clone)]
pub struct StageHealth(Arc<StageCounters>);

impl StageHealth {
    /// One frame was worked on for `time`.
    pub fn worked(&self, time: Duration) {
        let (frames, now) = (self.0.frames.fetch_add(1, Relaxed), nanos(time));
        self.0.busy.add(time);
        let before = self.0.recent_nanos.load(Relaxed) as f64;
        // The first frame allocates and warms up: the second one stands for what comes.
        let weight = if frames < FEWEST_FRAMES { 1.0 } else { 1.0 / WINDOW };
        self.0.recent_nanos.store((before + (now as f64 - before) * weight) as u64, Relaxed);
    }

    /// One frame had waited in the stage's queue for `time`.
    pub fn waited(&self, time: Duration) {
        self.0.wait_nanos.fetch_add(nanos(time), Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// All zero, the clock started.
    pub fn new() -> Self {
        // Two digits are 1 %, finer than any two runs agree; the range is that of u32 microseconds.
        let all = Histogram::new_with_max(u64::from(u32::MAX), 2)
            .unwrap_or_else(|_| unreachable!("2 digits and a maximum above 2 are always accepted"));
        Health {
            begun: Instant::now(),
            frames_in: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            faulty_patches: Arc::default(),
            source: Mutex::default(),
            problems: Mutex::default(),
            done: Mutex::new(Done {
                frames: 0,
                first: None,
                last: None,
                all,
                recent: Vec::with_capacity(RECENT),
                recent_at: Vec::with_capacity(RECENT),
                next: 0,
            }),
            latency: Times::default(),
            encoded_bytes: AtomicU64::new(0),
            stages: Mutex::new(Vec::new()),
        }
    }

    /// The counters of the stage called `name`, made if there are none yet.
    pub fn stage(&self, name: &str) -> StageHealth {
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counters)) = stages.iter().find(|(n, _)| n == name) {
            return StageHealth(Arc::clone(counters));
        }
        let counters = Arc::new(StageCounters::default());
        stages.push((name.to_owned(), Arc::clone(&counters)));
        StageHealth(counters)
    }

    /// The source of the frames says how it stands in `status`, from now on.
    pub fn watch(&self, status: Arc<SourceStatus>) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    fn watched(&self) -> Option<Arc<SourceStatus>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the search counts patches whose features are not finite.
    pub fn faulty_patches(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.faulty_patches)
    }

    /// What is wrong with a part now; `None`: nothing any more.
    pub fn problem(&self, part: &'static str, problem: Option<String>) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(why) => problems.insert(part, why),
            None => problems.remove(part),
        };
    }

    /// What is wrong now, by part.
    pub fn problems(&self) -> BTreeMap<&'static str, String> {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
        problems.extend(self.watched().and_then(|source| source.damage()).map(|why| ("source", why)));
        problems
    }

    /// Pictures that were left out because they were damaged.
    pub fn left_out(&self) -> u64 {
        self.watched().map_or(0, |source| source.left_out())
    }

    /// What is wrong with a source that gives no frames now.
    pub fn lost(&self) -> Option<String> {
        let status = self.watched().filter(|source| source.state() == SourceState::Lost)?;
        status.problem()
    }

    /// Frames overtaken by newer ones, in the source or behind it.
    fn dropped(&self) -> u64 {
        let (behind, within) = self.drops();
        behind + within
    }

    /// Frames overtaken by newer ones: behind the source, and in it.
    pub fn drops(&self) -> (u64, u64) {
        (self.dropped.load(Relaxed), self.watched().map_or(0, |source| source.dropped()))
    }

    /// The source delivered a frame.
    pub fn frame_in(&self) {
        self.frames_in.fetch_add(1, Relaxed);
    }

    /// A live frame was overtaken by a newer one.
    pub fn frame_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// A stage failed on a frame; returns how many did so far.
    pub fn frame_failed(&self) -> u64 {
        self.failed.fetch_add(1, Relaxed) + 1
    }

    /// A frame captured at `captured` has left the encoder (or reached the end).
    pub fn frame_done(&self, captured: Instant) {
        let now = Instant::now();
        let latency = now.saturating_duration_since(captured);
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        self.latency.add(latency);
        let mut done = self.done();
        done.frames += 1;
        done.first.get_or_insert(now);
        done.last = Some(now);
        done.all.saturating_record(u64::from(micros));
        if done.recent.len() < RECENT {
            done.recent.push(micros);
            done.recent_at.push(now);
        } else {
            let next = done.next;
            done.recent[next] = micros;
            done.recent_at[next] = now;
        }
        done.next = (done.next + 1) % RECENT;
    }

    /// So many bytes have left the encoder.
    pub fn encoded(&self, bytes: usize) {
        self.encoded_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Bytes that have left the encoder.
    pub fn encoded_bytes(&self) -> u64 {
        self.encoded_bytes.load(Relaxed)
    }

    /// Latencies of all frames that reached the end.
    pub fn latencies(&self) -> Counted {
        self.latency.counted()
    }

    /// Times of each stage, in the order of the flow, and how long its frames waited before it, in seconds.
    pub fn stage_times(&self) -> Vec<(String, Counted, f64)> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(name, counters): &(String, Arc<StageCounters>)| {
            let waited = Duration::from_nanos(counters.wait_nanos.load(Relaxed));
            (name.clone(), counters.busy.counted(), waited.as_secs_f64())
        };
        stages.iter().map(of).collect()
    }

    /// How the source stands, if it says so.
    pub fn source(&self) -> Option<SourceState> {
        Some(self.watched()?.state())
    }

    /// Frames that reached the end so far.
    pub fn frames_done(&self) -> u64 {
        self.done().frames
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frames that the stages after the source have worked on, added up: it stands still where a stage hangs.
    pub fn steps(&self) -> u64 {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = stages.iter().filter(|(name, _)| name != SOURCE_STAGE);
        behind.map(|(_, counters)| counters.frames.load(Relaxed)).sum()
    }

    /// How long the source was waited for in all.
    pub fn waited_for_source(&self) -> Duration {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let source = stages.iter().find(|(name, _)| name == SOURCE_STAGE);
        source.map_or(Duration::ZERO, |(_, counters)| counters.busy.sum())
    }

    /// Frames that the source delivered.
    pub fn frames_in(&self) -> u64 {
        self.frames_in.load(Relaxed)
    }

    /// How many frames under way keep the slowest stage nearly busy: the times of all stages after the source, over the
    /// longest of them, so many that 0.9 of its rate is reached. More would only wait before that stage, and be older
    /// when they come out. Times are those of the last frames. `None` before every stage has seen 2.
    pub fn useful_in_flight(&self) -> Option<usize> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = stages.iter().filter(|(name, _)| name != SOURCE_STAGE);
        let (mut sum, mut longest) = (0.0, 0.0_f64);
        for (_, counters) in behind {
            let frames = counters.frames.load(Relaxed);
            if frames < FEWEST_FRAMES {
                return None;
            }
            let mean = counters.recent_nanos.load(Relaxed) as f64;
            sum += mean;
            longest = longest.max(mean);
        }
        (longest > 0.0).then(|| (ENOUGH * sum / longest).ceil() as usize)
    }

    /// Figures over the last 128 frames, for a status line.
    pub fn recent(&self) -> Recent {
        let done = self.done();
        let mut sorted = done.recent.clone();
        sorted.sort_unstable();
        let at =
            |q: f64| sorted.get(((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1)));
        let oldest = done.recent_at.iter().min();
        let newest = done.recent_at.iter().max();
        let span = oldest.zip(newest).map_or(0.0, |(a, b)| b.duration_since(*a).as_secs_f64());
        Recent {
            fps: if span > 0.0 { (sorted.len() - 1) as f64 / span } else { 0.0 },
            p50_ms: at(0.50).map_or(0.0, |&us| f64::from(us) / 1e3),
            p95_ms: at(0.95).map_or(0.0, |&us| f64::from(us) / 1e3),
            dropped: self.dropped(),
        }
    }

    /// Everything since the start, of all of these together: rates are added up.
    pub fn together(all: &[&Health]) -> Option<Report> {
        let (first, others) = all.split_first()?;
        let mut whole = first.report();
        let mut latency = first.done().all.clone();
        for other in others {
            let report = other.report();
            whole.frames += report.frames;
            whole.frames_in += report.frames_in;
            whole.dropped += report.dropped;
            whole.failed += report.failed;
            whole.reconnects += report.reconnects;
            whole.faulty_patches += report.faulty_patches;
            whole.seconds = whole.seconds.max(report.seconds);
            whole.fps += report.fps;
            // All have the same range and resolution.
            let _ = latency.add(&other.done().all);
        }
        if !others.is_empty() {
            whole.p50_ms = latency.value_at_quantile(0.50) as f64 / 1e3;
            whole.p95_ms = latency.value_at_quantile(0.95) as f64 / 1e3;
            (whole.problems, whole.stages) = Default::default();
        }
        Some(whole)
    }

    /// Everything since the start.
    pub fn report(&self) -> Report {
        let done = self.done();
        let span = done.first.zip(done.last).map_or(0.0, |(a, b)| (b - a).as_secs_f64());
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            frames: done.frames,
            frames_in: self.frames_in.load(Relaxed),
            dropped: self.dropped(),
            failed: self.failed.load(Relaxed),
            reconnects: self.watched().map_or(0, |source| source.reconnects()),
            faulty_patches: self.faulty_patches.load(Relaxed),
            seconds: self.begun.elapsed().as_secs_f64(),
            fps: if span > 0.0 { (done.frames - 1) as f64 / span } else { 0.0 },
            p50_ms: done.all.value_at_quantile(0.50) as f64 / 1e3,
            p95_ms: done.all.value_at_quantile(0.95) as f64 / 1e3,
            problems: self.problems(),
            stages: stages.iter().map(|(name, counters)| counters.report(name)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
