//! When a live picture was captured: by the sender reports of its camera, where they can be trusted, else by when it came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, NTP_TO_UNIX};

/// Packets of pictures that may be inside the decoder.
const PACKETS: usize = 256;
/// A camera's time may lie so long before ours: encoding, network, and a clock that is a little wrong.
const BEFORE: SignedDuration = SignedDuration::from_secs(5);
/// No picture is captured after it came; clocks that are kept by NTP agree within less.
const AFTER: SignedDuration = SignedDuration::from_millis(100);
/// Decoding takes less; what says more has times that do not belong to its clock.
const DECODING: Duration = Duration::from_secs(10);
/// Decoders in hardware round presentation times.
const ROUNDED: u64 = 1_000_000;

/// When each of the last pictures was captured, by presentation time, as its camera says.
pub(super) type SharedSender = Arc<Mutex<Sender>>;

/// See [`SharedSender`].
#[derive(Default)]
pub(super) struct Sender {
    pictures: VecDeque<(gst::ClockTime, Timestamp)>,
    /// How long after its capture a picture comes, once that is known.
    pub(super) delay: Option<SignedDuration>,
}

/// The sender, whatever happened to a thread that held it.
pub(super) fn lock(sender: &SharedSender) -> MutexGuard<'_, Sender> {
    sender.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    fn note(&mut self, pts: gst::ClockTime, captured: Timestamp) {
        // A picture has many packets, and one time.
        if self.pictures.back().is_some_and(|&(last, _)| last == pts) {
            return;
        }
        if self.pictures.len() == PACKETS {
            self.pictures.pop_front();
        }
        self.pictures.push_back((pts, captured));
    }

    fn captured(&self, pts: gst::ClockTime) -> Option<Timestamp> {
        let apart = |of: gst::ClockTime| of.nseconds().abs_diff(pts.nseconds());
        let nearest = self.pictures.iter().min_by_key(|one| apart(one.0))?;
        (apart(nearest.0) <= ROUNDED).then_some(nearest.1)
    }
}

/// A sender report (RFC 3550, 6.4.1): which time of day belongs to which RTP time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Report {
    utc: Timestamp,
    rtp: u32,
    /// Ticks of RTP time in a second.
    rate: u32,
}

impl Report {
    fn read(packet: &[u8], rate: u32) -> Option<Report> {
        const SENDER_REPORT: u8 = 200;
        let word = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
        if packet.get(1) != Some(&SENDER_REPORT) || rate == 0 {
            return None;
        }
        let (seconds, fraction, rtp) = (word(8)?, word(12)?, word(16)?);
        // Times of the next era begin in 2036; those of this one have the highest bit set since 1968.
        let era = if seconds >> 31 == 1 { 0 } else { 1_i64 << 32 };
        let nanoseconds = (u64::from(fraction) * 1_000_000_000) >> 32;
        let utc =
            Timestamp::new(i64::from(seconds) + era - i64::from(NTP_TO_UNIX), nanoseconds as i32).ok()?;
        Some(Report { utc, rtp, rate })
    }

    /// The time of day at an RTP time not far from the report's.
    fn at(&self, rtp: u32) -> Option<Timestamp> {
        let ticks = i64::from(rtp.wrapping_sub(self.rtp) as i32);
        let nanoseconds = ticks * 1_000_000_000 / i64::from(self.rate);
        self.utc.saturating_add(SignedDuration::from_nanos(nanoseconds)).ok()
    }
}

