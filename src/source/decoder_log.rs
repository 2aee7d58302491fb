//! What decoders and demuxers log about damage, put down to the one that said it.
//!
//! GStreamer's decoders give out what they patched up as good and tell it nowhere but in their log.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use gstreamer as gst;
use gstreamer::prelude::*;

/// Words of libavcodec that mean a picture with holes. Everything else that it logs as an error is met in sound streams
/// too: at the start within a group of pictures, or from encoders that count references differently.
const WORDS: [&str; 14] = [
    "concealing ",
    "error while decoding MB",
    "Error at MB",
    "damaged at",
    "slice end not reached",
    "Error splitting the input",
    "Invalid NAL unit size",
    "decode_slice_header error",
    "Error parsing NAL unit",
    "Could not find ref with POC",
    "reference picture missing",
    "Missing reference picture",
    "outside the valid range",
    "overread",
];

/// What one decoder has said.
#[derive(Default)]
pub(super) struct Heard {
    lines: AtomicU64,
    /// It says itself what is damaged; what else is logged is not about pictures.
    tells: bool,
}

impl Heard {
    /// Hears a decoder on the threads that it is [`Heard::here`] on; with `own_threads` also on those that nobody is on.
    pub(super) fn new(own_threads: bool) -> Arc<Heard> {
        listen();
        let heard = Arc::<Heard>::default();
        if own_threads {
            let mut all = OWN_THREADS.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|other| other.strong_count() > 0);
            all.push(Arc::downgrade(&heard));
        }
        heard
    }

    /// The decoder works on this thread from now on.
    pub(super) fn here(self: &Arc<Self>) {
        HERE.set(Arc::downgrade(self));
    }

    /// Hears a decoder that says itself which pictures it left out, by [`left_out`].
    pub(super) fn told() -> Arc<Heard> {
        Arc::new(Heard { tells: true, ..Heard::default() })
    }

    /// Lines about damage so far.
    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Acquire)
    }

    fn line(&self) {
        self.lines.fetch_add(1, Ordering::Release);
    }
}

thread_local! {
    /// The decoder that works on this thread.
    static HERE: RefCell<Weak<Heard>> = const { RefCell::new(Weak::new()) };
    /// The stream whose transport packets the demuxer on this thread has just missed.
    static TORN: Cell<Option<u32>> = const { Cell::new(None) };
    /// How often the demuxer of Matroska on this thread has met nonsense and gone on with the next cluster.
    static SKIPPED: Cell<u64> = const { Cell::new(0) };
}

/// The decoders that work on threads of their own.
static OWN_THREADS: Mutex<Vec<Weak<Heard>>> = Mutex::new(Vec::new());

/// Who logs about damage, and how loudly.
const TELLERS: [(&str, gst::DebugLevel); 6] = [
    ("libav", gst::DebugLevel::Info),
    ("videodecoder", gst::DebugLevel::Warning),
    ("tsdemux", gst::DebugLevel::Warning),
    ("matroskademux", gst::DebugLevel::Warning),
    ("h264parse", gst::DebugLevel::Warning),
    ("h265parse", gst::DebugLevel::Warning),
];

/// Reads GStreamer's log from now on, once for the process.
fn listen() {
    static ONCE: Once = Once::new();
    let somebody_reads = std::env::var_os("GST_DEBUG").is_some();
    ONCE.call_once(|| {
        // Without GST_DEBUG nobody wants to read what is only meant for this module.
        if !somebody_reads {
            gst::log::remove_default_log_function();
            TELLERS.iter().for_each(|(name, level)| gst::log::set_threshold_for_name(name, *level));
        }
        gst::log::add_log_function(|category, level, _, _, _, _, message| {
            let told = match category.name() {
                "tsdemux" => {
                    let torn = message.get().and_then(|text| torn(&text));
                    // A thread that ends may still log.
                    let _ = TORN.try_with(|pid| pid.set(torn.or(pid.get())));
                    false
                }
                "matroskademux" => {
                    if message.get().is_some_and(|text| text.contains("parse error, trying next cluster")) {
                        let _ = SKIPPED.try_with(|skipped| skipped.set(skipped.get() + 1));
                    }
                    false
                }
                // Slices that a parser cannot read never come to the decoder.
                "h264parse" | "h265parse" => message.get().is_some_and(|text| {
                    text.contains("broken/invalid nal") && text.to_ascii_lowercase().contains("slice")
                }),
                "libav" => message.get().is_some_and(|text| is_damage(&text)),
                "videodecoder" => {
                    level == gst::DebugLevel::Warning
                        && message.get().is_some_and(|text| text.starts_with("error: "))
                }
                _ => false,
            };
            if told {
                put_down();
            }
        });
    });
    // What a person wants to read is not lessened. The categories are known once their plugins are loaded.
    for (name, wanted) in TELLERS.iter().filter(|_| somebody_reads) {
        if let Some(category) = gst::DebugCategory::get(name)
            && category.threshold() < *wanted
        {
            category.set_threshold(*wanted);
        }
    }
}

