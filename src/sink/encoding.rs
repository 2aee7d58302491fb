//! The encoding pipeline: frames in at one end, access units to the outlets at the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::SinkError;
use super::capture_times::CaptureTimes;
use super::config::OutputConfig;
use super::encoder::Encoder;
use super::fan_out::FanOut;
use super::h264;
use super::outlet::{AccessUnit, bus_error, waiting};
use super::picture::{Picture, Pixels};
use crate::frame::{Frame, PixelFormat};

/// Frames that may wait for the encoder.
const WAITING: u64 = 2;
/// How long the encoder may take for one frame.
const PATIENCE: Duration = Duration::from_secs(20);
/// Key pictures that are asked for come at most this often.
const KEY_INTERVAL: Duration = Duration::from_millis(250);

/// The encoding pipeline.
pub(super) struct Encoding {
    pipeline: gst::Pipeline,
    entry: gst_app::AppSrc,
    encoder: gst::Element,
    bus: gst::Bus,
    picture: Picture,
    last: Option<gst::ClockTime>,
    key_forced: Option<Instant>,
    times: CaptureTimes,
}

impl Encoding {
    /// Builds `appsrc ! videoconvert ! videoscale ! size ! encoder ! h264parse ! appsink`; the
    /// converters pass frames of the right size and format through untouched.
    pub(super) fn start(
        config: &OutputConfig,
        encoder: &Encoder,
        rate: f64,
        first: Picture,
        shared: &Arc<FanOut>,
    ) -> Result<Encoding, SinkError> {
        let failed = |e: gst::glib::BoolError| stage(e.to_string());
        let make = |name: &str| gst::ElementFactory::make(name).build().map_err(failed);
        let entry = gst_app::AppSrc::builder()
            .format(gst::Format::Time)
            .is_live(true)
            .max_bytes(0)
            .caps(&first.caps(rate).map_err(failed)?)
            .build();
        let even = |asked: u32, own: usize| {
            if asked > 0 { asked.next_multiple_of(2) as i32 } else { own.next_multiple_of(2) as i32 }
        };
        let colorimetry = first.encoded_colorimetry();
        let size = gst::Caps::builder("video/x-raw")
            .field("format", gst::List::new(["I420", "NV12"]))
            .field("width", even(config.width, first.width))
            .field("height", even(config.height, first.height))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("colorimetry", colorimetry)
            .build();
        let fixed = gst::ElementFactory::make("capsfilter").property("caps", size).build().map_err(failed)?;
        let encoding = encoder.elements(config, rate).map_err(failed)?;
        let element = encoding.last().cloned().ok_or_else(|| stage("no encoder".into()))?;
        let parse = make("h264parse")?;
        parse.set_property("config-interval", -1_i32);
        let stream = gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build();
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .async_(false)
            .enable_last_sample(false)
            .caps(&stream)
            .build();
        let mut chain = vec![entry.clone().upcast(), make("videoconvert")?, make("videoscale")?, fixed];
        chain.extend(encoding);
        chain.extend([parse, sink.clone().upcast()]);
        let pipeline = gst::Pipeline::new();
        pipeline.add_many(&chain).map_err(failed)?;
        gst::Element::link_many(&chain).map_err(failed)?;
        watch_entry(&entry, shared);
        watch_encoder(&element, shared);
        let times = CaptureTimes::default();
        watch_sink(&sink, shared, times.clone());
        let bus = pipeline.bus().ok_or_else(|| stage("no bus".into()))?;
        let running = Encoding {
            pipeline,
            entry,
            encoder: element,
            bus,
            picture: first,
            last: None,
            key_forced: None,
            times,
        };
        if running.pipeline.set_state(gst::State::Playing).is_err() {
            running.check()?;
            return Err(stage("the pipeline does not start".into()));
        }
        Ok(running)
    }

    /// The first error that the pipeline reported.
    pub(super) fn check(&self) -> Result<(), SinkError> {
        match bus_error(&self.bus) {
            Some(why) => Err(stage(why)),
            None => Ok(()),
        }
    }

    /// Whether as many frames wait as may.
    pub(super) fn is_full(&self) -> bool {
        waiting(&self.entry) >= WAITING
    }

