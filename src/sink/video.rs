//! Annotated frames in, one H.264 stream out to all outlets.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;

use super::SinkError;
use super::config::OutputConfig;
use super::encoder::Encoder;
use super::encoding::Encoding;
use super::fan_out::{EncodedHook, FanOut};
use super::http::pictures::PictureTap;
use super::mp4::Mp4;
use super::outlet::Outlet;
use super::picture::{NOMINAL_RATE, Picture, make_even};
use super::recorder::Recorder;
use super::servers::Mount;
use super::state::StateHook;
use crate::frame::{Frame, PixelFormat};
use crate::pending::Pending;

/// A live encoder that fails more often than this in [`WINDOW`] is given up.
const MOST_RESTARTS: usize = 3;
/// See [`MOST_RESTARTS`].
const WINDOW: Duration = Duration::from_secs(60);
/// What the encoder is called in states.
const ENCODER: &str = "encoder";

/// What happens to frames that come faster than the encoder takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// They are dropped and counted.
    Live,
    /// They wait.
    Offline,
}

impl Haste {
    /// How long what the encoder holds, and then the end of a file, may take: live, together less than `flow.drain_secs`.
    fn ends_within(self) -> Duration {
        match self {
            Haste::Live => Duration::from_secs(4),
            Haste::Offline => Duration::from_secs(60),
        }
    }
}

/// Encodes frames and hands the result to viewers at the servers and to the recording that the config asks for.
pub struct VideoOut {
    config: OutputConfig,
    haste: Haste,
    rate: f64,
    encoder: Encoder,
    urls: Vec<String>,
    /// Takes single pictures.
    tap: Option<PictureTap>,
    shared: Arc<FanOut>,
    running: Option<Encoding>,
    dropped: u64,
    state: StateHook,
    /// When the encoder failed lately.
    failures: Vec<Instant>,
    change: Pending<Change>,
}

/// What is to be done otherwise from the next frame on.
struct Change {
    config: OutputConfig,
    /// Another recording, if it is another.
    record: Option<Option<Recorder>>,
}

/// Changes a live video while it is made; cloning shares it.
#[derive(Clone)]
pub struct VideoControl {
    change: Pending<Change>,
    current: Arc<Mutex<OutputConfig>>,
    state: StateHook,
}

impl VideoControl {
    /// From the next frame on the video is encoded and recorded as `config` says. Viewers stay; servers and the kind of
    /// encoder do too.
    ///
    /// # Errors
    /// [`SinkError::Record`] if a new recording could not be written; all is then as before.
    pub fn apply(&self, config: &OutputConfig) -> Result<(), SinkError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let record = match config.record == current.record {
            true => None,
            false => {
                let start = |path: &PathBuf| Recorder::start(path, Haste::Live.ends_within(), &self.state);
                Some(config.record.as_ref().map(start).transpose()?)
            }
        };
        // A recording that was to begin and has not been looked at yet is still to begin.
        let waiting = self.change.take().and_then(|change| change.record);
        self.change.put(Change { config: config.clone(), record: record.or(waiting) });
        *current = config.clone();
        Ok(())
    }
}

impl VideoOut {
    /// Finds an encoder and sees whether the file can be written. `mount` is where the video is watched, if it is; addresses
    /// in `config` have been read by [`Servers::start`](super::Servers::start). `rate` is the frames' rate if it is constant.
    /// Encoding starts with the first frame, whose size the video keeps.
    ///
    /// # Errors
    /// Files that cannot be written, and [`SinkError::NoEncoder`].
    pub fn open(
        config: &OutputConfig,
        mount: Option<Mount>,
        haste: Haste,
        rate: Option<f64>,
        hook: Option<EncodedHook>,
        state: Option<StateHook>,
    ) -> Result<VideoOut, SinkError> {
        let state = state.unwrap_or_else(|| Arc::new(|_, _| ()));
        let stage = |why: String| SinkError::Stage { stage: "encoding", why };
        gst::init().map_err(|e| stage(format!("GStreamer does not start: {e}")))?;
        let encoder = Encoder::choose(&config.encoder)?;
        let Mount { key_wanted, mut outlets, urls, tap } = mount.unwrap_or_default();
        if let Some(path) = &config.record {
            outlets.push(match haste {
                Haste::Live => Box::new(Recorder::start(path, haste.ends_within(), &state)?),
                // Nothing may be lost: a slow disk is waited for.
                Haste::Offline => Box::new(Mp4::prepare(path, haste.ends_within())?),
            });
        }
        tracing::info!(encoder = encoder.name, ?urls, record = ?config.record, "video output");
        let shared = FanOut {
            outlets: Mutex::new(outlets),
            key_wanted,
            progress: Mutex::default(),
            moved: Condvar::new(),
            hook: Mutex::new(hook),
        };
        Ok(VideoOut {
            config: config.clone(),
            haste,
            rate: rate.filter(|r| (0.01..1000.0).contains(r)).unwrap_or(NOMINAL_RATE),
            encoder,
            urls,
            tap,
            shared: Arc::new(shared),
            running: None,
            dropped: 0,
            state,
            failures: Vec::new(),
            change: Pending::default(),
        })
    }

