//! One run of a decoding pipeline: whatever comes in, I420 frames come out of a bounded queue.
//! It knows nothing of reconnecting, looping or pacing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use jiff::SignedDuration;

use super::address::masked;
use super::capture::{self, Capture, SharedSender, is_live};
use super::config::SourceConfig;
use super::damage::{Care, Watch};
use super::facts::{Facts, SharedFacts, lock};
use super::jpeg_decoder;
use super::picture::Copier;
use super::pipeline::{Input, connect_decoder, head, tail};
use crate::frame::Frame;

/// Frames between the decoder and the reader if nothing may be lost.
const QUEUE: usize = 3;

/// What the queue holds.
enum Item {
    /// A frame numbered from 0 since the start of this run, damaged ones counted; its time is the running time.
    Frame(Frame),
    End,
}

/// What a reader gets.
pub(super) enum Pulled {
    /// The next frame.
    Frame(Frame),
    /// Nothing came in the time that was given.
    Nothing,
    /// The stream ended by itself.
    End,
    /// Damage was met while decoding on several threads; which pictures it reaches only another run can tell.
    Suspect,
    /// The pipeline broke; what it said.
    Broken(String),
}

/// Between the streaming thread and the reader.
struct Gate {
    send: Sender<Item>,
    receive: Receiver<Item>,
    /// Old frames give way to new ones.
    newest_only: AtomicBool,
    closed: AtomicBool,
    dropped: AtomicU64,
    /// Pictures that have passed, damaged ones included; known at the end.
    passed: AtomicU64,
    facts: SharedFacts,
}

impl Gate {
    fn put(&self, mut item: Item) -> Result<gst::FlowSuccess, gst::FlowError> {
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(gst::FlowError::Flushing);
            }
            let newest_only = self.newest_only.load(Ordering::Acquire);
            let patience = Duration::from_millis(if newest_only { 0 } else { 50 });
            item = match self.send.send_timeout(item, patience) {
                Ok(()) => return Ok(gst::FlowSuccess::Ok),
                Err(SendTimeoutError::Timeout(back)) => back,
                Err(SendTimeoutError::Disconnected(_)) => return Err(gst::FlowError::Flushing),
            };
            if newest_only && self.receive.try_recv().is_ok() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A running pipeline; dropped, it is torn down.
pub(super) struct Decode {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    gate: Arc<Gate>,
    sink: gst_app::AppSink,
    sender: SharedSender,
}

impl Decode {
    /// Builds and starts a pipeline. With `newest_only`, frames that nobody took give way to
    /// newer ones; else nothing is lost.
    ///
    /// # Errors
    /// What GStreamer said.
    pub(super) fn start(input: &Input, config: &SourceConfig, newest_only: bool) -> Result<Decode, String> {
        Self::with_care(input, config, newest_only, Care::Exact)
    }

    /// The same for a recording that can be read again: decoded on several threads, up to the first damage.
    ///
    /// # Errors
    /// What GStreamer said.
    pub(super) fn start_fast(input: &Input, config: &SourceConfig) -> Result<Decode, String> {
        Self::with_care(input, config, false, Care::Fast)
    }

    fn with_care(
        input: &Input,
        config: &SourceConfig,
        newest_only: bool,
        care: Care,
    ) -> Result<Decode, String> {
        gst::init().map_err(|e| format!("GStreamer does not start: {e}"))?;
        jpeg_decoder::register();
        let (pipeline, decodebin) = head(input, config)?;
        let tail = tail(&pipeline, config.deinterlace)?;
        let (send, receive) = bounded(if newest_only { 1 } else { QUEUE });
        let gate = Arc::new(Gate {
            send,
            receive,
            newest_only: AtomicBool::new(newest_only),
            closed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            facts: SharedFacts::default(),
        });
        let sender = SharedSender::default();
        connect_decoder(&pipeline, &decodebin, &tail, input, (care, newest_only), (&gate.facts, &sender));
        connect_sink(&tail.sink, &gate, Capture::new(Arc::clone(&sender)));
        let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
        let run = Decode { pipeline, bus, gate, sink: tail.sink, sender };
        match run.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(run),
            Err(_) => Err(run.error().unwrap_or_else(|| "the pipeline does not start".into())),
        }
    }

    /// Waits up to `patience` for the next frame.
    pub(super) fn pull(&mut self, patience: Duration) -> Pulled {
        match self.gate.receive.recv_timeout(patience) {
            Ok(Item::Frame(frame)) => Pulled::Frame(frame),
            Ok(Item::End) => match self.error() {
                _ if self.is_suspect() => Pulled::Suspect,
                Some(why) => Pulled::Broken(why),
                None => Pulled::End,
            },
            Err(_) if self.is_suspect() => Pulled::Suspect,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => match self.error() {
                Some(why) => Pulled::Broken(why),
                None => Pulled::Nothing,
            },
        }
    }

    /// Whether the pipeline's source gives frames in its own time; known with the first frame.
    pub(super) fn is_live(&self) -> bool {
        is_live(&self.sink)
    }

    /// From now on frames that nobody took give way to newer ones.
    pub(super) fn keep_newest_only(&self) {
        self.gate.newest_only.store(true, Ordering::Release);
    }

    /// What is known of the stream so far.
    pub(super) fn facts(&self) -> Facts {
        lock(&self.gate.facts).clone()
    }

    /// How long after its capture a picture comes, if the camera has told.
    pub(super) fn delay(&self) -> Option<SignedDuration> {
        capture::lock(&self.sender).delay
    }

