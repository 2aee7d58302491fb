//! The head of ISO base media files: MP4 and MOV.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::{LARGEST, Track, number};
use crate::source::turn::Turn;

/// Finds `moov` among the top-level boxes (ISO/IEC 14496-12) and reads its tracks.
pub(super) fn tracks(file: &mut File) -> Option<Vec<Track>> {
    let len = file.metadata().ok()?.len();
    let mut position = 0;
    while position < len {
        file.seek(SeekFrom::Start(position)).ok()?;
        let mut head = [0; 16];
        file.read_exact(&mut head[..8]).ok()?;
        let (body, size) = match number(&head, 0, 4)? {
            0 => (8, len - position),
            1 => {
                file.read_exact(&mut head[8..]).ok()?;
                (16, number(&head, 8, 8)?)
            }
            size => (8, size),
        };
        let inside = size.checked_sub(body)?;
        if &head[4..8] == b"moov" {
            let mut moov = Vec::new();
            file.take(inside.min(LARGEST)).read_to_end(&mut moov).ok()?;
            let movie = Movie::of(find(&moov, b"mvhd")?);
            return Some(
                boxes(&moov)
                    .filter(|(kind, _)| kind == b"trak")
                    .filter_map(|(_, t)| trak(t, &movie))
                    .collect(),
            );
        }
        position = position.checked_add(size)?;
    }
    None
}

/// The boxes that follow each other in `bytes`: type and content.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = match number(bytes, 0, 4)? {
            0 => bytes.len(),
            size => usize::try_from(size).ok()?,
        };
        let kind = bytes.get(4..8)?.try_into().ok()?;
        let content = bytes.get(8..size)?;
        bytes = &bytes[size..];
        Some((kind, content))
    })
}

fn find<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes).find(|(k, _)| k == kind).map(|(_, content)| content)
}

/// One and nothing else, in 16.16.
const UPRIGHT: [i64; 4] = [1 << 16, 0, 0, 1 << 16];

/// a, b, c, d of the matrix in a `tkhd` or `mvhd` box, which lies at `short` in version 0 and at `long` in version 1.
fn matrix(head: &[u8], short: usize, long: usize) -> Option<[i64; 4]> {
    let at = if head.first()? == &1 { long } else { short };
    let part = |n: usize| Some(i64::from(number(head, at + 4 * n, 4)? as u32 as i32));
    Some([part(0)?, part(1)?, part(3)?, part(4)?])
}

/// What holds for all tracks.
struct Movie {
    matrix: [i64; 4],
    secs: f64,
}

impl Movie {
    fn of(mvhd: &[u8]) -> Movie {
        Movie { matrix: matrix(mvhd, 36, 48).unwrap_or(UPRIGHT), secs: secs(mvhd).unwrap_or(0.0) }
    }
}

/// The duration in an `mvhd` or `mdhd` box.
fn secs(head: &[u8]) -> Option<f64> {
    let (scale, units) = match head.first()? {
        1 => (number(head, 20, 4)?, number(head, 24, 8)?),
        _ => (number(head, 12, 4)?, number(head, 16, 4)?),
    };
    (scale > 0).then(|| units as f64 / scale as f64)
}

/// The track in the content of a `trak` box, if it is video.
fn trak(trak: &[u8], movie: &Movie) -> Option<Track> {
    let tkhd = find(trak, b"tkhd")?;
    let media = find(trak, b"mdia")?;
    if find(media, b"hdlr")?.get(8..12)? != b"vide" {
        return None;
    }
    let own = matrix(tkhd, 40, 52)?;
    // The track's matrix comes first, then the movie's; rows of one times columns of the other.
    let times = |row: [i64; 2], column: [i64; 2]| (row[0] * column[0] + row[1] * column[1]) >> 16;
    let ([a, b, c, d], [e, f, g, h]) = (own, movie.matrix);
    let both = [times([a, b], [e, g]), times([a, b], [f, h]), times([c, d], [e, g]), times([c, d], [f, h])];
    // Some writers leave the matrix empty.
    let turn = if both == [0; 4] { Some(Turn::default()) } else { Turn::of_matrix(both) };
    let number = number(tkhd, if tkhd.first()? == &1 { 20 } else { 12 }, 4)?;
    let brief = find(media, b"mdhd").and_then(secs).is_some_and(|secs| secs * 5.0 < movie.secs);
    Some(Track { number, turn, full_range: range(media), brief })
}