    /// What changes it while it is made; for live video only.
    pub fn control(&self) -> VideoControl {
        let current = Arc::new(Mutex::new(self.config.clone()));
        VideoControl { change: self.change.clone(), current, state: self.state.clone() }
    }

    /// Does what was asked for by [`VideoControl::apply`].
    fn change(&mut self, Change { config, record }: Change) {
        let shape = |config: &OutputConfig| {
            (config.bitrate_kbps, config.keyframe_secs.to_bits(), config.width, config.height)
        };
        if shape(&self.config) != shape(&config)
            && let Some(running) = self.running.take()
            // What it holds is encoded first: no viewer misses a picture.
            && let Err(error) = running.finish(&self.shared, self.haste.ends_within())
        {
            tracing::warn!(%error, "the encoder did not end properly");
        }
        // The next encoder has an end of its own.
        self.shared.progress().ended = false;
        if let Some(record) = record {
            let mut outlets = self.shared.outlets.lock().unwrap_or_else(PoisonError::into_inner);
            let (ended, kept) = outlets.drain(..).partition(|outlet| outlet.is_recording());
            *outlets = kept;
            outlets.extend(record.map(|record| Box::new(record) as Box<dyn Outlet>));
            drop(outlets);
            self.shared.key_wanted.ask();
            end_aside(ended);
        }
        self.config = config;
    }

    /// Encodes a frame. Live: returns at once; a frame that finds the encoder busy is dropped.
    /// Offline: waits until there is room. Frames with odd sides are encoded with their last row
    /// or column doubled.
    ///
    /// # Errors
    /// Offline: if the encoder or an outlet failed. Live, an outlet that failed is told to the hook of states and given up;
    /// an encoder that failed is started again, and only if it fails again and again every call fails.
    pub fn push(&mut self, frame: Frame) -> Result<(), SinkError> {
        if let Some(change) = self.change.take() {
            self.change(change);
        }
        self.tap.iter_mut().for_each(|tap| tap.offer(&frame));
        if let Some(failure) = self.shared.progress().failures.pop_front() {
            if self.haste == Haste::Offline {
                return Err(failure);
            }
            tracing::error!(error = %failure, "an output is given up");
            (self.state)("output", Some(failure.to_string()));
        }
        let Err(failure) = self.encode(frame) else {
            return Ok(());
        };
        if self.haste == Haste::Offline {
            return Err(failure);
        }
        self.running = None;
        self.shared.progress().inside.clear();
        let now = Instant::now();
        self.failures.retain(|then| now.duration_since(*then) < WINDOW);
        self.failures.push(now);
        (self.state)(ENCODER, Some(failure.to_string()));
        if self.failures.len() > MOST_RESTARTS {
            return Err(failure);
        }
        tracing::error!(error = %failure, "the encoder failed; it is started again");
        self.dropped += 1;
        Ok(())
    }

    fn encode(&mut self, mut frame: Frame) -> Result<(), SinkError> {
        if frame.format == PixelFormat::I420 {
            make_even(&mut frame);
        }
        let picture =
            Picture { format: frame.format, width: frame.width, height: frame.height, colour: frame.colour };
        let running = match &mut self.running {
            Some(running) => running,
            none => {
                let started = Encoding::start(&self.config, &self.encoder, self.rate, picture, &self.shared)?;
                (self.state)(ENCODER, None);
                none.insert(started)
            }
        };
        if self.haste == Haste::Offline {
            running.wait_for_room(&self.shared)?;
        } else {
            running.check()?;
            if running.is_full() {
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
            result = running.finish(&self.shared, self.haste.ends_within());
        }
        self.tap = None;
        let outlets =
            std::mem::take(&mut *self.shared.outlets.lock().unwrap_or_else(PoisonError::into_inner));
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

    /// Where the video can be watched.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }
}

/// Ends recordings on a thread of their own: a slow disk holds up no picture.
fn end_aside(ended: Vec<Box<dyn Outlet>>) {
    let end = move || {
        for mut outlet in ended {
            if let Err(error) = outlet.finish() {
                tracing::error!(%error, "a recording is not properly ended");
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("recording-end".into()).spawn(end) {
        tracing::error!(%error, "a recording could not be ended");
    }
}

impl Drop for VideoOut {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(%error, "video output not properly ended");
        }
    }
}