/// Has `sender` know the times that the reports of a camera give to what leaves this `rtpjitterbuffer`. Read here, not
/// with `add-reference-timestamp-meta`: GStreamer 1.20 has it not, and decoders in hardware lose it.
pub(super) fn watch(jitterbuffer: &gst::Element, sender: &SharedSender) {
    let Some(pad) = jitterbuffer.static_pad("src") else { return };
    let report = Arc::<Mutex<Option<Report>>>::default();
    let (on_report, on_packet, sender) = (Arc::clone(&report), report, Arc::clone(sender));
    jitterbuffer.connect("handle-sync", false, move |args| {
        let structure = args.get(1).and_then(|a| a.get::<gst::Structure>().ok())?;
        let buffer = structure.get::<gst::Buffer>("sr-buffer").ok()?;
        let read = Report::read(&buffer.map_readable().ok()?, structure.get::<u32>("clock-rate").ok()?)?;
        let mut report = on_report.lock().unwrap_or_else(PoisonError::into_inner);
        if report.replace(read).is_none() {
            tracing::debug!(utc = %read.utc, "the camera sends reports");
        }
        None
    });
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let report = *on_packet.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = report
            && let Some(packet) = info.buffer()
            && let Some(pts) = packet.pts()
            && let Some(rtp) = rtp_time(packet)
            && let Some(captured) = report.at(rtp)
        {
            lock(&sender).note(pts, captured);
        }
        gst::PadProbeReturn::Ok
    });
}

/// The time in an RTP packet (RFC 3550, 5.1).
fn rtp_time(packet: &gst::BufferRef) -> Option<u32> {
    let mut time = [0; 4];
    packet.copy_to_slice(4, &mut time).ok()?;
    Some(u32::from_be_bytes(time))
}

/// Whether a pipeline's source gives frames in its own time; known with the first frame.
pub(super) fn is_live(sink: &gst_app::AppSink) -> bool {
    // Asked above the sink: one that does not wait for the clock says that nothing is live.
    let mut query = gst::query::Latency::new();
    let answered = sink.static_pad("sink").is_some_and(|pad| pad.peer_query(&mut query));
    answered && query.result().0
}

/// Tells when the pictures of one connection were captured.
pub(super) struct Capture {
    clock: Clock,
    sender: SharedSender,
    /// Whether presentation times are those of the pipeline's clock.
    is_live: Option<bool>,
    /// Whether the camera's clock was found to be another than ours.
    is_wrong: bool,
}

impl Capture {
    pub(super) fn new(sender: SharedSender) -> Capture {
        Capture { clock: Clock::of_run(), sender, is_live: None, is_wrong: false }
    }

    /// When a picture was captured that came out at `sink` at `came`, `running` being its running time.
    pub(super) fn utc(
        &mut self,
        sink: &gst_app::AppSink,
        buffer: &gst::BufferRef,
        running: Option<Duration>,
        came: Instant,
    ) -> Timestamp {
        let is_live = *self.is_live.get_or_insert_with(|| is_live(sink));
        // Live sources give pictures the time at which they came in: what has passed since went into decoding.
        let now = sink.current_running_time().filter(|_| is_live).map(Duration::from);
        let inside = now.zip(running).and_then(|(now, running)| now.checked_sub(running));
        let inside = inside.filter(|inside| *inside < DECODING).unwrap_or_default();
        let own = self.clock.at(came.checked_sub(inside).unwrap_or(came));
        let said = buffer.pts().and_then(|pts| lock(&self.sender).captured(pts));
        self.choose(said, own)
    }

    /// The camera's time, if it can be trusted; else that of the arrival less the delay that is known by it.
    fn choose(&mut self, said: Option<Timestamp>, own: Timestamp) -> Timestamp {
        let trusted = said.filter(|said| self.trusts(*said, own));
        let mut sender = lock(&self.sender);
        if self.is_wrong {
            sender.delay = None;
        } else if let Some(said) = trusted {
            // Pictures come in bursts and with jitter: what is kept is a mean.
            let (now, before) = (own.duration_since(said), sender.delay);
            sender.delay = Some(before.map_or(now, |before| before + (now - before) / 16));
        }
        let estimate = || own.saturating_sub(sender.delay.unwrap_or_default()).unwrap_or(own);
        trusted.unwrap_or_else(estimate)
    }

