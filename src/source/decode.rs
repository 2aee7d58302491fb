//! One run of a decoding pipeline: whatever comes in, I420 frames come out of a bounded queue.
//! It knows nothing of reconnecting, looping or pacing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::config::{Deinterlace, SourceConfig, Transport};
use super::picture::Copier;
use crate::frame::Frame;

/// Frames between the decoder and the reader if nothing may be lost.
const QUEUE: usize = 3;

/// What a pipeline reads.
pub(super) enum Input {
    /// A URI that GStreamer finds a source for.
    Uri(String),
    /// A launch description whose last pad is taken.
    Launch(String),
}

/// What is known of a stream once its first frame has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The element that decodes, if the stream was encoded.
    pub(super) decoder: Option<String>,
    /// Width and height of the first frame in pixels.
    pub(super) size: Option<(u32, u32)>,
    /// Frames per second if they are constant.
    pub(super) rate: Option<f64>,
    /// Whether the container holds pictures, decodable or not.
    pub(super) has_video: bool,
    /// Whether the container holds sound.
    pub(super) has_sound: bool,
}

/// What the queue holds.
enum Item {
    /// A frame numbered from 0 since the start of this run; its time is the running time.
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
    facts: Mutex<Facts>,
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

    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running pipeline; dropped, it is torn down.
pub(super) struct Decode {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    gate: Arc<Gate>,
    sink: gst_app::AppSink,
}

impl Decode {
    /// Builds and starts a pipeline. With `newest_only`, frames that nobody took give way to
    /// newer ones; else nothing is lost.
    ///
    /// # Errors
    /// What GStreamer said.
    pub(super) fn start(
        input: &Input,
        config: &SourceConfig,
        newest_only: bool,
    ) -> Result<Decode, String> {
        gst::init().map_err(|e| format!("GStreamer does not start: {e}"))?;
        let (pipeline, decodebin) = head(input, config)?;
        let (entry, sink) = tail(&pipeline, config.deinterlace)?;
        let (send, receive) = bounded(if newest_only { 1 } else { QUEUE });
        let gate = Arc::new(Gate {
            send,
            receive,
            newest_only: AtomicBool::new(newest_only),
            closed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            facts: Mutex::new(Facts::default()),
        });
        connect_decoder(&pipeline, &decodebin, entry, &gate);
        connect_sink(&sink, &gate);
        let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
        let run = Decode {
            pipeline,
            bus,
            gate,
            sink,
        };
        match run.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(run),
            Err(_) => Err(run
                .error()
                .unwrap_or_else(|| "the pipeline does not start".into())),
        }
    }

    /// Waits up to `patience` for the next frame.
    pub(super) fn pull(&mut self, patience: Duration) -> Pulled {
        match self.gate.receive.recv_timeout(patience) {
            Ok(Item::Frame(frame)) => Pulled::Frame(frame),
            Ok(Item::End) => match self.error() {
                Some(why) => Pulled::Broken(why),
                None => Pulled::End,
            },
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => match self.error() {
                Some(why) => Pulled::Broken(why),
                None => Pulled::Nothing,
            },
        }
    }

    /// Whether the pipeline's source gives frames in its own time; known with the first frame.
    pub(super) fn is_live(&self) -> bool {
        // Asked above the sink: one that does not wait for the clock says that nothing is live.
        let mut query = gst::query::Latency::new();
        let answered = self
            .sink
            .static_pad("sink")
            .is_some_and(|pad| pad.peer_query(&mut query));
        answered && query.result().0
    }

    /// From now on frames that nobody took give way to newer ones.
    pub(super) fn keep_newest_only(&self) {
        self.gate.newest_only.store(true, Ordering::Release);
    }

    /// What is known of the stream so far.
    pub(super) fn facts(&self) -> Facts {
        self.gate.facts().clone()
    }

    /// Frames that gave way to newer ones.
    pub(super) fn dropped(&self) -> u64 {
        self.gate.dropped.load(Ordering::Relaxed)
    }

    /// How long the recording says that it is.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.pipeline
            .query_duration::<gst::ClockTime>()
            .map(Duration::from)
    }

    /// The first error on the bus.
    fn error(&self) -> Option<String> {
        while let Some(message) = self
            .bus
            .pop_filtered(&[gst::MessageType::Error, gst::MessageType::Warning])
        {
            match message.view() {
                gst::MessageView::Error(error) => {
                    let element = error
                        .src()
                        .map(|s| s.name().to_string())
                        .unwrap_or_default();
                    return Some(explain(&element, &error.error(), error.debug().as_deref()));
                }
                gst::MessageView::Warning(warning) => {
                    tracing::debug!(warning = %warning.error(), debug = ?warning.debug(), "GStreamer");
                }
                _ => {}
            }
        }
        None
    }
}

