//! The head of Matroska and WebM files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::{LARGEST, Track, number};
use crate::source::ebml::{CLUSTER, Element, Found, LONGEST_HEAD, SEGMENT, element, elements};
use crate::source::turn::Turn;

const TRACKS: u64 = 0x1654_AE6B;
const TRACK: u64 = 0xAE;
const NUMBER: u64 = 0xD7;
const VIDEO: u64 = 0xE0;
const PROJECTION: u64 = 0x7670;
const ROLL: u64 = 0x7675;

/// Finds `Tracks` in the segment and reads them (RFC 8794, RFC 9559).
pub(super) fn tracks(file: &mut File) -> Option<Vec<Track>> {
    let mut position = 0;
    loop {
        file.seek(SeekFrom::Start(position)).ok()?;
        let mut bytes = Vec::with_capacity(LONGEST_HEAD);
        Read::by_ref(file).take(LONGEST_HEAD as u64).read_to_end(&mut bytes).ok()?;
        let Found::Element(Element { id, size, head }) = element(&bytes) else { return None };
        position = position.checked_add(head as u64)?;
        match (id, size) {
            (SEGMENT, _) => {}
            (TRACKS, Some(size)) => {
                file.seek(SeekFrom::Start(position)).ok()?;
                let mut tracks = Vec::new();
                file.take(size.min(LARGEST)).read_to_end(&mut tracks).ok()?;
                return Some(
                    elements(&tracks).filter(|(id, _)| *id == TRACK).filter_map(|(_, t)| entry(t)).collect(),
                );
            }
            (CLUSTER, _) | (_, None) => return None,
            (_, Some(size)) => position = position.checked_add(size)?,
        }
    }
}

/// The track in the content of a `TrackEntry`, if it is video. Its colour is in the caps that the demuxer makes.
fn entry(track: &[u8]) -> Option<Track> {
    let get = |bytes, wanted| elements(bytes).find(|(id, _)| *id == wanted).map(|(_, content)| content);
    let numbered = get(track, NUMBER)?;
    let roll = get(get(track, VIDEO)?, PROJECTION).and_then(|projection| get(projection, ROLL));
    let degrees = match roll {
        Some(float) if float.len() == 4 => f64::from(f32::from_bits(number(float, 0, 4)? as u32)),
        Some(float) if float.len() == 8 => f64::from_bits(number(float, 0, 8)?),
        _ => 0.0,
    };
    // The roll turns the picture counter-clockwise; y points down.
    let (sin, cos) = degrees.to_radians().sin_cos();
    let fixed = |x: f64| (x * 65536.0).round() as i64;
    let turn = Turn::of_matrix([fixed(cos), fixed(-sin), fixed(sin), fixed(cos)]);
    Some(Track { number: number(numbered, 0, numbered.len().min(8))?, turn, full_range: None, brief: false })
}

#[cfg(test)]
mod tests {
    use super::super::of_stream;
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Track> {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        file.rewind().unwrap();
        tracks(&mut file).unwrap_or_default()
    }

    #[test]
    fn matroska_tells_its_roll() {
        let sized = |id: &[u8], content: &[u8]| {
            [id, &[0x40 | (content.len() >> 8) as u8, content.len() as u8], content].concat()
        };
        for (degrees, tag) in
            [(0.0, "rotate-0"), (90.0, "rotate-270"), (-90.0, "rotate-90"), (180.0_f32, "rotate-180")]
        {
            let projection = sized(&[0x76, 0x70], &sized(&[0x76, 0x75], &degrees.to_be_bytes()));
            let track = [sized(&[0xD7], &[3]), sized(&[0xE0], &projection)].concat();
            let sound = sized(&[0xAE], &sized(&[0xD7], &[1]));
            let tracks = sized(&[0x16, 0x54, 0xAE, 0x6B], &[sound, sized(&[0xAE], &track)].concat());
            let ebml = sized(&[0x1A, 0x45, 0xDF, 0xA3], &[0; 5]);
            let segment = [&[0x18, 0x53, 0x80, 0x67, 0xFF][..], &sized(&[0xEC], &[0; 9]), &tracks].concat();
            let tracks = read(&[ebml, segment].concat());
            let turn = Turn::of_tag(tag);
            assert_eq!(tracks, [Track { number: 3, turn, full_range: None, brief: false }], "{degrees}");
            assert_eq!(of_stream(&tracks, "abc/003:99"), Some(&tracks[0]));
        }
    }

    #[test]
    fn damaged_heads_are_no_trouble() {
        let mut bytes =
            vec![0x1A, 0x45, 0xDF, 0xA3, 0x80, 0x18, 0x53, 0x80, 0x67, 0xFF, 0x16, 0x54, 0xAE, 0x6B, 0x88];
        bytes.extend([0xAE, 0x86, 0xD7, 0x81, 1, 0xE0, 0x81, 0xFF]);
        assert_eq!(read(&bytes).len(), 1);
        for at in 0..bytes.len() {
            read(&bytes[..at]);
            let mut flipped = bytes.clone();
            flipped[at] ^= 0xFF;
            read(&flipped);
        }
    }
}
