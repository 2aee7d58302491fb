//! Building a decoding pipeline: the source's end, the sink's end, and what joins them once the
//! stream shows what it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::capture::{self, SharedSender};
use super::config::{Deinterlace, SourceConfig, Transport};
use super::container::{Track, tracks};
use super::damage::Care;
use super::facts::{SharedFacts, lock};
use super::streams::{SharedStreams, choose};
use super::{entry, http, jetson, sdp};

/// What a pipeline reads.
pub(super) enum Input {
    /// A URI that GStreamer finds a source for.
    Uri(String),
    /// A launch description whose last pad is taken.
    Launch(String),
}

impl Input {
    /// Streams of a connection appear one by one, and the last may never come.
    fn is_rtsp(&self) -> bool {
        matches!(self, Input::Uri(uri) if uri.to_ascii_lowercase().starts_with("rtsp"))
    }

    /// The video tracks of a local file, as far as its head can be read.
    fn tracks(&self) -> Vec<Track> {
        match self {
            Input::Uri(uri) => {
                gst::glib::filename_from_uri(uri).map_or_else(|_| Vec::new(), |(path, _)| tracks(&path))
            }
            Input::Launch(_) => Vec::new(),
        }
    }
}

/// The pipeline up to the element whose pads show decoded video.
pub(super) fn head(input: &Input, config: &SourceConfig) -> Result<(gst::Pipeline, gst::Element), String> {
    let video = gst::Caps::builder("video/x-raw").any_features().build();
    // They refuse streams that announce an alpha channel and have none; it would be thrown away here in any case.
    for name in ["vp8alphadecodebin", "vp9alphadecodebin"] {
        if let Some(decoder) = gst::Registry::get().lookup_feature(name) {
            decoder.set_rank(gst::Rank::NONE);
        }
    }
    match input {
        Input::Uri(uri) => {
            let decodebin = gst::ElementFactory::make("uridecodebin")
                .property("uri", uri)
                .property("caps", &video)
                .property("expose-all-streams", false)
                .build()
                .map_err(missing)?;
            let (latency, tcp) = (config.rtsp_latency_ms, config.rtsp_transport == Transport::Tcp);
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
            let text = format!("{description} ! decodebin name=farout-decode expose-all-streams=false");
            let pipeline = gst::parse::launch(&text)
                .map_err(|e| format!("GStreamer does not understand `{description}`: {e}"))?
                .downcast::<gst::Pipeline>()
                .map_err(|e| format!("not a pipeline: {}", e.name()))?;
            let decodebin = pipeline.by_name("farout-decode").ok_or("the description hides its decoder")?;
            decodebin.set_property("caps", &video);
            Ok((pipeline, decodebin))
        }
    }
}

/// What network sources are told, as far as the element at hand knows it.
fn set_up(source: &gst::Element, latency_ms: u32, tcp: bool, timeout: Duration) {
    let name = source.factory().map(|f| f.name().to_string()).unwrap_or_default();
    if name == "rtspsrc" {
        source.set_property("latency", latency_ms);
        source.set_property_from_str("protocols", if tcp { "tcp" } else { "udp" });
        source.set_property("tcp-timeout", timeout.as_micros() as u64);
        source.set_property("timeout", timeout.as_micros() as u64);
        source.set_property("drop-on-latency", true);
        sdp::mend(source);
        // Sound would only cost bandwidth.
        source.connect("select-stream", false, |args| {
            let caps = args.get(2).and_then(|a| a.get::<gst::Caps>().ok());
            let media =
                caps.as_ref().and_then(|c| c.structure(0)).and_then(|s| s.get::<String>("media").ok());
            Some((media.as_deref() == Some("video")).to_value())
        });
    } else if name == "souphttpsrc" {
        source.set_property("timeout", 2 * timeout.as_secs() as u32 + 1);
        source.set_property("retries", 0i32);
    }
}

/// The end of a pipeline.
pub(super) struct Tail {
    /// Its first element.
    pub(super) entry: gst::Element,
    /// The filter that says to which size pictures are scaled; open where pixels are square.
    pub(super) square: gst::Element,
    pub(super) sink: gst_app::AppSink,
}

/// `videoconvert ! I420 ! deinterlace ! videoscale ! square ! appsink`; each passes buffers through untouched where
/// there is nothing to do.
pub(super) fn tail(pipeline: &gst::Pipeline, deinterlace: Deinterlace) -> Result<Tail, String> {
    let make = |name: &str| gst::ElementFactory::make(name).build().map_err(missing);
    let entry = make("videoconvert")?;
    let format = make("capsfilter")?;
    format.set_property("caps", gst::Caps::builder("video/x-raw").field("format", "I420").build());
    let mut chain = vec![entry.clone(), format];
    if deinterlace == Deinterlace::Auto {
        let element = make("deinterlace")?;
        // One frame out per frame in: fields as frames would double the work downstream.
        element.set_property_from_str("fields", "top");
        chain.push(element);
    }
    // Behind the deinterlacer: rows of two fields must not be mixed.
    let scale = make("videoscale")?;
    scale.set_property("add-borders", false);
    let square = make("capsfilter")?;
    let sink =
        gst_app::AppSink::builder().sync(false).qos(false).enable_last_sample(false).max_buffers(1).build();
    chain.extend([scale, square.clone(), sink.clone().upcast()]);
    pipeline.add_many(&chain).map_err(|e| e.to_string())?;
    gst::Element::link_many(&chain).map_err(|e| e.to_string())?;
    Ok(Tail { entry, square, sink })
}