/// The flag in the `colr` box of type `nclx`; QuickTime's `nclc` has none.
fn range(media: &[u8]) -> Option<bool> {
    let table = find(find(media, b"minf")?, b"stbl")?;
    // Version, number of entries, then the entries; a visual sample entry has 78 bytes before its boxes.
    let (_, entry) = boxes(find(table, b"stsd")?.get(8..)?).next()?;
    let colours = boxes(entry.get(78..)?).filter(|(kind, _)| kind == b"colr");
    let mut ranges = colours
        .filter_map(|(_, colr)| (colr.get(..4)? == b"nclx").then(|| colr.get(10).map(|f| f >> 7 == 1))?);
    ranges.next()
}

#[cfg(test)]
mod tests {
    use super::super::of_stream;
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    fn words(list: &[i32]) -> Vec<u8> {
        list.iter().flat_map(|n| n.to_be_bytes()).collect()
    }

    const ONE: i32 = 1 << 16;

    /// An MP4 file whose movie and only track have these matrices (a, b, c, d) and this `colr` box.
    fn mp4(movie: [i32; 4], track: [i32; 4], colr: &[u8], media_secs: i32) -> Vec<u8> {
        let nine = |[a, b, c, d]: [i32; 4]| words(&[a, b, 0, c, d, 0, 0, 0, 1 << 30]);
        let mvhd = boxed(b"mvhd", &[words(&[0, 0, 0, 10, 1000]), vec![0; 16], nine(movie)].concat());
        let tkhd = boxed(b"tkhd", &[words(&[1, 0, 0, 7]), vec![0; 24], nine(track), words(&[0, 0])].concat());
        let entry =
            boxed(b"avc1", &[vec![0; 78], boxed(b"pasp", &words(&[1, 1])), boxed(b"colr", colr)].concat());
        let stsd = boxed(b"stsd", &[words(&[0, 1]), entry].concat());
        let mdhd = boxed(b"mdhd", &words(&[0, 0, 0, 1, media_secs, 0]));
        let hdlr = boxed(b"hdlr", &[words(&[0, 0]), b"vide".to_vec()].concat());
        let media = boxed(b"mdia", &[mdhd, hdlr, boxed(b"minf", &boxed(b"stbl", &stsd))].concat());
        let sound =
            boxed(b"trak", &boxed(b"mdia", &boxed(b"hdlr", &[words(&[0, 0]), b"soun".to_vec()].concat())));
        let moov = boxed(b"moov", &[mvhd, sound, boxed(b"trak", &[tkhd, media].concat())].concat());
        [boxed(b"ftyp", b"isom"), boxed(b"mdat", &[1; 40]), moov].concat()
    }

    fn read(bytes: &[u8]) -> Vec<Track> {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        file.rewind().unwrap();
        tracks(&mut file).unwrap_or_default()
    }

    #[test]
    fn mp4_tells_turn_and_range() {
        let upright = [ONE, 0, 0, ONE];
        let quarter = [0, ONE, -ONE, 0];
        let turned = |tag| Turn::of_tag(tag);
        for (movie, track, colr, want) in [
            (upright, upright, &b"nclx\0\x01\0\x01\0\x01\x80"[..], (turned("rotate-0"), Some(true), false)),
            (upright, quarter, b"nclx\0\x01\0\x01\0\x01\x00", (turned("rotate-90"), Some(false), false)),
            (quarter, quarter, b"nclc\0\x01\0\x01\0\x01", (turned("rotate-180"), None, false)),
            (upright, [-ONE, 0, 0, ONE], b"prof", (turned("flip-rotate-0"), None, false)),
            (upright, [46341, 46341, -46341, 46341], b"", (None, None, false)),
            ([0; 4], [0; 4], b"", (turned("rotate-0"), None, true)),
        ] {
            let secs = if want.2 { 3 } else { 100 };
            let tracks = read(&mp4(movie, track, colr, secs));
            let (turn, full_range, brief) = want;
            assert_eq!(tracks, [Track { number: 7, turn, full_range, brief }]);
            assert_eq!(of_stream(&tracks, "0123abcd/007"), Some(&tracks[0]));
            assert_eq!(of_stream(&tracks, "0123abcd/008"), None);
        }
    }

    /// Whatever the bytes, there is an answer.
    #[test]
    fn damaged_heads_are_no_trouble() {
        let whole = mp4([ONE, 0, 0, ONE], [ONE, 0, 0, ONE], b"nclx\0\x01\0\x01\0\x01\x80", 100);
        for at in 0..whole.len() {
            read(&whole[..at]);
            let mut flipped = whole.clone();
            flipped[at] ^= 0xFF;
            read(&flipped);
        }
        assert!(read(b"").is_empty() && read(&[0xFF; 64]).is_empty() && read(&[0; 64]).is_empty());
    }
}