impl Drop for Decode {
    fn drop(&mut self) {
        self.gate.closed.store(true, Ordering::Release);
        while self.gate.receive.try_recv().is_ok() {}
        // Nothing is left to do if the pipeline refuses to stop.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// One line out of GStreamer's error, its debug text and the element's name.
fn explain(element: &str, error: &gst::glib::Error, debug: Option<&str>) -> String {
    // The debug text's second line is the reason; the first is a place in GStreamer's code.
    let reason = debug
        .and_then(|d| d.lines().nth(1))
        .map(str::trim)
        .unwrap_or_default();
    // Some quote whole codec headers in hexadecimal.
    let reason: String = reason.chars().take(200).collect();
    let error = error.to_string();
    if reason.is_empty() || reason.contains("streaming stopped, reason") || error.contains(&reason)
    {
        format!("{error} ({element})")
    } else {
        format!("{error} ({element}: {reason})")
    }
}

/// The pipeline up to the element whose pads show decoded video.
fn head(input: &Input, config: &SourceConfig) -> Result<(gst::Pipeline, gst::Element), String> {
    let video = gst::Caps::builder("video/x-raw").any_features().build();
    match input {
        Input::Uri(uri) => {
            let decodebin = gst::ElementFactory::make("uridecodebin")
                .property("uri", uri)
                .property("caps", &video)
                .property("expose-all-streams", false)
                .build()
                .map_err(missing)?;
            let (latency, tcp) = (
                config.rtsp_latency_ms,
                config.rtsp_transport == Transport::Tcp,
            );
            let timeout = Duration::from_secs_f64(config.timeout_secs.clamp(0.1, 3600.0));
            decodebin.connect("source-setup", false, move |args| {
                if let Some(Ok(source)) = args.get(1).map(|a| a.get::<gst::Element>()) {
                    set_up(&source, latency, tcp, timeout);
                }
                None
            });
            let pipeline = gst::Pipeline::new();
            pipeline.add(&decodebin).map_err(|e| e.to_string())?;
            Ok((pipeline, decodebin))
        }
        Input::Launch(description) => {
            let text =
                format!("{description} ! decodebin name=farout-decode expose-all-streams=false");
            let pipeline = gst::parse::launch(&text)
                .map_err(|e| format!("GStreamer does not understand `{description}`: {e}"))?
                .downcast::<gst::Pipeline>()
                .map_err(|e| format!("not a pipeline: {}", e.name()))?;
            let decodebin = pipeline
                .by_name("farout-decode")
                .ok_or("the description hides its decoder")?;
            decodebin.set_property("caps", &video);
            Ok((pipeline, decodebin))
        }
    }
}

/// What network sources are told, as far as the element at hand knows it.
fn set_up(source: &gst::Element, latency_ms: u32, tcp: bool, timeout: Duration) {
    let name = source
        .factory()
        .map(|f| f.name().to_string())
        .unwrap_or_default();
    if name == "rtspsrc" {
        source.set_property("latency", latency_ms);
        source.set_property_from_str("protocols", if tcp { "tcp" } else { "udp" });
        source.set_property("tcp-timeout", timeout.as_micros() as u64);
        source.set_property("timeout", timeout.as_micros() as u64);
        source.set_property("drop-on-latency", true);
        // Sound would only cost bandwidth.
        source.connect("select-stream", false, |args| {
            let caps = args.get(2).and_then(|a| a.get::<gst::Caps>().ok());
            let media = caps
                .as_ref()
                .and_then(|c| c.structure(0))
                .and_then(|s| s.get::<String>("media").ok());
            Some((media.as_deref() == Some("video")).to_value())
        });
    } else if name == "souphttpsrc" {
        source.set_property("timeout", 2 * timeout.as_secs() as u32 + 1);
        source.set_property("retries", 0i32);
    }
}

/// `videoconvert ! I420 ! deinterlace ! appsink`; each passes buffers through untouched where
/// there is nothing to do.
fn tail(
    pipeline: &gst::Pipeline,
    deinterlace: Deinterlace,
) -> Result<(gst::Element, gst_app::AppSink), String> {
    let convert = gst::ElementFactory::make("videoconvert")
        .build()
        .map_err(missing)?;
    let format = gst::ElementFactory::make("capsfilter")
        .property(
            "caps",
            gst::Caps::builder("video/x-raw")
                .field("format", "I420")
                .build(),
        )
        .build()
        .map_err(missing)?;
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .qos(false)
        .enable_last_sample(false)
        .max_buffers(1)
        .build();
    let mut chain = vec![convert.clone(), format];
    if deinterlace == Deinterlace::Auto {
        let element = gst::ElementFactory::make("deinterlace")
            .build()
            .map_err(missing)?;
        // One frame out per frame in: fields as frames would double the work downstream.
        element.set_property_from_str("fields", "top");
        chain.push(element);
    }
    chain.push(sink.clone().upcast());
    pipeline.add_many(&chain).map_err(|e| e.to_string())?;
    gst::Element::link_many(&chain).map_err(|e| e.to_string())?;
    Ok((convert, sink))
}

fn missing(error: gst::glib::BoolError) -> String {
    format!("{error}; install GStreamer's base, good and bad plugins")
}

/// Links the first video pad that appears to the tail and remembers which decoder made it.
fn connect_decoder(
    pipeline: &gst::Pipeline,
    decodebin: &gst::Element,
    entry: gst::Element,
    gate: &Arc<Gate>,
) {
    let shared = Arc::clone(gate);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory() else {
            return;
        };
        let class = factory.metadata("klass").unwrap_or_default();
        if class.contains("Decoder") && (class.contains("Video") || class.contains("Image")) {
            shared.facts().decoder = Some(factory.name().to_string());
            // Half a picture, or grey until the first key picture, would be reported as anomalous.
            for (property, value) in [
                ("discard-corrupted-frames", true),
                ("output-corrupt", false),
            ] {
                if element
                    .find_property(property)
                    .is_some_and(|spec| spec.value_type() == bool::static_type())
                {
                    element.set_property(property, value);
                }
            }
        }
    });
    let shared = Arc::clone(gate);
    decodebin.connect("autoplug-continue", false, move |args| {
        let caps = args.get(2).and_then(|a| a.get::<gst::Caps>().ok());
        if let Some(kind) = caps.as_ref().and_then(|c| c.structure(0)).map(|s| s.name()) {
            let mut facts = shared.facts();
            facts.has_sound |= kind.starts_with("audio/");
            facts.has_video |= kind.starts_with("video/x-") || kind.starts_with("image/");
        }
        Some(true.to_value())
    });
    let pipeline = pipeline.downgrade();
    decodebin.connect_pad_added(move |_, pad| {
        let Some(pipeline) = pipeline.upgrade() else {
            return;
        };
        if let Err(why) = link(&pipeline, pad, &entry) {
            gst::element_error!(entry, gst::CoreError::Negotiation, ("{}", why));
        }
    });
}