fn missing(error: gst::glib::BoolError) -> String {
    format!("{error}; install GStreamer's base, good and bad plugins")
}

/// Links the video pad to take to the tail, and has everything before it watched.
pub(super) fn connect_decoder(
    pipeline: &gst::Pipeline,
    decodebin: &gst::Element,
    tail: &Tail,
    input: &Input,
    (care, live): (Care, bool),
    (facts, sender): (&SharedFacts, &SharedSender),
) {
    let streams = SharedStreams::default();
    let tracks = input.tracks();
    entry::watch(&tail.entry, tail.square.clone(), tracks.clone(), streams.clone(), Arc::clone(facts));
    let (shared, tracks, sender) = (Arc::clone(facts), Arc::new(tracks), Arc::clone(sender));
    pipeline.connect_deep_element_added(move |pipeline, _, element| {
        let Some(factory) = element.factory() else {
            return;
        };
        if factory.name() == "multipartdemux" {
            http::pictures_follow(pipeline, element);
        }
        if factory.name() == "souphttpsrc" {
            http::watch(element);
        }
        if factory.name() == "rtpjitterbuffer" {
            capture::watch(element, &sender);
        }
        let class = factory.metadata("klass").unwrap_or_default();
        if class.contains("Demux") {
            streams.watch_demuxer(element, Arc::clone(&tracks));
        }
        if class.contains("Decoder") && (class.contains("Video") || class.contains("Image")) {
            lock(&shared).decoder = Some(factory.name().to_string());
            // Half a picture, or grey until the first key picture, would be reported as anomalous.
            for (property, value) in [("discard-corrupted-frames", true), ("output-corrupt", false)] {
                if element
                    .find_property(property)
                    .is_some_and(|spec| spec.value_type() == bool::static_type())
                {
                    element.set_property(property, value);
                }
            }
            jetson::settle_decoder(element, live);
            let watch = streams.watch_decoder(element, care, live);
            // Until a picture shows which stream is read: perhaps none is whole.
            let mut facts = lock(&shared);
            facts.watch = facts.watch.take().or(watch);
        }
    });
    let shared = Arc::clone(facts);
    decodebin.connect("autoplug-continue", false, move |args| {
        let caps = args.get(2).and_then(|a| a.get::<gst::Caps>().ok());
        if let Some(kind) = caps.as_ref().and_then(|c| c.structure(0)).map(|s| s.name()) {
            let mut facts = lock(&shared);
            facts.has_sound |= kind.starts_with("audio/");
            // Names that the readers of AVI, MP4 and Matroska make up.
            facts.nameless |= ["video/x-avi-unknown", "video/x-unknown"].contains(&kind.as_str())
                || kind.starts_with("video/x-gst-fourcc-");
            facts.has_video |= kind.starts_with("video/x-") || kind.starts_with("image/");
        }
        Some(true.to_value())
    });
    let at_once = input.is_rtsp();
    let (pads, entry) = (Arc::new(Mutex::new(Vec::<gst::Pad>::new())), tail.entry.clone());
    let weak = pipeline.downgrade();
    let join = move |pad: &gst::Pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        if let Err(why) = link(&pipeline, pad, &entry) {
            gst::element_error!(entry, gst::CoreError::Negotiation, ("{}", why));
        }
    };
    let (found, join_first) = (Arc::clone(&pads), join.clone());
    decodebin.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        if caps.structure(0).is_none_or(|s| s.name() != "video/x-raw") {
            return;
        }
        if at_once {
            join_first(pad);
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).push(pad.clone());
    });
    // Nothing flows before this signal, so that no frame is lost to the choice.
    decodebin.connect_no_more_pads(move |_| {
        let pads = std::mem::take(&mut *pads.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(pad) = choose(&pads, at_once) {
            join(pad);
        }
    });
}

/// Links a decoder's pad; memory that only NVIDIA's converter can read goes through it.
fn link(pipeline: &gst::Pipeline, pad: &gst::Pad, entry: &gst::Element) -> Result<(), String> {
    let Some(target) = entry.static_pad("sink").filter(|p| !p.is_linked()) else {
        return Ok(());
    };
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let in_nvmm = caps.features(0).is_some_and(|f| f.contains("memory:NVMM"));
    if !in_nvmm {
        return pad.link(&target).map(drop).map_err(|e| format!("the decoder's {caps} cannot be used: {e}"));
    }
    let target = jetson::out_of_nvmm(pipeline, entry)?;
    pad.link(&target).map(drop).map_err(|e| format!("the decoder's {caps} cannot be used: {e}"))
}