    /// Whether the camera's time can be true. One that was wrong once is not used again in this connection: times
    /// would jump to and fro.
    fn trusts(&mut self, said: Timestamp, own: Timestamp) -> bool {
        let ahead = said.duration_since(own);
        if !self.is_wrong && !(-BEFORE..=AFTER).contains(&ahead) {
            self.is_wrong = true;
            tracing::warn!(
                ahead_secs = ahead.as_secs_f64(),
                "the camera's clock and this machine's differ: pictures get the time of their arrival; keep both by NTP"
            );
        }
        !self.is_wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sender report of `seconds` and half a second after 1900, at RTP time `rtp`.
    fn packet(seconds: u32, rtp: u32) -> Vec<u8> {
        let mut packet = vec![0x80, 200, 0, 6, 1, 2, 3, 4];
        for word in [seconds, 1 << 31, rtp, 7, 9] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet
    }

    #[test]
    fn a_report_gives_rtp_times_their_time_of_day() {
        let seconds = 1_700_000_000_u32 + NTP_TO_UNIX;
        let report = Report::read(&packet(seconds, 1000), 90_000).unwrap();
        assert_eq!(report.utc.as_millisecond(), 1_700_000_000_500);
        assert_eq!(report.at(1000 + 9000).unwrap().as_millisecond(), 1_700_000_000_600);
        assert_eq!(report.at(1000_u32.wrapping_sub(9000)).unwrap().as_millisecond(), 1_700_000_000_400);
        // NTP's seconds start again in 2036.
        let late = Report::read(&packet(86_400, 0), 90_000).unwrap();
        assert_eq!(late.utc.to_string(), "2036-02-08T06:28:16.5Z");
    }

    #[test]
    fn what_is_no_report_gives_none() {
        let whole = packet(4_000_000_000, 5);
        assert!((0..20).all(|cut| Report::read(&whole[..cut], 90_000).is_none()));
        let mut other = whole.clone();
        other[1] = 201;
        assert!(Report::read(&other, 90_000).is_none() && Report::read(&whole, 0).is_none());
    }

    #[test]
    fn pictures_are_found_by_their_time_in_any_order() {
        let mut sender = Sender::default();
        let time = |n: u64| gst::ClockTime::from_mseconds(40 * n);
        let utc = |n: u64| Timestamp::from_millisecond(1_700_000_000_000 + 40 * n as i64).unwrap();
        for n in [1, 1, 4, 2, 3] {
            sender.note(time(n), utc(n));
        }
        assert_eq!(sender.captured(time(2)), Some(utc(2)));
        assert_eq!(sender.captured(time(4) + gst::ClockTime::from_useconds(300)), Some(utc(4)));
        assert_eq!(sender.captured(time(5)), None);
        (10..1000).for_each(|n| sender.note(time(n), utc(n)));
        assert_eq!(
            (sender.pictures.len(), sender.captured(time(1)), sender.captured(time(999))),
            (PACKETS, None, Some(utc(999)))
        );
    }

    #[test]
    fn a_camera_whose_clock_is_wrong_is_not_believed() {
        let mut capture = Capture::new(SharedSender::default());
        let own = Timestamp::now();
        let ms = SignedDuration::from_millis;
        for ahead in [-4900, -200, 0, 90] {
            assert!(capture.trusts(own + ms(ahead), own), "{ahead} ms");
        }
        for wrong in [-5100, 150, 3_600_000] {
            let mut capture = Capture::new(SharedSender::default());
            assert!(!capture.trusts(own + ms(wrong), own), "{wrong} ms");
            assert!(!capture.trusts(own, own), "once wrong, not used again");
        }
    }

    #[test]
    fn the_delay_that_a_camera_told_is_known_before_its_next_report() {
        let (mut capture, own) = (Capture::new(SharedSender::default()), Timestamp::now());
        let ms = SignedDuration::from_millis;
        assert_eq!(capture.choose(None, own), own, "nothing is known yet");
        assert_eq!(capture.choose(Some(own - ms(160)), own), own - ms(160));
        assert_eq!(capture.choose(None, own), own - ms(160));
        // One that came late weighs little, and gets its own time all the same.
        assert_eq!(capture.choose(Some(own - ms(320)), own), own - ms(320));
        assert_eq!(capture.choose(None, own), own - ms(170));
        // A camera whose clock turns out to be wrong has told nothing.
        assert_eq!(capture.choose(Some(own + ms(9000)), own), own);
        assert_eq!(capture.choose(None, own), own);
    }
}
