//! Beside a live run: tells systemd how it goes, sees whether anything stands still, and ends the run when its time is
//! over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};
use sd_notify::NotifyState;

use crate::clock::Clock;
use crate::frame::StreamId;
use crate::health::Health;
use crate::live::{DetectionStatus, GaveUp, LaneState, Standing, is_ready};
use crate::stop::Stop;

/// How often it looks.
const TICK: Duration = Duration::from_millis(50);
/// How often systemd is told the figures.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// How often systemd's watchdog is told that all is well; half of the shortest time that makes sense.
const ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Pictures leave the encoder at least so often once they have begun, with or without a camera.
const PICTURES: Duration = Duration::from_secs(10);
/// A detection lane that takes pictures and finishes no step for so long hangs.
const VERDICTS: Duration = Duration::from_secs(60);

/// What the system's clock is off by without having been set: it and the monotonic one are slewed alike.
const STEP: SignedDuration = SignedDuration::from_secs(1);
/// A tick that takes longer is a pause of the whole process.
const PAUSED: Duration = Duration::from_secs(3);

/// What is watched.
pub struct Watched {
    /// How the streams stand now.
    pub streams: Box<dyn Fn() -> Vec<Standing> + Send>,
    /// The detection lane, if verdicts go their own way.
    pub detection: Option<Arc<DetectionStatus>>,
    /// Whether pictures come all the time, with or without a camera and however slow the model is.
    pub steady: bool,
}

/// A number that should rise, and when it did last.
struct Progress {
    seen: u64,
    since: Instant,
}

impl Progress {
    fn new() -> Progress {
        Progress { seen: 0, since: Instant::now() }
    }

    /// How long `now` has stood still.
    fn still(&mut self, now: u64) -> Duration {
        if now != self.seen {
            *self = Progress { seen: now, since: Instant::now() };
        }
        self.since.elapsed()
    }
}

impl Watched {
    /// Whether each stream's first picture has left the encoder and the detector is open.
    fn is_ready(&self) -> bool {
        is_ready(&(self.streams)(), self.detection.as_deref())
    }

    /// The figures in a line.
    fn status(&self) -> String {
        let streams = (self.streams)();
        let mut parts: Vec<String> = streams.iter().map(of_stream).collect();
        if let Some(detection) = &self.detection {
            let judged = detection.health.recent();
            parts.push(match detection.lane() {
                LaneState::Opening => "opening the detector".to_owned(),
                LaneState::Failed { why } => format!("detection failed: {why}"),
                LaneState::Running => {
                    format!("{:.1} verdicts/s, age p50 {:.0} ms", judged.fps, judged.p50_ms)
                }
            });
            parts.extend(problems(&detection.health));
        }
        parts.join("; ")
    }
}

/// The figures of a stream, and what is wrong with it.
fn of_stream(stream: &Standing) -> String {
    let name = stream.name.iter().map(|name| format!("{name}: ")).collect::<String>();
    let mut line = format!("{name}{}", stream.pictures.recent());
    if stream.ended {
        line += ", ended";
    } else if let Some(why) = stream.pictures.lost() {
        line += &format!(", no signal: {why}");
    }
    problems(&stream.pictures).for_each(|problem| line += &format!(", {problem}"));
    line
}

/// What is wrong with each part.
fn problems(health: &Health) -> impl Iterator<Item = String> {
    health.problems().into_iter().map(|(part, why)| format!("{part}: {why}"))
}

/// What stands still, by how far each part has come.
struct Stillness {
    pictures: BTreeMap<StreamId, Progress>,
    steps: Progress,
    taken: u64,
}

impl Stillness {
    fn new() -> Stillness {
        Stillness { pictures: BTreeMap::new(), steps: Progress::new(), taken: 0 }
    }

    /// What hangs, if anything does.
    fn look(&mut self, watched: &Watched) -> Option<String> {
        let streams = (watched.streams)();
        self.pictures.retain(|id, _| streams.iter().any(|stream| stream.id == *id));
        for stream in streams.iter().filter(|stream| watched.steady && !stream.ended) {
            let done = stream.pictures.frames_done();
            let still = self.pictures.entry(stream.id).or_insert_with(Progress::new).still(done);
            if done > 0 && still > PICTURES {
                let of = stream.name.iter().map(|name| format!(" of {name}")).collect::<String>();
                return Some(format!("no picture{of} has left the encoder for {:.0} s", still.as_secs_f64()));
            }
        }
        let detection = watched.detection.as_ref()?;
        let (steps, taken) = (detection.health.steps(), detection.pictures());
        if detection.lane() != LaneState::Running {
            // What comes while it is opened is nobody's fault.
            (self.steps, self.taken) = (Progress { seen: steps, since: Instant::now() }, taken);
            return None;
        }
        let still = self.steps.still(steps);
        // Without pictures there is nothing to judge.
        if still < TICK {
            self.taken = taken;
        }
        (still > VERDICTS && taken > self.taken)
            .then(|| format!("the detection lane has stood still for {:.0} s", still.as_secs_f64()))
    }
}