/// Links a decoder's pad; memory that only NVIDIA's converter can read goes through it.
fn link(pipeline: &gst::Pipeline, pad: &gst::Pad, entry: &gst::Element) -> Result<(), String> {
    let Some(target) = entry.static_pad("sink").filter(|p| !p.is_linked()) else {
        return Ok(());
    };
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    if !caps.structure(0).is_some_and(|s| s.name() == "video/x-raw") {
        return Ok(());
    }
    let in_nvmm = caps.features(0).is_some_and(|f| f.contains("memory:NVMM"));
    if !in_nvmm {
        return pad
            .link(&target)
            .map(drop)
            .map_err(|e| format!("the decoder's {caps} cannot be used: {e}"));
    }
    let converter = ["nvvidconv", "nvvideoconvert"]
        .iter()
        .find_map(|name| gst::ElementFactory::make(name).build().ok())
        .ok_or("frames lie in NVMM memory and neither nvvidconv nor nvvideoconvert is installed")?;
    pipeline.add(&converter).map_err(|e| e.to_string())?;
    converter.link(entry).map_err(|e| e.to_string())?;
    converter
        .sync_state_with_parent()
        .map_err(|e| e.to_string())?;
    let target = converter
        .static_pad("sink")
        .ok_or("the converter has no sink")?;
    pad.link(&target)
        .map(drop)
        .map_err(|e| format!("the decoder's {caps} cannot be used: {e}"))
}

/// Frames go from the sink's streaming thread into the gate, stamped as they arrive.
fn connect_sink(sink: &gst_app::AppSink, gate: &Arc<Gate>) {
    // Without this answer decoders copy every frame to remove their padding.
    if let Some(pad) = sink.static_pad("sink") {
        pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
            if let Some(gst::QueryViewMut::Allocation(query)) =
                info.query_mut().map(|q| q.view_mut())
            {
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
    }
    let mut copier = Copier::default();
    let mut count = 0;
    let on_frame = Arc::clone(gate);
    let on_end = Arc::clone(gate);
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let captured = Instant::now();
            let (Some(info), Some(buffer)) = (copier.info(&sample), sample.buffer()) else {
                return Ok(gst::FlowSuccess::Ok);
            };
            if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
                return Ok(gst::FlowSuccess::Ok);
            }
            let Some(mut frame) = copier.frame(buffer, &info) else {
                gst::element_error!(
                    sink,
                    gst::StreamError::Format,
                    ("a frame of {:?} cannot be read", info.format())
                );
                return Err(gst::FlowError::Error);
            };
            frame.id = count;
            frame.captured = captured;
            frame.pts = running_time(&sample, buffer).unwrap_or_default();
            if count == 0 {
                let fps = info.fps();
                let mut facts = on_frame.facts();
                facts.size = Some((info.width(), info.height()));
                facts.rate =
                    (fps.numer() > 0).then(|| f64::from(fps.numer()) / f64::from(fps.denom()));
            }
            count += 1;
            on_frame.put(Item::Frame(frame))
        })
        .eos(move |_| {
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
