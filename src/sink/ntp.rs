//! The capture time in the RTSP stream: what RTCP's sender reports, and a header extension of the packets (RFC 6051) where
//! GStreamer has it, say of a picture is when it was captured.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use jiff::Timestamp;

use crate::clock::{Clock, NTP_TO_UNIX};

/// What GStreamer calls such times.
const NTP: &str = "timestamp/x-ntp";
/// So long before they enter may pictures have been captured: a camera's own delay, the network, judging.
const DELAY: gst::ClockTime = gst::ClockTime::from_seconds(10);
/// So long after: cameras' clocks are kept well, or are not used.
const AHEAD: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// The header extension.
const EXTENSION: &str = "urn:ietf:params:rtp-hdrext:ntp-64";

/// Nanoseconds since 1900.
fn ntp(utc: Timestamp) -> gst::ClockTime {
    let unix = gst::ClockTime::from_nseconds(u64::try_from(utc.as_nanosecond()).unwrap_or_default());
    unix + gst::ClockTime::from_seconds(NTP_TO_UNIX.into())
}

/// Notes on a picture when it was captured.
pub(super) fn note(buffer: &mut gst::BufferRef, utc: Timestamp) {
    note_time(buffer, ntp(utc));
}

fn note_time(buffer: &mut gst::BufferRef, time: gst::ClockTime) {
    let kind = gst::Caps::new_empty_simple(NTP);
    gst::ReferenceTimestampMeta::add(buffer, &kind, time, gst::ClockTime::NONE);
}

fn noted(buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let is_ntp =
        |meta: &gst::ReferenceTimestampMeta| meta.reference().structure(0).is_some_and(|s| s.name() == NTP);
    buffer.iter_meta::<gst::ReferenceTimestampMeta>().find(|meta| is_ntp(meta)).map(|meta| meta.timestamp())
}

/// When a picture was captured, if that is noted on it.
pub(super) fn captured(buffer: &gst::BufferRef) -> Option<SystemTime> {
    let unix = noted(buffer)?.checked_sub(gst::ClockTime::from_seconds(NTP_TO_UNIX.into()))?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(unix.nseconds()))
}

/// The clock of the run as GStreamer's: it tells NTP time.
fn clock() -> gst::Clock {
    let kind = gst::ClockType::Monotonic;
    let clock = glib::Object::builder::<gst::SystemClock>().property("clock-type", kind).build();
    let (internal, now) = (clock.internal_time(), Instant::now());
    clock.set_calibration(internal, ntp(Clock::of_run().at(now)), 1, 1);
    clock.upcast()
}

/// Has a medium, whose pictures enter at `entry` and are payloaded by `pay0`, say when they were captured.
pub(super) fn tell(media: &rtsp::RTSPMedia, entry: &gst_app::AppSrc) {
    media.set_clock(Some(&clock()));
    let element = media.element();
    // The pipeline gets its `rtpbin` later.
    if let Some(pipeline) = element.parent().and_then(|parent| parent.downcast::<gst::Pipeline>().ok()) {
        begin_earlier(&pipeline);
        pipeline.connect_element_added(|_, added| {
            if added.factory().is_some_and(|factory| factory.name() == "rtpbin") {
                // Reports are in the time of the medium's clock, which is that of the run, and mean captures.
                added.set_property_from_str("ntp-time-source", "clock-time");
                added.set_property("rtcp-sync-send-time", false);
                // What stands in the packets is what is noted on the pictures, while the axis still slews, too.
                if added.find_property("update-ntp64-header-ext").is_some() {
                    added.set_property("update-ntp64-header-ext", false);
                }
            }
        });
    }
    if let Some(payloader) = element.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name("pay0")) {
        extend(&payloader);
    }
    place(entry);
}

/// Has the axis of a pipeline begin before its start: the first pictures were captured before it.
fn begin_earlier(pipeline: &gst::Pipeline) {
    let Some(bus) = pipeline.bus() else { return };
    let weak = pipeline.downgrade();
    bus.enable_sync_message_emission();
    // It sets the beginning itself on its way to PAUSED, and takes it on its way to PLAYING.
    bus.connect_sync_message(Some("state-changed"), move |_, message| {
        if let gst::MessageView::StateChanged(change) = message.view()
            && (change.old(), change.current()) == (gst::State::Ready, gst::State::Paused)
            && let Some(pipeline) = weak.upgrade()
            && message.src().is_some_and(|src| src == pipeline.upcast_ref::<gst::Object>())
        {
            pipeline.set_start_time(DELAY);
        }
    });
}

