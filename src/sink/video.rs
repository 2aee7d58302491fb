//! Annotated frames in, one H.264 stream out to all outlets.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::SinkError;
use super::config::OutputConfig;
use super::encoder::Encoder;
use super::http::HttpServer;
use super::mp4::Mp4;
use super::outlet::{AccessUnit, KeyWanted, Outlet, bus_error, waiting};
use super::rtsp::RtspServer;
use crate::frame::{Colour, Frame, FrameId, I420Layout, Matrix, PixelFormat};
use crate::pool::Pooled;

/// Frames that may wait for the encoder.
const WAITING: u64 = 2;
/// How long the encoder may take for one frame, or for what it still holds at the end.
const PATIENCE: Duration = Duration::from_secs(20);
/// What encoders are told if the rate is unknown. Times are the frames' own all the same; without
/// a rate x264 declares a thousand million frames per second, and the last frame gets no duration.
const NOMINAL_RATE: f64 = 30.0;
/// Key pictures that are asked for come at most this often.
const KEY_INTERVAL: Duration = Duration::from_millis(250);

/// Called on the encoder's thread with each frame's number and [`Frame::captured`] when its
/// encoded picture leaves the encoder.
pub type EncodedHook = Box<dyn FnMut(FrameId, Instant) + Send>;

/// What happens to frames that come faster than the encoder takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// They are dropped and counted.
    Live,
    /// They wait.
    Offline,
}

/// Encodes frames and hands the result to the RTSP server, the HTTP server and the recording
/// that the config asks for.
pub struct VideoOut {
    config: OutputConfig,
    haste: Haste,
    rate: f64,
    encoder: Encoder,
    urls: Vec<String>,
    shared: Arc<Shared>,
    running: Option<Running>,
    dropped: u64,
}

/// What the encoder's thread and the pusher share.
struct Shared {
    outlets: Mutex<Vec<Box<dyn Outlet>>>,
    key_wanted: Arc<KeyWanted>,
    progress: Mutex<Progress>,
    moved: Condvar,
    hook: Mutex<Option<EncodedHook>>,
}

/// What has come out of the encoder.
#[derive(Default)]
struct Progress {
    /// Frames inside: time, number, when captured.
    inside: VecDeque<(gst::ClockTime, FrameId, Instant)>,
    ended: bool,
    /// Errors of outlets that were given up, not yet told.
    failures: VecDeque<SinkError>,
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An encoded picture of the frame with this time is out.
    fn encoded(&self, time: gst::ClockTime) {
        let mut progress = self.progress();
        while let Some(&(inside, id, captured)) = progress.inside.front()
            && inside <= time
        {
            progress.inside.pop_front();
            if inside == time
                && let Some(hook) = self
                    .hook
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .as_mut()
            {
                hook(id, captured);
            }
        }
    }

    /// Hands a picture to all outlets; those that fail are given up and reported.
    fn distribute(&self, unit: &AccessUnit) {
        let mut outlets = self.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        outlets.retain_mut(|outlet| match outlet.take(unit) {
            Ok(()) => true,
            Err(error) => {
                self.progress().failures.push_back(error);
                false
            }
        });
    }
}

/// The encoding pipeline.
struct Running {
    pipeline: gst::Pipeline,
    entry: gst_app::AppSrc,
    encoder: gst::Element,
    bus: gst::Bus,
    picture: Picture,
    last: Option<gst::ClockTime>,
    key_forced: Option<Instant>,
}

/// What the caps at the entry say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Picture {
    format: PixelFormat,
    width: usize,
    height: usize,
    colour: Colour,
}

/// A frame's pixels as GStreamer's memory: given back to their pool when the encoder is done.
struct Pixels(Pooled<Vec<u8>>);

