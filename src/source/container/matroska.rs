//! The head of Matroska and WebM files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::{LARGEST, Track, number};
use crate::source::turn::Turn;

const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1F43_B675;
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
        let mut head = Vec::with_capacity(12);
        Read::by_ref(file).take(12).read_to_end(&mut head).ok()?;
        let (id, size, body) = element(&head)?;
        position = position.checked_add(body as u64)?;
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

/// What follows each other in a segment and in its clusters (RFC 9559).
const KNOWN: [u64; 19] = [
    SEGMENT,
    CLUSTER,
    TRACKS,
    0x1A45_DFA3,
    0x114D_9B74,
    0x1549_A966,
    0x1C53_BB6B,
    0x1941_A469,
    0x1043_A770,
    0x1254_C367,
    0xE7,
    0xA3,
    0xA0,
    0xA7,
    0xAB,
    0xAF,
    0x5854,
    0xEC,
    0xBF,
];

/// Where the elements of a Matroska file stop making sense; `None` if they go on to its end, and for other files.
pub(in crate::source) fn broken_at(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    let (mut position, mut end) = (0, len);
    // What lies behind the segment is no business of Matroska's.
    while position < end {
        file.seek(SeekFrom::Start(position)).ok()?;
        let mut head = Vec::with_capacity(12);
        Read::by_ref(&mut file).take(12).read_to_end(&mut head).ok()?;
        if position == 0 && !head.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]) {
            return None;
        }
        let Some((id, size, body)) = element(&head).filter(|(id, ..)| KNOWN.contains(id)) else {
            return Some(position);
        };
        if let (SEGMENT, Some(size)) = (id, size) {
            end = len.min(position.saturating_add(body as u64).saturating_add(size));
        }
        let inside = match (id, size) {
            (SEGMENT | CLUSTER, _) => 0,
            (_, Some(size)) => size,
            (_, None) => return Some(position),
        };
        let next = position.checked_add(body as u64)?.checked_add(inside)?;
        if next > len {
            return Some(position);
        }
        position = next;
    }
    None
}

/// Identifier, size (`None`: unknown) and length of the head of the EBML element that `bytes` begin with.
fn element(bytes: &[u8]) -> Option<(u64, Option<u64>, usize)> {
    let id_len = bytes.first()?.leading_zeros() as usize + 1;
    let size_len = bytes.get(id_len)?.leading_zeros() as usize + 1;
    if id_len > 4 || size_len > 8 {
        return None;
    }
    let mask = (1 << (7 * size_len)) - 1;
    let size = number(bytes, id_len, size_len)? & mask;
    Some((number(bytes, 0, id_len)?, (size != mask).then_some(size), id_len + size_len))
}

/// The elements that follow each other in `bytes`: identifier and content.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let (id, size, body) = element(bytes)?;
        let end = body.checked_add(usize::try_from(size?).ok()?)?;
        let content = bytes.get(body..end)?;
        bytes = &bytes[end..];
        Some((id, content))
    })
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
    fn damage_among_blocks_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = vec![0x1A, 0x45, 0xDF, 0xA3, 0x80, 0x18, 0x53, 0x80, 0x67, 0xFF];
        for cluster in 0..3_u8 {
            bytes.extend([
                0x1F,
                0x43,
                0xB6,
                0x75,
                0x88 + cluster % 2,
                0xE7,
                0x81,
                cluster,
                0xA3,
                0x83,
                1,
                2,
                3,
            ]);
            bytes.extend([0xEC, 0x80].repeat(usize::from(cluster % 2)));
        }
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(broken_at(file.path()), None);
        bytes[31] = 0x11;
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(broken_at(file.path()), Some(31), "{:02x?}", &bytes[28..36]);
        std::fs::write(file.path(), "no Matroska").unwrap();
        assert_eq!(broken_at(file.path()), None);
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
