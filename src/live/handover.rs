//! The newest frame, handed from the picture lane to the detection lane whenever that is free.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::frame::Frame;
use crate::pool::Pool;
use crate::source::{Source, SourceError};
use crate::stop::Stop;

/// How often a waiting reader looks at its stop token.
const TICK: Duration = Duration::from_millis(50);

/// One place that holds the newest frame.
#[derive(Clone, Default)]
pub(super) struct Handover(Arc<Inner>);

#[derive(Default)]
struct Inner {
    place: Mutex<Place>,
    changed: Condvar,
    copies: Pool<Vec<u8>>,
}

#[derive(Default)]
struct Place {
    frame: Option<Frame>,
    closed: bool,
}

impl Handover {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a copy of `frame` in the place of what nobody has taken.
    pub(super) fn offer(&self, frame: &Frame) {
        let mut copy = self.0.copies.take();
        copy.clear();
        copy.extend_from_slice(&frame.pixels);
        // Cheap but for the pixels, which are not copied twice.
        let name = Arc::clone(&frame.name);
        let copy = Frame { pixels: copy, name, truth: None, no_signal: None, ..*frame };
        self.place().frame = Some(copy);
        self.0.changed.notify_one();
    }

    /// No more frames will come: whoever reads them has its end after the last one.
    pub(super) fn close(&self) {
        self.place().closed = true;
        self.0.changed.notify_all();
    }

    /// The frames as a source; `rate` is that of the pictures.
    pub(super) fn source(&self, rate: Option<f64>, stop: Stop) -> Box<dyn Source> {
        Box::new(Offered { handover: self.clone(), rate, stop })
    }
}

/// Each frame that is newest when it is asked for.
struct Offered {
    handover: Handover,
    rate: Option<f64>,
    stop: Stop,
}

impl Source for Offered {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        let mut place = self.handover.place();
        loop {
            if let Some(frame) = place.frame.take() {
                return Ok(Some(frame));
            }
            if place.closed || self.stop.asked() {
                return Ok(None);
            }
            let waited = self.handover.0.changed.wait_timeout(place, TICK);
            place = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn rate(&self) -> Option<f64> {
        self.rate
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
        let (handover, stop) = (Handover::default(), Stop::new());
        let mut source = handover.source(Some(25.0), stop.clone());
        (1..=3).for_each(|id| handover.offer(&frame(id)));
        let got = source.next().unwrap().unwrap();
        assert_eq!((got.id, got.pixels[0], got.width), (3, 3, 16));
        let late = handover.clone();
        let offering = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            late.offer(&frame(4));
            late.close();
        });
        assert_eq!(source.next().unwrap().unwrap().id, 4);
        assert!(source.next().unwrap().is_none());
        offering.join().unwrap();
        let mut stopped = Handover::default().source(None, stop.clone());
        stop.ask();
        assert!(stopped.next().unwrap().is_none());
    }
}