    /// Pictures come so long after their capture, until the camera tells.
    pub(super) fn expect_delay(&self, delay: Option<SignedDuration>) {
        capture::lock(&self.sender).delay = delay;
    }

    /// Frames that gave way to newer ones.
    pub(super) fn dropped(&self) -> u64 {
        self.gate.dropped.load(Ordering::Relaxed)
    }

    /// Pictures that were left out because they were damaged or referred to damaged ones, or will be.
    pub(super) fn left_out(&self) -> u64 {
        lock(&self.gate.facts).watch.as_deref().map_or(0, Watch::lost)
    }

    /// Whether anything in the stream was damaged.
    pub(super) fn is_damaged(&self) -> bool {
        lock(&self.gate.facts).watch.as_deref().is_some_and(Watch::is_damaged)
    }

    /// Whether the decoder itself sees to it that each picture is whole.
    pub(super) fn checks_pictures(&self) -> bool {
        lock(&self.gate.facts).watch.as_deref().is_some_and(Watch::is_told)
    }

    /// How many pictures there were in all, damaged ones included; 0 before the end.
    pub(super) fn passed(&self) -> u64 {
        self.gate.passed.load(Ordering::Acquire)
    }

    fn is_suspect(&self) -> bool {
        lock(&self.gate.facts).watch.as_deref().is_some_and(Watch::is_suspect)
    }

    /// How long the recording says that it is.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.pipeline.query_duration::<gst::ClockTime>().map(Duration::from)
    }

    /// The first error on the bus.
    fn error(&self) -> Option<String> {
        while let Some(message) = self.bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Warning])
        {
            match message.view() {
                gst::MessageView::Error(error) => {
                    let element = error.src().map(|s| s.name().to_string()).unwrap_or_default();
                    return Some(explain(&element, &error.error(), error.debug().as_deref()));
                }
                gst::MessageView::Warning(warning) => {
                    let [text, place] = [warning.error().to_string(), format!("{:?}", warning.debug())];
                    tracing::debug!(warning = masked(&text), debug = masked(&place), "GStreamer");
                }
                _ => {}
            }
        }
        None
    }
}

impl Decode {
    /// Tears the pipeline down; nothing comes any more.
    pub(super) fn stop(&self) {
        self.gate.closed.store(true, Ordering::Release);
        while self.gate.receive.try_recv().is_ok() {}
        // Nothing is left to do if the pipeline refuses to stop.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl Drop for Decode {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One line out of GStreamer's error, its debug text and the element's name.
fn explain(element: &str, error: &gst::glib::Error, debug: Option<&str>) -> String {
    // The debug text's second line is the reason; the first is a place in GStreamer's code.
    let reason = debug.and_then(|d| d.lines().nth(1)).map(str::trim).unwrap_or_default();
    // Some quote whole codec headers in hexadecimal.
    let reason: String = reason.chars().take(200).collect();
    let error = error.to_string();
    if reason.is_empty() || reason.contains("streaming stopped, reason") || error.contains(&reason) {
        format!("{error} ({element})")
    } else {
        format!("{error} ({element}: {reason})")
    }
}

/// Frames go from the sink's streaming thread into the gate, stamped as they arrive.
fn connect_sink(sink: &gst_app::AppSink, gate: &Arc<Gate>, mut capture: Capture) {
    // Without this answer decoders copy every frame to remove their padding.
    if let Some(pad) = sink.static_pad("sink") {
        pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
            if let Some(gst::QueryViewMut::Allocation(query)) = info.query_mut().map(|q| q.view_mut()) {
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
    }
    let mut copier = Copier::default();
    let given = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&given);
    let on_frame = Arc::clone(gate);
    let on_end = Arc::clone(gate);
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().ok().ok_or(gst::FlowError::Eos)?;
            let captured = Instant::now();
            let (Some(info), Some(buffer)) = (copier.info(&sample), sample.buffer()) else {
                return Ok(gst::FlowSuccess::Ok);
            };
            if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
                return Ok(gst::FlowSuccess::Ok);
            }
            let (turn, left_out) = {
                let facts = lock(&on_frame.facts);
                (facts.turn, facts.watch.as_deref().map_or(0, Watch::left_out))
            };
            let Some(mut frame) = copier.frame(buffer, &info, turn) else {
                gst::element_error!(
                    sink,
                    gst::StreamError::Format,
                    ("a frame of {:?} cannot be read", info.format())
                );
                return Err(gst::FlowError::Error);
            };
            let given = given.fetch_add(1, Ordering::Relaxed);
            frame.id = given + left_out;
            let running = running_time(&sample, buffer);
            frame.captured = captured;
            frame.utc = Some(capture.utc(sink, buffer, running, captured));
            frame.pts = running.unwrap_or_default();
            if given == 0 {
                let fps = info.fps();
                let mut facts = lock(&on_frame.facts);
                facts.size = Some((frame.width as u32, frame.height as u32));
                facts.rate = (fps.numer() > 0).then(|| f64::from(fps.numer()) / f64::from(fps.denom()));
            }
            on_frame.put(Item::Frame(frame))
        })
        .eos(move |_| {
            let watch = lock(&on_end.facts).watch.clone();
            let left_out = watch.map_or(0, |watch| watch.end());
            on_end.passed.store(count.load(Ordering::Relaxed) + left_out, Ordering::Release);
            // A reader that is gone needs no end.
            let _ = on_end.put(Item::End);
        })
        .build();
    sink.set_callbacks(callbacks);
}

/// The buffer's time on the pipeline's axis, edit lists and segments taken into account.
fn running_time(sample: &gst::SampleRef, buffer: &gst::BufferRef) -> Option<Duration> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(buffer.pts()?).map(Duration::from)
}
