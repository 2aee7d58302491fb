//! What is known of each stream within a pipeline, and which of several is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::bitstream::{full_range, knows};
use super::colorimetry::Said;
use super::container::{Track, of_stream};
use super::damage::{Care, Watch};
use super::decoder_log::{mark_gaps, tell_of_skips};
use super::jpeg_decoder;

/// A stream that a decoder was found for.
#[derive(Clone, Default)]
pub(super) struct Decoded {
    /// What the container says about colour.
    pub(super) container: Said,
    /// What the parser found in the stream itself, or all streams of the kind have in common.
    pub(super) stream: Said,
    /// The range as packets say it, for kinds whose parser does not hand it on.
    pub(super) range: Option<bool>,
    /// The decoder reads all that the stream says itself: libavcodec and the own one of JPEG do.
    pub(super) tells_all: bool,
    /// Which of its pictures are whole.
    pub(super) watch: Option<Arc<Watch>>,
}

/// By GStreamer's stream identifier.
#[derive(Clone, Default)]
pub(super) struct SharedStreams(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    containers: HashMap<String, Said>,
    decoded: HashMap<String, Decoded>,
}

impl SharedStreams {
    fn with<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The decoder's stream; `None` if nothing was decoded.
    pub(super) fn decoded(&self, stream: &str) -> Option<Decoded> {
        self.with(|known| {
            let mut decoded = known.decoded.get(stream).cloned()?;
            decoded.stream.full_range = decoded.range.or(decoded.stream.full_range);
            decoded.container = known.containers.get(stream).copied().unwrap_or_default();
            Some(decoded)
        })
    }

    /// Notes what a demuxer says about colour and takes it out of the caps: parsers and decoders would believe it before
    /// the stream itself. FFmpeg believes the stream, and has more readers.
    pub(super) fn watch_demuxer(&self, demuxer: &gst::Element, tracks: Arc<Vec<Track>>) {
        let streams = self.clone();
        // Its caps have the range of every MP4 file as that of video, whatever the file says.
        let misreads_range = demuxer.factory().is_some_and(|f| f.name() == "qtdemux");
        let transport = demuxer.factory().is_some_and(|f| f.name() == "tsdemux");
        let matroska = demuxer.factory().is_some_and(|f| f.name() == "matroskademux");
        demuxer.connect_pad_added(move |_, pad| {
            if transport {
                mark_gaps(pad);
            }
            if matroska {
                tell_of_skips(pad);
            }
            let (streams, tracks) = (streams.clone(), Arc::clone(&tracks));
            pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
                let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view()) else {
                    return gst::PadProbeReturn::Ok;
                };
                let mut caps = event.caps_owned();
                let kind = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
                if kind == "video/x-raw" || !kind.starts_with("video/") && !kind.starts_with("image/") {
                    return gst::PadProbeReturn::Ok;
                }
                let stream = pad.stream_id().unwrap_or_default();
                let mut said = Said::of(&caps);
                if misreads_range {
                    said.full_range = of_stream(&tracks, &stream).and_then(|track| track.full_range);
                }
                streams.with(|known| known.containers.insert(stream.into(), said));
                if let Some(structure) = caps.make_mut().structure_mut(0) {
                    structure.remove_field("colorimetry");
                }
                let event = gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build();
                info.data = Some(gst::PadProbeData::Event(event));
                gst::PadProbeReturn::Ok
            });
        });
    }

    /// Notes what goes into a decoder, and watches it for damage.
    pub(super) fn watch_decoder(&self, decoder: &gst::Element, care: Care, live: bool) -> Option<Arc<Watch>> {
        let streams = self.clone();
        let name = decoder.factory().map(|f| f.name()).unwrap_or_default();
        let own = name == jpeg_decoder::NAME;
        let tells_all = own || name.starts_with("avdec_");
        let watch = Watch::on(decoder, if own { Care::Told } else { care }, live);
        let pad = decoder.static_pad("sink")?;
        let shared = watch.clone();
        let in_packets = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let kind = pad.current_caps().and_then(|caps| caps.structure(0).map(|s| s.name().to_string()));
            let Some(kind) = kind.filter(|kind| knows(kind)) else {
                return gst::PadProbeReturn::Remove;
            };
            let packet = info.buffer().and_then(|buffer| buffer.map_readable().ok());
            let Some(range) = packet.and_then(|packet| full_range(&kind, &packet)) else {
                return gst::PadProbeReturn::Ok;
            };
            let stream: String = pad.stream_id().unwrap_or_default().into();
            in_packets.with(|known| {
                known.decoded.entry(stream).or_default().range = Some(range);
            });
            gst::PadProbeReturn::Remove
        });
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
            if let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view()) {
                let stream: String = pad.stream_id().unwrap_or_default().into();
                let said = Said::by_kind(event.caps()).or(Said::of(event.caps()));
                streams.with(|known| {
                    let decoded = known.decoded.entry(stream).or_default();
                    decoded.stream = said;
                    decoded.tells_all = tells_all;
                    decoded.watch = watch.clone();
                });
            }
            gst::PadProbeReturn::Ok
        });
        shared
    }
}

/// The pad of the stream to read: the one that the file marks as default, then the larger, then the first; or simply the
/// `first`, which is read already. Says so if there are several.
pub(super) fn choose(pads: &[gst::Pad], first: bool) -> Option<&gst::Pad> {
    let looked: Vec<Seen> = pads.iter().map(Seen::of).collect();
    let rank = |n: usize| (looked[n].standing, looked[n].width * looked[n].height, std::cmp::Reverse(n));
    let best = if first { 0 } else { (0..pads.len()).max_by_key(|n| rank(*n))? };
    if pads.len() > 1 {
        let list: Vec<String> = looked.iter().map(|seen| seen.to_string()).collect();
        tracing::info!("{} video tracks: {}; number {} is read", pads.len(), list.join(", "), best + 1);
    }
    pads.get(best)
}

/// What can be told of a stream by its pad.
struct Seen {
    /// Marked as the one to take: 1, as one not to take: -1.
    standing: i8,
    width: i64,
    height: i64,
}

impl Seen {
    fn of(pad: &gst::Pad) -> Seen {
        let flags = pad.sticky_event::<gst::event::StreamStart>(0).map(|event| event.stream_flags());
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let side = |name: &str| caps.structure(0).and_then(|s| s.get::<i32>(name).ok()).map_or(0, i64::from);
        let has = |flag| flags.is_some_and(|flags| flags.contains(flag));
        let standing = i8::from(has(gst::StreamFlags::SELECT)) - i8::from(has(gst::StreamFlags::UNSELECT));
        Seen { standing, width: side("width"), height: side("height") }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.standing {
            1.. => " (default)",
            0 => "",
            _ => " (disabled)",
        };
        write!(f, "{}x{}{word}", self.width, self.height)
    }
}