impl AsRef<[u8]> for Pixels {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl VideoOut {
    /// Finds an encoder, binds the ports and creates the file. `rate` is the frames' rate if it
    /// is constant. Encoding starts with the first frame, whose size the video keeps.
    ///
    /// # Errors
    /// Addresses that are none, ports that are taken, files that cannot be created, and
    /// [`SinkError::NoEncoder`].
    pub fn open(
        config: &OutputConfig,
        haste: Haste,
        rate: Option<f64>,
        hook: Option<EncodedHook>,
    ) -> Result<VideoOut, SinkError> {
        let stage = |why: String| SinkError::Stage {
            stage: "encoding",
            why,
        };
        gst::init().map_err(|e| stage(format!("GStreamer does not start: {e}")))?;
        let encoder = Encoder::choose(&config.encoder)?;
        let key_wanted = Arc::<KeyWanted>::default();
        let mut outlets: Vec<Box<dyn Outlet>> = Vec::new();
        let mut urls = Vec::new();
        if let Some(address) = config.rtsp_address()? {
            let server = RtspServer::start(&address, Arc::clone(&key_wanted))?;
            urls.push(format!("rtsp://{}{}", server.socket, address.path));
            outlets.push(Box::new(server));
        }
        if let Some(address) = config.http_address()? {
            let server = HttpServer::start(&address, Arc::clone(&key_wanted), &urls)?;
            urls.push(format!("http://{}{}", server.socket, address.path));
            outlets.push(Box::new(server));
        }
        if let Some(path) = &config.record {
            outlets.push(Box::new(Mp4::create(path)?));
        }
        tracing::info!(encoder = encoder.name, ?urls, record = ?config.record, "video output");
        let shared = Shared {
            outlets: Mutex::new(outlets),
            key_wanted,
            progress: Mutex::default(),
            moved: Condvar::new(),
            hook: Mutex::new(hook),
        };
        Ok(VideoOut {
            config: config.clone(),
            haste,
            rate: rate
                .filter(|r| (0.01..1000.0).contains(r))
                .unwrap_or(NOMINAL_RATE),
            encoder,
            urls,
            shared: Arc::new(shared),
            running: None,
            dropped: 0,
        })
    }

    /// Encodes a frame. Live: returns at once; a frame that finds the encoder busy is dropped.
    /// Offline: waits until there is room. Frames with odd sides are encoded with their last row
    /// or column doubled.
    ///
    /// # Errors
    /// If the encoder failed (then every later call fails too), or, once, if an outlet failed and
    /// was given up; the others go on.
    pub fn push(&mut self, mut frame: Frame) -> Result<(), SinkError> {
        if let Some(failure) = self.shared.progress().failures.pop_front() {
            return Err(failure);
        }
        if frame.format == PixelFormat::I420 {
            make_even(&mut frame);
        }
        let picture = Picture {
            format: frame.format,
            width: frame.width,
            height: frame.height,
            colour: frame.colour,
        };
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running::start(
                &self.config,
                &self.encoder,
                self.rate,
                picture,
                &self.shared,
            )?),
        };
        if self.haste == Haste::Offline {
            running.wait_for_room(&self.shared)?;
        } else {
            running.check()?;
            if waiting(&running.entry) >= WAITING {
                self.dropped += 1;
                return Ok(());
            }
        }
        running.push(frame, picture, self.rate, &self.shared)
    }

    /// Ends the video: what the encoder holds is encoded, files are finished. Bounded in time.
    ///
    /// # Errors
    /// The first failure of the encoder or an outlet that was not told before.
    pub fn finish(&mut self) -> Result<(), SinkError> {
        let mut result = Ok(());
        if let Some(running) = self.running.take() {
            result = running.finish(&self.shared);
        }
        let outlets = std::mem::take(
            &mut *self
                .shared
                .outlets
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for mut outlet in outlets {
            result = result.and(outlet.finish());
        }
        match self.shared.progress().failures.pop_front() {
            Some(failure) => result.and(Err(failure)),
            None => result,
        }
    }

    /// Frames that were dropped because the encoder was busy.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The encoder's element name.
    pub fn encoder(&self) -> &str {
        &self.encoder.name
    }

    /// Where the video can be watched.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }
}

impl Drop for VideoOut {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(%error, "video output not properly ended");
        }
    }
}

