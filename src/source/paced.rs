//! Recorded frames at their own pace: each is held back until it is due.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Source, SourceError, SourceStatus};
use crate::clock::Clock;
use crate::frame::Frame;
use crate::stop::Stop;

/// A reader that is later than this loses its claim on the time that has passed: the
/// following frames are due from now on, and do not come in a rush.
const FORGIVEN: Duration = Duration::from_secs(1);

/// Gives out the frames of another source when they are due by their presentation times, and
/// sets [`Frame::captured`] and [`Frame::utc`] to that moment.
pub struct Paced {
    inner: Box<dyn Source>,
    stop: Stop,
    /// The instant at which presentation time 0 was, or would have been, due.
    origin: Option<Instant>,
}

impl Paced {
    /// Paces `inner`; the first frame is due at once.
    pub fn new(inner: Box<dyn Source>, stop: Stop) -> Paced {
        Paced { inner, stop, origin: None }
    }

    /// When a frame of this time is due if it is now `now`.
    fn due(&mut self, pts: Duration, now: Instant) -> Instant {
        let fresh = now.checked_sub(pts).unwrap_or(now);
        let origin = *self.origin.get_or_insert(fresh);
        let due = origin + pts;
        // A jump forward (a gap in the recording) is as little worth waiting for as lateness.
        if now.saturating_duration_since(due) > FORGIVEN || due.saturating_duration_since(now) > 10 * FORGIVEN
        {
            self.origin = Some(fresh);
            return now;
        }
        due
    }
}

impl Source for Paced {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        let Some(mut frame) = self.inner.next()? else {
            return Ok(None);
        };
        let due = self.due(frame.pts, Instant::now());
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if self.stop.asked() {
                return Ok(None);
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        frame.captured = due;
        frame.utc = Some(Clock::of_run().at(due));
        Ok(Some(frame))
    }

    fn rate(&self) -> Option<f64> {
        self.inner.rate()
    }

    fn frames(&self) -> Option<u64> {
        self.inner.frames()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn status(&self) -> Option<Arc<SourceStatus>> {
        self.inner.status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;
    use crate::pool::Pool;

    /// `left` frames of 4 x 4 pixels, `step` apart.
    struct Ticks {
        left: u64,
        next: u64,
        step: Duration,
    }

    impl Source for Ticks {
        fn next(&mut self) -> Result<Option<Frame>, SourceError> {
            if self.next == self.left {
                return Ok(None);
            }
            let mut frame = Frame::take(&Pool::new(), PixelFormat::Rgb, 4, 4);
            frame.id = self.next;
            frame.pts = self.step * self.next as u32;
            self.next += 1;
            Ok(Some(frame))
        }
        fn rate(&self) -> Option<f64> {
            None
        }
        fn describe(&self) -> String {
            "ticks".into()
        }
        fn is_live(&self) -> bool {
            false
        }
    }

    fn ticks(left: u64, step: Duration) -> Box<dyn Source> {
        Box::new(Ticks { left, next: 0, step })
    }

    #[test]
    fn frames_are_captured_when_due_and_never_early() {
        let step = Duration::from_millis(20);
        let mut paced = Paced::new(ticks(6, step), Stop::new());
        let mut first = None;
        while let Some(frame) = paced.next().unwrap() {
            assert!(Instant::now() >= frame.captured);
            let first = *first.get_or_insert(frame.captured);
            assert_eq!(frame.captured, first + frame.pts);
            assert_eq!(frame.utc, Some(Clock::of_run().at(frame.captured)));
        }
    }

    #[test]
    fn a_late_reader_is_forgiven_and_a_gap_not_waited_for() {
        let start = Instant::now();
        let secs = Duration::from_secs_f64;
        let mut paced = Paced::new(ticks(0, Duration::ZERO), Stop::new());
        assert_eq!(paced.due(secs(0.0), start), start);
        // Half a second late: still due when it was due.
        assert_eq!(paced.due(secs(0.1), start + secs(0.6)), start + secs(0.1));
        // Two seconds late: due now, and the next one follows from there.
        let late = start + secs(2.2);
        assert_eq!(paced.due(secs(0.2), late), late);
        assert_eq!(paced.due(secs(0.3), late), late + secs(0.1));
        // An hour without frames.
        assert_eq!(paced.due(secs(3600.0), late), late);
    }

    #[test]
    fn stopping_ends_the_wait() {
        let stop = Stop::new();
        let mut paced = Paced::new(ticks(2, Duration::from_secs(9)), stop.clone());
        assert!(paced.next().unwrap().is_some());
        stop.ask();
        assert!(paced.next().unwrap().is_none());
    }
}