    /// Waits until another frame may be pushed.
    pub(super) fn wait_for_room(&self, shared: &FanOut) -> Result<(), SinkError> {
        let start = Instant::now();
        let mut progress = shared.progress();
        while self.is_full() {
            self.check()?;
            if start.elapsed() > PATIENCE {
                return Err(stage(format!("the encoder took no frame for {} s", PATIENCE.as_secs())));
            }
            progress = match shared.moved.wait_timeout(progress, Duration::from_millis(20)) {
                Ok((progress, _)) => progress,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        drop(progress);
        self.check()
    }

    /// Hands a frame to the encoder, with a key picture forced if one is wanted.
    pub(super) fn push(
        &mut self,
        frame: Frame,
        picture: Picture,
        rate: f64,
        shared: &FanOut,
    ) -> Result<(), SinkError> {
        if picture != self.picture {
            let caps = picture.caps(rate).map_err(|e| stage(e.to_string()))?;
            self.entry.set_caps(Some(&caps));
            self.picture = picture;
        }
        let mut time =
            gst::ClockTime::from_nseconds(u64::try_from(frame.pts.as_nanos()).unwrap_or(u64::MAX / 2));
        if let Some(last) = self.last {
            time = time.max(last + gst::ClockTime::USECOND);
        }
        self.last = Some(time);
        self.times.note(time, frame.utc);
        shared.progress().inside.push_back((time, frame.id, frame.captured));
        if shared.key_wanted.take() {
            if self.key_forced.is_none_or(|at| at.elapsed() >= KEY_INTERVAL) {
                self.key_forced = Some(Instant::now());
                let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
                if let Some(pad) = self.encoder.static_pad("src") {
                    pad.send_event(event);
                }
            } else {
                shared.key_wanted.ask();
            }
        }
        let (format, width, height) = (frame.format, frame.width, frame.height);
        let mut buffer = gst::Buffer::from_slice(Pixels(frame.pixels));
        let own = buffer.make_mut();
        own.set_pts(time);
        own.set_duration(gst::ClockTime::from_seconds_f64(1.0 / rate));
        if format == PixelFormat::Rgb {
            // Our rows are not padded to multiples of four bytes as GStreamer's are.
            gst_video::VideoMeta::add_full(
                own,
                gst_video::VideoFrameFlags::empty(),
                gst_video::VideoFormat::Rgb,
                width as u32,
                height as u32,
                &[0],
                &[width as i32 * 3],
            )
            .map_err(|e| stage(e.to_string()))?;
        }
        self.entry
            .push_buffer(buffer)
            .map(drop)
            .map_err(|e| self.check().err().unwrap_or_else(|| stage(e.to_string())))
    }

    /// Waits until everything that was pushed is encoded and handed out, but no longer than `most`.
    pub(super) fn finish(self, shared: &FanOut, most: Duration) -> Result<(), SinkError> {
        self.entry.end_of_stream().map_err(|e| self.check().err().unwrap_or_else(|| stage(e.to_string())))?;
        let start = Instant::now();
        let mut progress = shared.progress();
        while !progress.ended {
            self.check()?;
            if start.elapsed() > most {
                return Err(stage(format!("the encoder did not end within {} s", most.as_secs())));
            }
            progress = match shared.moved.wait_timeout(progress, Duration::from_millis(20)) {
                Ok((progress, _)) => progress,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(())
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn stage(why: String) -> SinkError {
    SinkError::Stage { stage: "encoding", why }
}

/// Wakes the pusher when the encoder takes a frame.
fn watch_entry(entry: &gst_app::AppSrc, shared: &Arc<FanOut>) {
    let Some(pad) = entry.static_pad("src") else {
        return;
    };
    let shared = Arc::clone(shared);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        shared.moved.notify_all();
        gst::PadProbeReturn::Ok
    });
}

/// Notes what leaves the encoder.
fn watch_encoder(encoder: &gst::Element, shared: &Arc<FanOut>) {
    let Some(pad) = encoder.static_pad("src") else {
        return;
    };
    let shared = Arc::clone(shared);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some((pts, bytes)) = info.buffer().and_then(|b| Some((b.pts()?, b.size()))) {
            // Encoders shift their times away from zero and say so in the segment.
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let segment = segment.as_ref().and_then(|e| e.segment().downcast_ref::<gst::ClockTime>());
            if let Some(time) = segment.map_or(Some(pts), |s| s.to_running_time(pts)) {
                shared.encoded(time, bytes);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Hands encoded pictures to the outlets.
fn watch_sink(sink: &gst_app::AppSink, shared: &Arc<FanOut>, times: CaptureTimes) {
    let (on_unit, on_end) = (Arc::clone(shared), Arc::clone(shared));
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().ok().ok_or(gst::FlowError::Eos)?;
            if let (Some(mut buffer), Some(caps)) = (sample.buffer_owned(), sample.caps_owned()) {
                let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
                let running = |time: Option<gst::ClockTime>| match segment {
                    Some(segment) => time.and_then(|t| segment.to_running_time(t)),
                    None => time,
                };
                let (pts, dts) = (running(buffer.pts()), running(buffer.dts()));
                // The parser's flag also marks pictures with which decoding cannot start.
                let key = buffer.map_readable().is_ok_and(|bytes| h264::starts_decoding(&bytes));
                let own = buffer.make_mut();
                if !key {
                    own.set_flags(gst::BufferFlags::DELTA_UNIT);
                }
                own.set_pts(pts);
                own.set_dts(dts.or(pts));
                on_unit.distribute(&AccessUnit { buffer: times.write(buffer), caps, key });
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .eos(move |_| {
            on_end.progress().ended = true;
            on_end.moved.notify_all();
        })
        .build();
    sink.set_callbacks(callbacks);
}
