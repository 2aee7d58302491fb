//! What farout has to know of H.264 byte streams (ITU-T H.264, annex B and table 7-1).

use gstreamer as gst;
use gstreamer::prelude::*;

/// Types of NAL units: coded slices, the last one of them that of a key picture (IDR), sequence and picture parameter sets.
const SLICE: u8 = 1;
pub(super) const IDR_SLICE: u8 = 5;
const SEQUENCE_SET: u8 = 7;
const PICTURE_SET: u8 = 8;

/// The types of the NAL units in a byte stream, each with where it lies.
fn units(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut starts = memchr::memmem::find_iter(bytes, &[0, 0, 1]).map(|at| at + 3).peekable();
    std::iter::from_fn(move || {
        let start = starts.next()?;
        let end = starts.peek().map_or(bytes.len(), |next| next - 3);
        let unit = bytes.get(start..end).unwrap_or_default();
        // Zeros behind it belong to the next start code.
        let unit = &unit[..unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
        Some((unit.first().map_or(0, |byte| byte & 0x1f), unit))
    })
}

/// Whether decoding can start with this picture: its first slice is of an IDR picture. Encoders put pictures without
/// references in between, at changes of the scene, that parsers call key pictures as well: those after them may refer to
/// pictures before them, and no parameter sets come with them.
pub(super) fn starts_decoding(picture: &[u8]) -> bool {
    let mut slices = units(picture).map(|(kind, _)| kind).filter(|kind| (SLICE..=IDR_SLICE).contains(kind));
    slices.next() == Some(IDR_SLICE)
}

/// The parameter sets in front of a picture's slices, as bytes.
pub(super) fn parameter_sets(picture: &[u8]) -> Vec<u8> {
    let before = units(picture).take_while(|(kind, _)| !(SLICE..=IDR_SLICE).contains(kind));
    before
        .filter(|(kind, _)| matches!(*kind, SEQUENCE_SET | PICTURE_SET))
        .flat_map(|(_, unit)| unit.to_vec())
        .collect()
}

/// The types of the NAL units in a picture of an MP4 file (`avc`), each behind its length in four bytes.
pub(super) fn avc_types(data: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(rest.first_chunk().copied()?) as usize;
        let kind = rest.get(4)? & 0x1f;
        rest = rest.get(4 + length..).unwrap_or_default();
        Some(kind)
    })
}

/// Has only IDR pictures leave `parse`, an `h264parse` before a multiplexer of MP4, as key pictures: it takes every picture
/// without references for one, and players that seek would start with it.
pub(super) fn mark_key_pictures(parse: &gst::Element) {
    let Some(pad) = parse.static_pad("src") else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut()
            && !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
            && buffer.map_readable().is_ok_and(|bytes| !avc_types(&bytes).any(|kind| kind == IDR_SLICE))
        {
            buffer.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units of these types, behind start codes of three and four bytes.
    fn stream(kinds: &[u8]) -> Vec<u8> {
        let start = |at: usize| if at.is_multiple_of(2) { &[0, 0, 0, 1][..] } else { &[0, 0, 1] };
        kinds
            .iter()
            .enumerate()
            .flat_map(|(at, kind)| [start(at), &[0x60 | kind, 200 + at as u8]].concat())
            .collect()
    }

    #[test]
    fn decoding_starts_with_an_idr_picture_only() {
        assert!(starts_decoding(&stream(&[9, 7, 8, 6, 5, 5])));
        assert!(starts_decoding(&stream(&[5])));
        // A picture of a change of scene: no reference to others, and not IDR.
        assert!(!starts_decoding(&stream(&[9, 6, 1, 1])));
        assert!(!starts_decoding(&stream(&[9, 1, 5])));
        for none in [&[][..], &[0, 0, 1], &[5, 5, 5], &stream(&[9, 7, 8])] {
            assert!(!starts_decoding(none), "{none:?}");
        }
    }

    #[test]
    fn parameter_sets_are_those_before_the_picture() {
        assert_eq!(parameter_sets(&stream(&[9, 7, 8, 6, 5, 7])), [0x67, 201, 0x68, 202]);
        assert_eq!(parameter_sets(&stream(&[9, 1, 7])), [0; 0]);
    }
}