/// Has the packets carry the header extension, by saying that the other end wants it.
fn extend(payloader: &gst::Element) {
    let has = |name: &str| payloader.find_property(name).is_some();
    if gst::ElementFactory::find("rtphdrextntp64").is_none() || !has("auto-header-extension") {
        return;
    }
    let Some(pad) = payloader.static_pad("src") else { return };
    let wanted = gst::Caps::builder("application/x-rtp").field("extmap-1", EXTENSION).build();
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PULL, move |_, info| {
        if let Some(gst::QueryViewMut::Caps(query)) = info.query_mut().map(|q| q.view_mut())
            && let Some(caps) = query.result_owned()
        {
            query.set_result(&caps.intersect(&wanted));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Gives pictures the time of their capture on the medium's axis in place of that of their arrival.
///
/// When they arrived is read here, not taken from their time stamps: `appsrc` stamps pictures while its pipeline starts,
/// when it may have the clock already and its base time not yet. Such a stamp is the clock's own time, years ahead on the
/// axis, and the sink would wait for it.
fn place(entry: &gst_app::AppSrc) {
    let Some(pad) = entry.static_pad("src") else { return };
    let (weak, axis) = (entry.downgrade(), Mutex::new(Axis::default()));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
            && let Some(entry) = weak.upgrade()
            && let Some((clock, base)) = entry.clock().zip(entry.base_time())
        {
            let now = clock.time().saturating_sub(base);
            let arrived = buffer.pts().map_or(now, |stamped| stamped.min(now));
            let noted = noted(buffer);
            let captured = noted.and_then(|time| time.checked_sub(base));
            let time = axis.lock().unwrap_or_else(PoisonError::into_inner).place(captured, arrived);
            let own = buffer.make_mut();
            own.set_pts(time);
            own.set_dts(time);
            if noted.is_none() {
                // A header extension without a time would say 1900.
                note_time(own, base + time);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Times that rise, whatever those of the captures do.
#[derive(Default)]
struct Axis {
    /// The last picture: its time, and that of its arrival.
    last: Option<(gst::ClockTime, gst::ClockTime)>,
}

impl Axis {
    /// The time of a picture that was captured at `captured`, if that is known, and came at `arrived`. Where captures
    /// fall back (the camera's own times become known, its clock is set), pictures go on at three quarters of their pace
    /// until those have caught up: viewers do not stumble.
    fn place(&mut self, captured: Option<gst::ClockTime>, arrived: gst::ClockTime) -> gst::ClockTime {
        let is_near = |time: &gst::ClockTime| *time + DELAY >= arrived && *time <= arrived + AHEAD;
        let wanted = captured.filter(is_near).unwrap_or(arrived);
        let time = match self.last {
            Some((time, _)) if wanted > time => wanted,
            Some((time, before)) => time + gst::ClockTime::USECOND + arrived.saturating_sub(before) * 3 / 4,
            None => wanted,
        };
        self.last = Some((time, arrived));
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> gst::ClockTime {
        gst::ClockTime::from_mseconds(n)
    }

    #[test]
    fn pictures_lie_where_they_were_captured_and_their_times_rise() {
        let mut axis = Axis::default();
        // Two from before the medium began come in one rush; then each in its time; one of which nothing is known.
        let given =
            [(Some(0), 20), (Some(0), 20), (Some(35), 60), (Some(75), 100), (None, 140), (Some(155), 180)];
        let placed = given.map(|(captured, arrived)| axis.place(captured.map(ms), ms(arrived)).mseconds());
        assert_eq!(placed, [0, 0, 35, 75, 140, 155]);
        // A camera's clock is set back by 200 ms: after 800 ms it has caught up.
        let mut last = axis.place(Some(ms(1000)), ms(1025));
        for n in 1..40 {
            let captured = ms(1000 + 40 * n - 200);
            let time = axis.place(Some(captured), ms(1025 + 40 * n));
            assert!(time > last && time - last <= ms(41), "{time} after {last}");
            assert!(n < 21 || time == captured, "{n}: {time}, not {captured}");
            last = time;
        }
    }

    #[test]
    fn a_stamp_from_before_the_base_time_holds_nothing_up() {
        gst::init().unwrap();
        let pipeline = gst::parse::launch("appsrc name=in is-live=true format=time ! appsink name=out");
        let pipeline = pipeline.unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.use_clock(Some(&clock()));
        let entry = pipeline.by_name("in").unwrap().downcast::<gst_app::AppSrc>().unwrap();
        let exit = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
        place(&entry);
        pipeline.set_state(gst::State::Playing).unwrap();
        // As `appsrc` stamps a picture that comes while its base time is still zero.
        let mut buffer = gst::Buffer::with_size(1).unwrap();
        buffer.get_mut().unwrap().set_pts(ntp(Clock::of_run().at(Instant::now())));
        entry.push_buffer(buffer).unwrap();
        let sample = exit.try_pull_sample(gst::ClockTime::from_seconds(10)).expect("the sink waits");
        assert!(sample.buffer().unwrap().pts().unwrap() < gst::ClockTime::from_seconds(10));
        pipeline.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn the_clock_of_the_run_tells_ntp_time() {
        gst::init().unwrap();
        let told = |clock: &gst::Clock| {
            let now = ntp(Clock::of_run().at(Instant::now()));
            clock.time().nseconds().abs_diff(now.nseconds())
        };
        // Two media begin at different times.
        let first = clock();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let second = clock();
        assert!(told(&first) < 5_000_000 && told(&second) < 5_000_000);
        let unix = Timestamp::from_second(0).unwrap();
        assert_eq!(ntp(unix).seconds(), 2_208_988_800);
    }
}