impl Running {
    /// Builds `appsrc ! videoconvert ! videoscale ! size ! encoder ! h264parse ! appsink`; the
    /// converters pass frames of the right size and format through untouched.
    fn start(
        config: &OutputConfig,
        encoder: &Encoder,
        rate: f64,
        first: Picture,
        shared: &Arc<Shared>,
    ) -> Result<Running, SinkError> {
        let failed = |e: gst::glib::BoolError| stage(e.to_string());
        let make = |name: &str| gst::ElementFactory::make(name).build().map_err(failed);
        let entry = gst_app::AppSrc::builder()
            .format(gst::Format::Time)
            .is_live(true)
            .max_bytes(0)
            .caps(&first.caps(rate).map_err(failed)?)
            .build();
        let even = |asked: u32, own: usize| {
            if asked > 0 {
                asked.next_multiple_of(2) as i32
            } else {
                own.next_multiple_of(2) as i32
            }
        };
        let colorimetry = first.encoded_colorimetry();
        let size = gst::Caps::builder("video/x-raw")
            .field("format", gst::List::new(["I420", "NV12"]))
            .field("width", even(config.width, first.width))
            .field("height", even(config.height, first.height))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .field("colorimetry", colorimetry)
            .build();
        let fixed = gst::ElementFactory::make("capsfilter")
            .property("caps", size)
            .build()
            .map_err(failed)?;
        let encoding = encoder.elements(config, rate).map_err(failed)?;
        let element = encoding
            .last()
            .cloned()
            .ok_or_else(|| stage("no encoder".into()))?;
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
        let mut chain = vec![
            entry.clone().upcast(),
            make("videoconvert")?,
            make("videoscale")?,
            fixed,
        ];
        chain.extend(encoding);
        chain.extend([parse, sink.clone().upcast()]);
        let pipeline = gst::Pipeline::new();
        pipeline.add_many(&chain).map_err(failed)?;
        gst::Element::link_many(&chain).map_err(failed)?;
        watch_entry(&entry, shared);
        watch_encoder(&element, shared);
        watch_sink(&sink, shared);
        let bus = pipeline.bus().ok_or_else(|| stage("no bus".into()))?;
        let running = Running {
            pipeline,
            entry,
            encoder: element,
            bus,
            picture: first,
            last: None,
            key_forced: None,
        };
        if running.pipeline.set_state(gst::State::Playing).is_err() {
            running.check()?;
            return Err(stage("the pipeline does not start".into()));
        }
        Ok(running)
    }

    fn check(&self) -> Result<(), SinkError> {
        match bus_error(&self.bus) {
            Some(why) => Err(stage(why)),
            None => Ok(()),
        }
    }