/// The decoder on this thread left a picture out.
pub(super) fn left_out() {
    if let Some(heard) = here().filter(|heard| heard.tells) {
        heard.line();
    }
}

fn here() -> Option<Arc<Heard>> {
    // A thread that ends may still log.
    let here = HERE.try_with(|here| here.try_borrow().ok().and_then(|heard| heard.upgrade()));
    here.ok().flatten()
}

/// A line counts for the decoder on this thread, else for all that have threads of their own.
fn put_down() {
    if let Some(heard) = here() {
        if !heard.tells {
            heard.line();
        }
        return;
    }
    for heard in OWN_THREADS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
        heard.line();
    }
}

/// The packet identifier in what the demuxer of transport streams says when packets are missing.
fn torn(line: &str) -> Option<u32> {
    let (_, pid) = line.split_once("CONTINUITY: Mismatch")?.1.split_once("(pid 0x")?;
    u32::from_str_radix(pid.split(')').next()?, 16).ok()
}

/// Marks what a demuxer of transport streams gives out after a gap; it does not do so itself.
pub(super) fn mark_gaps(pad: &gst::Pad) {
    listen();
    // Pads are called video_0_0100, with the packet identifier at the end.
    let own = pad.name().rsplit('_').next().and_then(|pid| u32::from_str_radix(pid, 16).ok());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if own.is_some() && TORN.get() == own {
            TORN.set(None);
            if let Some(buffer) = info.buffer_mut() {
                buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// The name of the event that tells a decoder of a gap before the next packet.
const GAP: &str = "farout-gap";

/// Sends a word ahead of what a demuxer of Matroska gives out after it has left a part of the file out: what comes then is a
/// key picture, and it is the one before that may be damaged.
pub(super) fn tell_of_skips(pad: &gst::Pad) {
    listen();
    let seen = AtomicU64::new(u64::MAX);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
        let now = SKIPPED.get();
        let before = seen.swap(now, Ordering::Relaxed);
        if before != u64::MAX && before != now {
            let structure = gst::Structure::new_empty(GAP);
            // Who refuses it refuses what follows, too.
            let _ = pad.push_event(gst::event::CustomDownstream::new(structure));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Whether an event is the word that [`tell_of_skips`] sends.
pub(super) fn is_gap(event: &gst::EventRef) -> bool {
    matches!(event.view(), gst::EventView::CustomDownstream(_))
        && event.structure().is_some_and(|structure| structure.name() == GAP)
}

fn is_damage(line: &str) -> bool {
    WORDS.iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_damage() {
        for (line, damage) in [
            ("concealing 63 DC, 63 AC, 63 MV errors in B frame", true),
            ("error while decoding MB 54 44, bytestream -6", true),
            ("ac-tex damaged at 12 3", true),
            ("Invalid NAL unit size (-1 > 551).", true),
            ("Could not find ref with POC 7", true),
            ("mmco: unref short failure", false),
            (
                "number of reference frames (0+5) exceeds max (4; probably corrupt input), discarding one",
                false,
            ),
            ("ignoring invalid SAR: 1/1000", false),
            ("SEI type 5 size 2000 truncated at 12", false),
            ("Reinit context to 320x192, pix_fmt: yuv420p", false),
        ] {
            assert_eq!(is_damage(line), damage, "{line}");
        }
        assert_eq!(torn("warning: CONTINUITY: Mismatch packet 9, stream 13 (pid 0x0100)"), Some(256));
        assert_eq!(torn("CONTINUITY: Got expected 9"), None);
    }
}
