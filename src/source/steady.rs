//! A live source that always gives a picture: while none comes, the last one in grey, which says since when and why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::{Source, SourceError, SourceState, SourceStatus};
use crate::clock::Clock;
use crate::frame::{Frame, NoSignal, PixelFormat};
use crate::pending::Pending;
use crate::pool::Pool;
use crate::stop::Stop;

/// How often a picture is given while none comes.
const INTERVAL: Duration = Duration::from_millis(200);
/// How often it is looked for a source that is about to come.
const EXPECTS: Duration = Duration::from_millis(20);
/// The first picture is waited for so long before another is shown in its place.
const START: Duration = Duration::from_secs(2);
/// A gap is at least so long ...
const SHORTEST: Duration = Duration::from_millis(500);
/// ... and a slow camera's pictures may be this many times as far apart as its last ones.
const PATIENCE: f64 = 4.0;
/// ... but it is never longer: a stream without pictures counts as standing still.
const LONGEST: Duration = Duration::from_secs(5);
/// Pictures that were left out so long ago are why none comes.
const DAMAGED: Duration = Duration::from_secs(2);
/// A picture that is no picture, where the configuration names no size.
const SIZE: (usize, usize) = (1280, 720);

/// Gives the pictures of another source, and others in their place while there are none.
pub struct Steady {
    from: Read,
    stop: Stop,
    switch: Switch,
    /// Another source has just taken the place of the one before.
    switched: bool,
    /// What is added to frame numbers, since those of another source begin at 0.
    renumber: u64,
    pool: Pool<Vec<u8>>,
    size: (usize, usize),
    begun: Instant,
    /// The last picture: its numbers and, for the next gap, its pixels.
    last: Option<Frame>,
    /// When the last picture came, and how far apart they have come lately.
    came: Option<(Instant, Duration)>,
    /// How often the source had come back by then.
    reconnects: u64,
    /// That there is no signal.
    lost: Option<Gap>,
    /// What is added to presentation times, since time went on while there was no picture.
    shift: Duration,
}

/// No picture comes.
struct Gap {
    since: jiff::Timestamp,
    /// When another was last shown in its place.
    shown: Instant,
    /// The log says so.
    told: bool,
}

/// A source that is read on a thread of its own.
struct Read {
    pictures: Receiver<Result<Option<Frame>, SourceError>>,
    description: String,
    rate: Option<f64>,
    status: Option<Arc<SourceStatus>>,
}

impl Read {
    fn start(mut inner: Box<dyn Source>) -> std::io::Result<Read> {
        let (description, rate, status) = (inner.describe(), inner.rate(), inner.status());
        let (give, pictures) = bounded(1);
        std::thread::Builder::new().name("camera".into()).spawn(move || {
            loop {
                let next = inner.next();
                let goes_on = matches!(next, Ok(Some(_)));
                if give.send(next).is_err() || !goes_on {
                    return;
                }
            }
        })?;
        Ok(Read { pictures, description, rate, status })
    }
}

/// Puts another source in the place of the one that is read; cloning shares it.
#[derive(Clone, Default)]
pub struct Switch {
    next: Pending<Read>,
    /// One is about to come: the end of the one before is none.
    expected: Arc<AtomicBool>,
}

impl Switch {
    /// From the next picture on, those of `inner` are given: numbers and times go on. Whoever opened the one before ends
    /// it.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn to(&self, inner: Box<dyn Source>) -> std::io::Result<()> {
        let read = Read::start(inner)?;
        self.next.put(read);
        self.expected.store(false, Ordering::Release);
        Ok(())
    }

    /// Another source is about to come: until it does, there is no signal.
    pub fn expect(&self) {
        self.expected.store(true, Ordering::Release);
    }

    fn is_expected(&self) -> bool {
        self.next.waits() || self.expected.load(Ordering::Acquire)
    }
}

impl Steady {
    /// Reads `inner` on a thread of its own. Before the first picture, others have `size` (width, height; 0 for what
    /// is usual).
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn new(inner: Box<dyn Source>, size: (u32, u32), stop: Stop) -> std::io::Result<Steady> {
        let from = Read::start(inner)?;
        let or = |asked: u32, usual: usize| if asked > 0 { asked as usize } else { usual };
        Ok(Steady {
            from,
            stop,
            switch: Switch::default(),
            switched: false,
            renumber: 0,
            pool: Pool::new(),
            size: (or(size.0, SIZE.0), or(size.1, SIZE.1)),
            begun: Instant::now(),
            last: None,
            came: None,
            reconnects: 0,
            lost: None,
            shift: Duration::ZERO,
        })
    }

    /// What puts another source in its place.
    pub fn switch(&self) -> Switch {
        self.switch.clone()
    }

    /// How long the next picture is waited for.
    fn patience(&self) -> Duration {
        match (&self.lost, &self.came) {
            (Some(gap), _) => INTERVAL.saturating_sub(gap.shown.elapsed()),
            (None, None) => START.saturating_sub(self.begun.elapsed()),
            (None, Some((at, apart))) => {
                apart.mul_f64(PATIENCE).clamp(SHORTEST, LONGEST).saturating_sub(at.elapsed())
            }
        }
    }