    fn wait_for_room(&self, shared: &Shared) -> Result<(), SinkError> {
        let start = Instant::now();
        let mut progress = shared.progress();
        while waiting(&self.entry) >= WAITING {
            self.check()?;
            if start.elapsed() > PATIENCE {
                return Err(stage(format!(
                    "the encoder took no frame for {} s",
                    PATIENCE.as_secs()
                )));
            }
            progress = match shared
                .moved
                .wait_timeout(progress, Duration::from_millis(20))
            {
                Ok((progress, _)) => progress,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        drop(progress);
        self.check()
    }

    fn push(
        &mut self,
        frame: Frame,
        picture: Picture,
        rate: f64,
        shared: &Shared,
    ) -> Result<(), SinkError> {
        if picture != self.picture {
            let caps = picture.caps(rate).map_err(|e| stage(e.to_string()))?;
            self.entry.set_caps(Some(&caps));
            self.picture = picture;
        }
        let mut time = gst::ClockTime::from_nseconds(
            u64::try_from(frame.pts.as_nanos()).unwrap_or(u64::MAX / 2),
        );
        if let Some(last) = self.last {
            time = time.max(last + gst::ClockTime::USECOND);
        }
        self.last = Some(time);
        shared
            .progress()
            .inside
            .push_back((time, frame.id, frame.captured));
        if shared.key_wanted.take() {
            if self
                .key_forced
                .is_none_or(|at| at.elapsed() >= KEY_INTERVAL)
            {
                self.key_forced = Some(Instant::now());
                let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build();
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

    fn finish(self, shared: &Shared) -> Result<(), SinkError> {
        self.entry
            .end_of_stream()
            .map_err(|e| self.check().err().unwrap_or_else(|| stage(e.to_string())))?;
        let start = Instant::now();
        let mut progress = shared.progress();
        while !progress.ended {
            self.check()?;
            if start.elapsed() > PATIENCE {
                return Err(stage(format!(
                    "the encoder did not end within {} s",
                    PATIENCE.as_secs()
                )));
            }
            progress = match shared
                .moved
                .wait_timeout(progress, Duration::from_millis(20))
            {
                Ok((progress, _)) => progress,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Picture {
    fn caps(&self, rate: f64) -> Result<gst::Caps, gst::glib::BoolError> {
        let (width, height) = (self.width as u32, self.height as u32);
        let rate = gst::Fraction::approximate_f64(rate)
            .unwrap_or(gst::Fraction::new(NOMINAL_RATE as i32, 1));
        let format = match self.format {
            PixelFormat::I420 => gst_video::VideoFormat::I420,
            PixelFormat::Rgb => gst_video::VideoFormat::Rgb,
        };
        let mut info = gst_video::VideoInfo::builder(format, width, height).fps(rate);
        let colorimetry = match self.format {
            PixelFormat::I420 => self
                .encoded_colorimetry()
                .parse::<gst_video::VideoColorimetry>()?,
            PixelFormat::Rgb => "sRGB".parse()?,
        };
        info = info.colorimetry(&colorimetry);
        info.build()?.to_caps()
    }

    /// Range, matrix, transfer and primaries as GStreamer writes them.
    fn encoded_colorimetry(&self) -> &'static str {
        match (self.format, self.colour.matrix, self.colour.full_range) {
            (PixelFormat::Rgb, _, _) => "bt601",
            (_, Matrix::Bt601, false) => "bt601",
            (_, Matrix::Bt601, true) => "1:4:16:4",
            (_, Matrix::Bt709, false) => "bt709",
            (_, Matrix::Bt709, true) => "1:3:5:1",
        }
    }
}

fn stage(why: String) -> SinkError {
    SinkError::Stage {
        stage: "encoding",
        why,
    }
}

/// Doubles the last row or column of an I420 frame with odd sides. GStreamer's layout has room
/// for them: it is the same for the odd and the even size.
fn make_even(frame: &mut Frame) {
    let (width, height) = (frame.width, frame.height);
    let stride = I420Layout::new(width, height).y_stride;
    if width % 2 == 1 {
        for row in frame.pixels.chunks_exact_mut(stride).take(height) {
            row[width] = row[width - 1];
        }
        frame.width += 1;
    }
    if height % 2 == 1 {
        frame
            .pixels
            .copy_within((height - 1) * stride..height * stride, height * stride);
        frame.height += 1;
    }
}

/// Wakes the pusher when the encoder takes a frame.
fn watch_entry(entry: &gst_app::AppSrc, shared: &Arc<Shared>) {
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
fn watch_encoder(encoder: &gst::Element, shared: &Arc<Shared>) {
    let Some(pad) = encoder.static_pad("src") else {
        return;
    };
    let shared = Arc::clone(shared);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(pts) = info.buffer().and_then(|b| b.pts()) {
            // Encoders shift their times away from zero and say so in the segment.
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let segment = segment
                .as_ref()
                .and_then(|e| e.segment().downcast_ref::<gst::ClockTime>());
            if let Some(time) = segment.map_or(Some(pts), |s| s.to_running_time(pts)) {
                shared.encoded(time);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Hands encoded pictures to the outlets.
fn watch_sink(sink: &gst_app::AppSink, shared: &Arc<Shared>) {
    let (on_unit, on_end) = (Arc::clone(shared), Arc::clone(shared));
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let (Some(mut buffer), Some(caps)) = (sample.buffer_owned(), sample.caps_owned()) {
                let segment = sample
                    .segment()
                    .and_then(|s| s.downcast_ref::<gst::ClockTime>());
                let running = |time: Option<gst::ClockTime>| match segment {
                    Some(segment) => time.and_then(|t| segment.to_running_time(t)),
                    None => time,
                };
                let (pts, dts) = (running(buffer.pts()), running(buffer.dts()));
                let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                let own = buffer.make_mut();
                own.set_pts(pts);
                own.set_dts(dts.or(pts));
                on_unit.distribute(&AccessUnit { buffer, caps, key });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    #[test]
    fn odd_sides_are_doubled_in_place() {
        for (width, height) in [(5, 3), (639, 361), (6, 4), (7, 4), (6, 5)] {
            let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, width, height);
            let odd = I420Layout::new(width, height);
            for (row, y) in frame
                .pixels
                .chunks_exact_mut(odd.y_stride)
                .take(height)
                .zip(0_usize..)
            {
                row[..width]
                    .iter_mut()
                    .zip(0_usize..)
                    .for_each(|(p, x)| *p = (x * 7 + y * 13) as u8);
            }
            make_even(&mut frame);
            let even = I420Layout::new(frame.width, frame.height);
            assert_eq!(
                (
                    even.y_stride,
                    even.uv_stride,
                    even.u_offset,
                    even.v_offset,
                    even.len
                ),
                (
                    odd.y_stride,
                    odd.uv_stride,
                    odd.u_offset,
                    odd.v_offset,
                    odd.len
                )
            );
            for (x, y) in (0..frame.height).flat_map(|y| (0..frame.width).map(move |x| (x, y))) {
                let want = (x.min(width - 1) * 7 + y.min(height - 1) * 13) as u8;
                assert_eq!(
                    frame.pixels[y * even.y_stride + x],
                    want,
                    "{width}x{height} at {x},{y}"
                );
            }
        }
    }
}
