//! When the pictures inside the encoder were captured, and how that is written on what comes out of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use jiff::Timestamp;

use super::{ntp, precision_time};

/// Encoders in hardware round presentation times.
const ROUNDED: gst::ClockTime = gst::ClockTime::from_useconds(500);
/// Pictures that no encoder holds at once: those that are older never came out.
const MOST: usize = 256;

/// The capture times of pictures by their presentation times, from the encoder's entry to its exit.
#[derive(Clone, Default)]
pub(super) struct CaptureTimes(Arc<Mutex<Inside>>);

/// Presentation and capture times.
type Inside = VecDeque<(gst::ClockTime, Option<Timestamp>)>;

impl CaptureTimes {
    /// A picture goes in; times rise.
    pub(super) fn note(&self, time: gst::ClockTime, utc: Option<Timestamp>) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.len() == MOST {
            inside.pop_front();
        }
        inside.push_back((time, utc));
    }

    /// Writes on the encoded picture `buffer` when it was captured: in its bytes and, for the RTSP server, beside them.
    pub(super) fn write(&self, buffer: gst::Buffer) -> gst::Buffer {
        let Some(utc) = buffer.pts().and_then(|time| self.take(time)) else { return buffer };
        let bytes = buffer.map_readable().ok().and_then(|bytes| precision_time::stamped(&bytes, utc));
        let Some(bytes) = bytes else { return buffer };
        let mut stamped = gst::Buffer::from_mut_slice(bytes);
        let own = stamped.make_mut();
        let kept = gst::BUFFER_COPY_METADATA;
        if buffer.copy_into(own, kept, ..).is_err() {
            return buffer;
        }
        ntp::note(own, utc);
        stamped
    }

    fn take(&self, time: gst::ClockTime) -> Option<Timestamp> {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Pictures may come out in another order than they went in, by a few.
        let at = inside.iter().position(|one| one.0 + ROUNDED >= time)?;
        (inside[at].0 <= time + ROUNDED).then(|| inside.remove(at)).flatten()?.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_gets_its_own_time() {
        let times = CaptureTimes::default();
        let time = |n: u64| gst::ClockTime::from_mseconds(40 * n);
        let utc = |n: u64| Timestamp::from_second(n as i64).unwrap();
        (0..6).for_each(|n| times.note(time(n), (n != 3).then(|| utc(n))));
        assert_eq!(times.take(time(0)), Some(utc(0)));
        // One that the encoder left out, order of decoding, rounding.
        assert_eq!(times.take(time(4) + gst::ClockTime::from_useconds(300)), Some(utc(4)));
        assert_eq!(times.take(time(2)), Some(utc(2)));
        assert_eq!(times.take(time(3)), None);
        assert_eq!(times.take(time(9)), None);
        assert_eq!(times.take(time(5)), Some(utc(5)));
        (10..1000).for_each(|n| times.note(time(n), None));
        assert_eq!(times.0.lock().unwrap().len(), MOST);
    }
}
