//! A live stream that is opened again, for ever, whenever it is lost.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::SourceConfig;
use super::decode::{Decode, Pulled};
use super::facts::Facts;
use super::pipeline::Input;
use super::recording::describe;
use super::{Address, Source, SourceError, SourceStatus};
use crate::frame::Frame;
use crate::heaps;
use crate::stop::Stop;

const POLL: Duration = Duration::from_millis(50);
/// Waits between attempts grow from here ...
const SHORTEST: Duration = Duration::from_millis(500);
/// ... to here.
const LONGEST: Duration = Duration::from_secs(2);
/// A loss for the same reason is told at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// A camera, an RTSP or an endless HTTP stream.
pub(super) struct Live {
    location: Address,
    input: Input,
    config: SourceConfig,
    stop: Stop,
    status: Arc<SourceStatus>,
    /// A description that ends by itself is over; a camera that ends is lost.
    ends: bool,
    decode: Option<Decode>,
    /// A frame that was taken to find out what the stream is.
    first: Option<Frame>,
    facts: Facts,
    /// When the stream last showed life: a frame, or the start of an attempt.
    seen: Instant,
    attempts: u32,
    retry_at: Instant,
    timeline: Timeline,
    dropped_before: u64,
    /// How long after its capture a picture comes, as the camera told in the last connection.
    delay: Option<jiff::SignedDuration>,
    /// Damaged pictures of this connection that were left out.
    left_out: u64,
    told: Told,
}

impl Live {
    /// A stream that is opened on the first call of `next`, or is already `running`.
    pub(super) fn new(
        location: &str,
        input: Input,
        config: &SourceConfig,
        stop: Stop,
        ends: bool,
        running: Option<(Decode, Option<Frame>)>,
    ) -> Live {
        let now = Instant::now();
        let (decode, first) = running.unzip();
        Live {
            location: location.into(),
            input,
            config: config.clone(),
            stop,
            status: Arc::default(),
            ends,
            decode,
            first: first.flatten(),
            facts: Facts::default(),
            seen: now,
            attempts: 0,
            retry_at: now,
            timeline: Timeline::default(),
            dropped_before: 0,
            delay: None,
            left_out: 0,
            told: Told::default(),
        }
    }

    fn lose(&mut self, why: &str) {
        if let Some(decode) = self.decode.take() {
            self.dropped_before += decode.dropped();
            self.delay = decode.delay();
            drop(decode);
            heaps::trim();
        }
        let why = &format!("{}{}", self.location.hide(why), self.location.hint(why));
        let wait = backoff(self.attempts, RandomState::new().hash_one(self.location.secret()));
        self.attempts = self.attempts.saturating_add(1);
        self.retry_at = Instant::now() + wait;
        self.status.lost(why);
        let (attempt, retry_in_secs) = (self.attempts, wait.as_secs_f32());
        if self.told.is_news(why) {
            tracing::warn!(location = %self.location, why, attempt, retry_in_secs, "source lost");
        } else {
            tracing::debug!(location = %self.location, why, attempt, retry_in_secs, "source lost");
        }
    }

    fn connect(&mut self) {
        if Instant::now() < self.retry_at {
            std::thread::sleep(POLL.min(self.retry_at.saturating_duration_since(Instant::now())));
            return;
        }
        self.seen = Instant::now();
        self.left_out = 0;
        match Decode::start(&self.input, &self.config, true) {
            Ok(decode) => {
                decode.expect_delay(self.delay);
                self.decode = Some(decode);
            }
            Err(why) => self.lose(&why),
        }
    }

    fn took(&mut self, mut frame: Frame) -> Frame {
        self.seen = Instant::now();
        self.attempts = 0;
        self.timeline.place(&mut frame);
        let dropped = self.dropped_before + self.decode.as_ref().map_or(0, Decode::dropped);
        if self.status.running(frame.id + 1, dropped) {
            self.told = Told::default();
            self.facts = self.decode.as_ref().map(Decode::facts).unwrap_or_default();
            let reconnects = self.status.reconnects();
            tracing::info!(source = describe(&self.location, &self.facts), reconnects, "source runs");
        }
        frame
    }
}