    /// A picture of the camera.
    fn took(&mut self, mut frame: Frame) -> Frame {
        let now = Instant::now();
        let switched = std::mem::take(&mut self.switched);
        if switched {
            self.shift = Duration::ZERO;
            self.renumber = self.last.as_ref().map_or(0, |last| last.id + 1);
        }
        let lost = self.lost.take();
        if lost.is_some() || switched {
            // Time went on meanwhile: what follows must not lie before what was shown.
            if let Some(last) = &self.last {
                let passed = last.pts + now.saturating_duration_since(last.captured);
                self.shift = self.shift.max(passed.saturating_sub(frame.pts));
            }
        }
        if lost.is_some_and(|gap| gap.told) {
            tracing::info!(source = self.from.description, "the signal is back");
        }
        frame.id += self.renumber;
        frame.pts += self.shift;
        let reconnects = self.from.status.as_ref().map_or(0, |status| status.reconnects());
        let apart = match self.came {
            // How long it was away tells nothing of how far apart its pictures are.
            Some((_, apart)) if reconnects != self.reconnects => apart,
            Some((before, apart)) => (apart + (now - before).min(Duration::from_secs(10))) / 2,
            None => Duration::from_millis(100),
        };
        (self.came, self.reconnects) = (Some((now, apart)), reconnects);
        frame
    }

    /// Keeps what the next gap would show.
    fn keep(&mut self, frame: &Frame) {
        let mut pixels = match self.last.take() {
            Some(last) => last.pixels,
            None => self.pool.take(),
        };
        pixels.clear();
        pixels.extend_from_slice(&frame.pixels);
        let name = Arc::clone(&frame.name);
        self.last = Some(Frame { pixels, name, truth: None, no_signal: None, ..*frame });
    }

    /// A picture in the place of one that does not come.
    fn substitute(&mut self) -> Frame {
        let now = Instant::now();
        if self.last.is_none() {
            let mut plain = Frame::take(&self.pool, PixelFormat::I420, self.size.0, self.size.1);
            plain.pixels.fill(128);
            plain.captured = self.begun;
            self.last = Some(plain);
        }
        let status = self.from.status.as_ref();
        let damage = status.and_then(|status| status.damage_within(DAMAGED));
        let mut gap = self.lost.take().unwrap_or_else(|| {
            // It was missing before that was noticed.
            let since = Clock::of_run().at(self.came.map_or(self.begun, |(at, _)| at));
            Gap { since, shown: now, told: false }
        });
        gap.shown = now;
        // Damage comes and goes: who finds it tells of it, and not each time.
        if damage.is_none() && !gap.told {
            tracing::warn!(source = self.from.description, "no signal: a still picture is shown");
            gap.told = true;
        }
        let since = gap.since;
        self.lost = Some(gap);
        let why = status.and_then(|status| match status.state() {
            SourceState::Lost => status.problem(),
            SourceState::Starting => Some("it does not answer yet".to_owned()),
            SourceState::Running => damage,
        });
        let why = why.unwrap_or_else(|| "no picture comes".to_owned());
        let mut frame = Frame::take(&self.pool, PixelFormat::I420, 0, 0);
        if let Some(last) = &self.last {
            frame.pixels.clear();
            frame.pixels.extend_from_slice(&last.pixels);
            let pixels = frame.pixels;
            frame = Frame { pixels, name: Arc::clone(&last.name), truth: None, no_signal: None, ..*last };
            frame.pts = last.pts + now.saturating_duration_since(last.captured);
        }
        frame.captured = now;
        // No camera captured this one.
        frame.utc = None;
        frame.no_signal = Some(Arc::new(NoSignal { since, why }));
        frame
    }
}

impl Source for Steady {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        loop {
            if self.stop.asked() {
                return Ok(None);
            }
            if let Some(other) = self.switch.next.take() {
                tracing::info!(before = self.from.description, source = other.description, "another source");
                (self.from, self.switched) = (other, true);
                // Its pictures are waited for as at the start.
                (self.came, self.lost, self.begun) = (None, None, Instant::now());
            }
            // In short steps, to see the token.
            match self.from.pictures.recv_timeout(self.patience().min(INTERVAL)) {
                Ok(Ok(Some(frame))) => {
                    let frame = self.took(frame);
                    self.keep(&frame);
                    return Ok(Some(frame));
                }
                // The end of one in whose place another is about to come is none.
                Ok(Ok(None) | Err(_)) | Err(RecvTimeoutError::Disconnected) if self.switch.is_expected() => {
                    if self.patience().is_zero() {
                        return Ok(Some(self.substitute()));
                    }
                    std::thread::sleep(self.patience().min(EXPECTS));
                }
                Ok(other) => return other,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if self.patience().is_zero() => {
                    return Ok(Some(self.substitute()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn rate(&self) -> Option<f64> {
        self.from.rate
    }

    fn describe(&self) -> String {
        self.from.description.clone()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn status(&self) -> Option<Arc<SourceStatus>> {
        self.from.status.clone()
    }
}

#[cfg(test)]
mod tests;