/// Steps of the system's clock.
#[derive(Default)]
struct Steps {
    /// By how much it was off when that was last told.
    told: SignedDuration,
}

impl Steps {
    /// Says once that the system's clock was set, and that the run's goes on as before; and once that they agree again.
    fn look(&mut self, off: SignedDuration) {
        if (off - self.told).abs() <= STEP {
            return;
        }
        self.told = off;
        if off.abs() <= STEP {
            tracing::info!("the system's clock was set: it agrees with this run's again");
        } else {
            tracing::warn!(
                off_secs = off.as_secs_f64(),
                "the system's clock was set: this run keeps its own time; restart farout to take the new one"
            );
        }
    }
}

/// The watching thread; ends when dropped.
pub struct Watch {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Option<String>>>,
}

impl Watch {
    /// Starts watching. Readiness is the first picture that left the encoder, and an open detector; `seconds` count from
    /// it. What stands still for good ends the run.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(watched: Watched, stop: Stop, seconds: Option<f64>) -> std::io::Result<Watch> {
        let done = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&done);
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || {
            let mut ready: Option<Instant> = None;
            let (mut told, mut alive) = (Instant::now(), Instant::now());
            let (mut stillness, mut steps) = (Stillness::new(), Steps::default());
            let clock = Clock::of_run();
            let (mut stopping, mut stuck) = (false, None);
            while !over.load(Ordering::Acquire) {
                if ready.is_none() && watched.is_ready() {
                    ready = Some(Instant::now());
                    tell(&[NotifyState::Ready]);
                    tracing::info!("ready: the first frame has left the encoder");
                }
                if let (Some(since), Some(seconds)) = (ready, seconds)
                    && since.elapsed().as_secs_f64() >= seconds
                {
                    stop.ask();
                }
                if stop.asked() && !stopping {
                    stopping = true;
                    tell(&[NotifyState::Stopping]);
                }
                if stuck.is_none() && !stopping {
                    stuck = stillness.look(&watched);
                    if let Some(why) = &stuck {
                        tracing::error!("{why}: farout ends, so that it is started again");
                        stop.ask();
                    }
                }
                if ready.is_some() && stuck.is_none() && alive.elapsed() > ALIVE_INTERVAL {
                    alive = Instant::now();
                    tell(&[NotifyState::Watchdog]);
                }
                if told.elapsed() > STATUS_INTERVAL {
                    told = Instant::now();
                    steps.look(clock.step(told, Timestamp::now()));
                    tell(&[NotifyState::Status(&watched.status())]);
                }
                let slept = Instant::now();
                std::thread::sleep(TICK);
                // The whole process stood still (a debugger, SIGSTOP, a machine that slept): nobody hangs because of that.
                if slept.elapsed() > PAUSED {
                    stillness = Stillness::new();
                }
            }
            // A run that drains within a tick, or ends by itself, stops too.
            if !stopping {
                tell(&[NotifyState::Stopping]);
            }
            stuck
        })?;
        Ok(Watch { done, thread: Some(thread) })
    }

    /// Ends it; what stood still, if that ended the run.
    pub fn end(mut self) -> Option<anyhow::Error> {
        self.done.store(true, Ordering::Release);
        let stuck = self.thread.take().and_then(|thread| thread.join().ok().flatten());
        stuck.map(|why| anyhow!("{why}").context(GaveUp))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that anybody waits for.
            let _ = thread.join();
        }
    }
}

/// Tells systemd, if it listens.
fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_should_move_and_does_not_is_stuck() {
        let pictures = Arc::new(Health::new());
        let standing = Standing {
            id: 3,
            name: Some("front".into()),
            pictures: Arc::clone(&pictures),
            verdicts: None,
            ended: false,
        };
        let watched = |steady| {
            let standing = standing.clone();
            Watched { streams: Box::new(move || vec![standing.clone()]), detection: None, steady }
        };
        let long_ago = Instant::now().checked_sub(PICTURES + TICK).unwrap();
        let still = |seen| Stillness {
            pictures: BTreeMap::from([(3, Progress { seen, since: long_ago })]),
            ..Stillness::new()
        };
        assert_eq!(still(0).look(&watched(true)), None, "no picture so far");
        pictures.frame_done(Instant::now());
        assert!(
            still(1)
                .look(&watched(true))
                .unwrap()
                .contains("no picture of front has left the encoder for 10 s")
        );
        assert_eq!(still(1).look(&watched(false)), None, "pictures wait for the model or the camera");
        pictures.frame_done(Instant::now());
        assert_eq!(still(1).look(&watched(true)), None, "one came");
    }
}