impl Source for Live {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        while !self.stop.asked() {
            if let Some(frame) = self.first.take() {
                return Ok(Some(self.took(frame)));
            }
            let Some(decode) = &mut self.decode else {
                self.connect();
                continue;
            };
            let pulled = decode.pull(POLL);
            let left_out = decode.left_out().saturating_sub(self.left_out);
            if left_out > 0 {
                self.left_out += left_out;
                self.status.leave_out(left_out);
            }
            match pulled {
                Pulled::Frame(frame) => return Ok(Some(self.took(frame))),
                // Pictures come, and none is whole: a new connection would not be better.
                Pulled::Nothing | Pulled::Suspect if left_out > 0 => self.seen = Instant::now(),
                Pulled::Nothing | Pulled::Suspect => {
                    let age = self.seen.elapsed().as_secs_f64();
                    if age > self.config.timeout_secs.max(0.1) {
                        self.lose(&format!("no frame for {age:.1} s"));
                        self.timeline.interrupted = true;
                    }
                }
                Pulled::End if self.ends => return Ok(None),
                Pulled::End => {
                    self.lose("the other side ended the stream");
                    self.timeline.interrupted = true;
                }
                Pulled::Broken(why) => {
                    self.lose(&why);
                    self.timeline.interrupted = true;
                }
            }
        }
        // Cameras and servers are let go at once, not when the last reader forgets them.
        self.decode = None;
        Ok(None)
    }

    fn rate(&self) -> Option<f64> {
        self.decode.as_ref().and_then(|decode| decode.facts().rate).or(self.facts.rate)
    }

    fn describe(&self) -> String {
        describe(&self.location, &self.facts)
    }

    fn is_live(&self) -> bool {
        true
    }

    fn status(&self) -> Option<Arc<SourceStatus>> {
        Some(Arc::clone(&self.status))
    }
}

/// Puts the frames of successive connections on one axis of numbers and times.
#[derive(Default)]
struct Timeline {
    interrupted: bool,
    id_offset: u64,
    /// What is taken from a frame's running time, and what is added.
    zero: Option<Duration>,
    base: Duration,
    last: Option<(u64, Duration, Instant)>,
}

impl Timeline {
    fn place(&mut self, frame: &mut Frame) {
        if std::mem::take(&mut self.interrupted) {
            self.zero = None;
            if let Some((id, pts, captured)) = self.last {
                self.id_offset = id + 1;
                self.base = pts + frame.captured.saturating_duration_since(captured);
            }
        }
        let zero = *self.zero.get_or_insert(frame.pts);
        frame.id += self.id_offset;
        frame.pts = self.base + frame.pts.saturating_sub(zero);
        if let Some((_, before, _)) = self.last {
            frame.pts = frame.pts.max(before + Duration::from_micros(1));
        }
        self.last = Some((frame.id, frame.pts, frame.captured));
    }
}

/// What was last told of a loss, so that one that lasts for hours does not fill the log.
#[derive(Default)]
struct Told(Option<(String, Instant)>);

impl Told {
    /// Whether `why` is to be told: it is another reason, figures apart, or it was not told for a minute.
    fn is_news(&mut self, why: &str) -> bool {
        let reason: String = why.chars().filter(|c| !c.is_ascii_digit()).collect();
        let known = self.0.as_ref().is_some_and(|(told, at)| *told == reason && at.elapsed() < TOLD_EVERY);
        if !known {
            self.0 = Some((reason, Instant::now()));
        }
        !known
    }
}

/// How long to wait before the attempt after `attempts` failures: doubled each time, spread by a
/// quarter to either side so that many daemons do not return in step.
fn backoff(attempts: u32, random: u64) -> Duration {
    let base = SHORTEST.saturating_mul(1 << attempts.min(10)).min(LONGEST);
    let spread = 0.75 + 0.5 * (random >> 11) as f64 / (1_u64 << 53) as f64;
    base.mul_f64(spread).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_once_for_each_reason() {
        let mut told = Told::default();
        let reasons =
            ["no frame for 5.1 s", "no frame for 5.2 s", "refused", "refused", "no frame for 5.0 s"];
        assert_eq!(reasons.map(|why| told.is_news(why)), [true, false, true, false, true]);
    }

    #[test]
    fn waits_grow_and_stay_within_bounds() {
        for random in [0, u64::MAX / 3, u64::MAX] {
            let waits: Vec<_> = (0..40).map(|n| backoff(n, random)).collect();
            assert!(waits.iter().all(|w| (SHORTEST..=LONGEST).contains(w)), "{waits:?}");
            assert!(waits.is_sorted(), "{waits:?}");
            assert!(waits[39] >= LONGEST.mul_f64(0.7));
        }
        assert_ne!(backoff(3, 0), backoff(3, u64::MAX));
    }
}
