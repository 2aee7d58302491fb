//! What comes out of a decoder is put right before it goes on: colours that are said in full, square pixels, and which
//! way is up.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_video as gst_video;

use super::colorimetry::{Said, text};
use super::container::{Track, of_stream};
use super::facts::{SharedFacts, lock};
use super::streams::{Decoded, SharedStreams};
use super::turn::Turn;
use crate::frame::Matrix;

/// Pixels that are longer than this on one side come from a broken header.
const LONGEST_PIXEL: f64 = 8.0;
/// Pixels that are square but for this come from rounded sizes; scaling would only blur.
const ALMOST_SQUARE: f64 = 0.01;
/// The longest side that a picture may be stretched to.
const LONGEST_SIDE: f64 = 16384.0;

/// Watches the entry of the tail. `square` is the filter behind the scaler.
pub(super) fn watch(
    entry: &gst::Element,
    square: gst::Element,
    tracks: Vec<Track>,
    streams: SharedStreams,
    facts: SharedFacts,
) {
    let Some(pad) = entry.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let stream = pad.stream_id().unwrap_or_default();
        let track = of_stream(&tracks, &stream);
        let mut changed = None;
        match info.event().map(|event| event.view()) {
            Some(gst::EventView::Caps(event)) => {
                let decoded = streams.decoded(&stream);
                let mut caps = event.caps_owned();
                say_colour(&mut caps, decoded.as_ref());
                make_square(&mut caps, &square);
                {
                    let mut facts = lock(&facts);
                    facts.watch = decoded.and_then(|decoded| decoded.watch);
                    match track.map(|track| track.turn) {
                        Some(Some(turn)) => facts.turn = turn,
                        Some(None) => tracing::warn!("the recording is turned by an angle that is no quarter; it is read as it is stored"),
                        None => {}
                    }
                }
                changed = Some(gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build());
            }
            // The container's own words are better, where they can be read.
            Some(gst::EventView::Tag(event)) if track.is_none() => {
                if let Some(tag) = event.tag().get::<gst::tags::ImageOrientation>()
                    && let Some(turn) = Turn::of_tag(tag.get())
                {
                    lock(&facts).turn = turn;
                }
            }
            _ => {}
        }
        if let Some(event) = changed {
            info.data = Some(gst::PadProbeData::Event(event));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Replaces what the caps say about colour by all that is known. Raw video that was never encoded speaks for itself, and
/// R'G'B' is converted as its caps say.
fn say_colour(caps: &mut gst::Caps, decoded: Option<&Decoded>) {
    let Some(decoded) = decoded else { return };
    let format =
        caps.structure(0).and_then(|s| s.get::<&str>("format").ok()?.parse::<gst_video::VideoFormat>().ok());
    let Some(info) = format.map(gst_video::VideoFormatInfo::from_format) else { return };
    let own = Said::of(caps);
    let said = if info.is_gray() {
        // As FFmpeg takes it; no encoder says otherwise.
        Said { matrix: Some(Matrix::Bt601), full_range: Some(true) }
    } else if !info.is_yuv() {
        return;
    } else if decoded.tells_all {
        // It tells what it read in the stream, and nothing else.
        own.or(decoded.stream).or(decoded.container)
    } else if Said::assumed(caps) {
        decoded.stream.or(decoded.container)
    } else {
        decoded.stream.or(own).or(decoded.container)
    };
    set(caps, "colorimetry", text(said.colour()));
}

/// Has pictures whose pixels are not square stretched on the side that is short, as players do.
fn make_square(caps: &mut gst::Caps, filter: &gst::Element) {
    let mut wanted = gst::Caps::builder("video/x-raw");
    if let Some((width, height)) = caps.structure(0).and_then(square_size) {
        wanted = wanted
            .field("width", width)
            .field("height", height)
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    } else {
        set(caps, "pixel-aspect-ratio", gst::Fraction::new(1, 1));
    }
    filter.set_property("caps", wanted.build());
}

/// The size in square pixels; `None` if they are square already, or so odd that nobody can have meant it.
fn square_size(structure: &gst::StructureRef) -> Option<(i32, i32)> {
    let aspect = structure.get::<gst::Fraction>("pixel-aspect-ratio").ok()?;
    let (width, height) = (structure.get::<i32>("width").ok()?, structure.get::<i32>("height").ok()?);
    let ratio = f64::from(aspect.numer()) / f64::from(aspect.denom());
    if (ratio - 1.0).abs() < ALMOST_SQUARE {
        return None;
    }
    // An even number of pixels, as encoders want it.
    let stretched = |side: i32, by: f64| ((f64::from(side) * by / 2.0).round() * 2.0).max(2.0);
    let (new_width, new_height) = if ratio > 1.0 {
        (stretched(width, ratio), f64::from(height))
    } else {
        (f64::from(width), stretched(height, 1.0 / ratio))
    };
    let sane =
        (1.0 / LONGEST_PIXEL..=LONGEST_PIXEL).contains(&ratio) && new_width.max(new_height) <= LONGEST_SIDE;
    if !sane {
        tracing::warn!(aspect = %format_args!("{}:{}", aspect.numer(), aspect.denom()), "no camera has such pixels; they are taken for square");
        return None;
    }
    Some((new_width as i32, new_height as i32))
}

fn set(caps: &mut gst::Caps, field: &str, value: impl ToSendValue) {
    if let Some(structure) = caps.make_mut().structure_mut(0) {
        structure.set_value(field, value.to_send_value());
    }
}
