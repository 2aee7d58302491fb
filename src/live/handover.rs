//! The newest frame of each stream, handed from the picture lanes to the detection lane whenever that is free.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::frame::{Frame, StreamId};
use crate::pool::Pool;
use crate::source::{Source, SourceError};
use crate::stop::Stop;

/// How often a waiting reader looks at its stop token.
const TICK: Duration = Duration::from_millis(50);

/// One place for each stream, which holds its newest frame; cloning shares them.
#[derive(Clone, Default)]
pub(super) struct Handovers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    places: Mutex<Places>,
    changed: Condvar,
    copies: Pool<Vec<u8>>,
}

#[derive(Default)]
struct Places {
    streams: BTreeMap<StreamId, Place>,
    /// How often a frame was taken.
    turn: u64,
    closed: bool,
}

#[derive(Default)]
struct Place {
    frame: Option<Frame>,
    /// The turn in which a frame of this stream was taken last.
    taken: u64,
    /// Whether no further frame will come.
    ended: bool,
}

/// Where one stream puts its frames; the place goes when it is dropped.
pub(super) struct Handover {
    all: Handovers,
    stream: StreamId,
}

impl Handovers {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for `stream`.
    pub(super) fn join(&self, stream: StreamId) -> Handover {
        let mut places = self.places();
        // As if it had just had its turn: who comes late does not go before those who wait.
        let taken = places.turn;
        places.streams.insert(stream, Place { frame: None, taken, ended: false });
        Handover { all: self.clone(), stream }
    }

    /// No more frames will come: whoever reads them has its end after the last ones.
    pub(super) fn close(&self) {
        self.places().closed = true;
        self.0.changed.notify_all();
    }

    /// The frames as a source. Of several streams with a new frame, the one whose last turn is longest ago is next: a fast
    /// camera gets no more turns than a slow one that has a frame.
    pub(super) fn source(&self, stop: Stop) -> Box<dyn Source> {
        Box::new(Offered { handovers: self.clone(), stop })
    }
}

impl Handover {
    /// Puts a copy of `frame` in the place of what nobody has taken.
    pub(super) fn offer(&self, frame: &Frame) {
        let inner = &self.all.0;
        let mut copy = inner.copies.take();
        copy.clear();
        copy.extend_from_slice(&frame.pixels);
        // Cheap but for the pixels, which are not copied twice.
        let name = Arc::clone(&frame.name);
        let copy = Frame { stream: self.stream, pixels: copy, name, truth: None, no_signal: None, ..*frame };
        let before = self.all.places().streams.get_mut(&self.stream).and_then(|own| own.frame.replace(copy));
        // Its pixels go back to the pool, which has a lock of its own.
        drop(before);
        inner.changed.notify_one();
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let mut places = self.all.places();
        // The last frame of a stream that has ended is judged like all others.
        if let Some(own) = places.streams.get_mut(&self.stream) {
            own.ended = true;
        }
        places.tidy();
    }
}

impl Places {
    /// The frame of the stream whose last turn is longest ago.
    fn next(&mut self) -> Option<Frame> {
        let waiting = self.streams.values_mut().filter(|place| place.frame.is_some());
        let place = waiting.min_by_key(|place| place.taken)?;
        self.turn += 1;
        place.taken = self.turn;
        let frame = place.frame.take();
        self.tidy();
        frame
    }

    /// Takes away what will never hold a frame again.
    fn tidy(&mut self) {
        self.streams.retain(|_, place| place.frame.is_some() || !place.ended);
    }
}

/// Each frame that is newest when it is asked for.
struct Offered {
    handovers: Handovers,
    stop: Stop,
}

impl Source for Offered {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        let mut places = self.handovers.places();
        loop {
            if self.stop.asked() {
                return Ok(None);
            }
            if let Some(frame) = places.next() {
                return Ok(Some(frame));
            }
            if places.closed {
                return Ok(None);
            }
            let waited = self.handovers.0.changed.wait_timeout(places, TICK);
            places = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn rate(&self) -> Option<f64> {
        None
    }

    fn describe(&self) -> String {
        "the newest pictures".to_owned()
    }

    fn is_live(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    fn frame(id: u64) -> Frame {
        let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, 16, 8);
        frame.id = id;
        frame.pixels.fill(id as u8);
        frame
    }

    #[test]
    fn only_the_newest_is_handed_over_and_the_last_before_the_end() {
        let (handovers, stop) = (Handovers::default(), Stop::new());
        let mut source = handovers.source(stop.clone());
        let handover = handovers.join(7);
        (1..=3).for_each(|id| handover.offer(&frame(id)));
        let got = source.next().unwrap().unwrap();
        assert_eq!((got.stream, got.id, got.pixels[0], got.width), (7, 3, 3, 16));
        let late = handovers.clone();
        let offering = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            handover.offer(&frame(4));
            drop(handover);
            late.close();
        });
        assert_eq!(source.next().unwrap().unwrap().id, 4);
        assert!(source.next().unwrap().is_none());
        offering.join().unwrap();
        let mut stopped = Handovers::default().source(stop.clone());
        stop.ask();
        assert!(stopped.next().unwrap().is_none());
    }

    /// Pictures per second of each stream, and how many of 100 turns, 50 ms apart, each gets.
    fn shares(rates: &[u64]) -> Vec<usize> {
        let handovers = Handovers::default();
        let streams: Vec<_> = (0..rates.len()).map(|n| handovers.join(n as StreamId)).collect();
        let mut source = handovers.source(Stop::new());
        let mut got = vec![0; rates.len()];
        let mut offered = vec![0; rates.len()];
        let mut turns = 0;
        for ms in 0..5000_u64 {
            for ((stream, rate), offered) in streams.iter().zip(rates).zip(&mut offered) {
                if ms * rate / 1000 > *offered || ms == 0 {
                    *offered = ms * rate / 1000;
                    stream.offer(&frame(*offered));
                }
            }
            let waits = handovers.places().streams.values().any(|place| place.frame.is_some());
            if ms / 50 >= turns && waits {
                got[source.next().unwrap().unwrap().stream as usize] += 1;
                turns += 1;
            }
        }
        got
    }

    #[test]
    fn a_fast_camera_gets_no_more_than_its_share() {
        for (rates, want) in [
            (&[60, 60][..], &[50, 50][..]),
            (&[60, 25], &[50, 50]),
            // What the slow one cannot use goes to the fast one: 5 a second in 5 s, and the first.
            (&[60, 5], &[75, 25]),
            (&[60, 30, 30, 2], &[30, 30, 30, 10]),
        ] {
            let got = shares(rates);
            let near = got.iter().zip(want).all(|(got, want)| got.abs_diff(*want) <= 2);
            assert!(near, "{rates:?}: {got:?}, not {want:?}");
        }
    }

    #[test]
    fn a_stream_that_has_gone_leaves_its_last_frame_and_no_place() {
        let handovers = Handovers::default();
        let mut source = handovers.source(Stop::new());
        let (one, other) = (handovers.join(0), handovers.join(1));
        one.offer(&frame(1));
        drop(one);
        other.offer(&frame(2));
        drop(other);
        handovers.close();
        let ids = [source.next().unwrap().unwrap().id, source.next().unwrap().unwrap().id];
        assert_eq!(ids, [1, 2]);
        assert!(handovers.places().streams.is_empty());
        assert!(source.next().unwrap().is_none());
    }
}
