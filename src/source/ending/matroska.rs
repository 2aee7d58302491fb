//! Matroska and WebM files: whole if their segment, or its last element, ends inside them; damaged where their elements
//! stop making sense.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use super::{Ending, cut, read_at};
use crate::source::ebml::{CLUSTER, Element, Found, LONGEST_HEAD, SEGMENT, element, elements};
use crate::stop::Stop;

/// Compares the segment's size with the file's, or walks the clusters if the segment's size was
/// never written (RFC 8794, RFC 9559).
pub(super) fn look(file: &mut File, len: u64) -> std::io::Result<Ending> {
    let mut position = 0;
    let mut inside = false;
    while position < len {
        let mut bytes = [0; LONGEST_HEAD];
        let had = read_at(file, position, &mut bytes)?;
        let Element { id, size, head } = match element(&bytes[..had]) {
            Found::Element(element) => element,
            Found::Begun => return Ok(Ending::Cut("the file ends within the head of an element".into())),
            // Padding or a vendor's notes behind the last cluster.
            Found::None if inside => return Ok(Ending::Whole),
            Found::None => return Ok(Ending::Unknown),
        };
        let body = position + head as u64;
        match size {
            Some(size) if body.saturating_add(size) > len => {
                return Ok(cut(body.saturating_add(size), len));
            }
            Some(_) if id == SEGMENT => return Ok(Ending::Whole),
            Some(size) => position = body + size,
            None if id == SEGMENT && !inside => (position, inside) = (body, true),
            // A cluster of unknown size: only its own contents could tell.
            None => return Ok(Ending::Unknown),
        }
    }
    Ok(Ending::Whole)
}

/// What follows each other in a segment and in its clusters (RFC 9559).
const KNOWN: [u64; 19] = [
    SEGMENT,
    CLUSTER,
    INFO,
    TIME,
    0x1A45_DFA3,
    0x114D_9B74,
    0x1654_AE6B,
    0x1C53_BB6B,
    0x1941_A469,
    0x1043_A770,
    0x1254_C367,
    0xA3,
    0xA0,
    0xA7,
    0xAB,
    0xAF,
    0x5854,
    0xEC,
    0xBF,
];
const INFO: u64 = 0x1549_A966;
/// Nanoseconds of one unit of time, in `INFO`.
const UNIT: u64 = 0x002A_D7B1;
/// When a cluster begins.
const TIME: u64 = 0xE7;
/// The times of blocks are 16 bits, from that of their cluster on.
const CLUSTER_UNITS: u64 = 1 << 15;

/// Where the elements of a Matroska file stop making sense, from `since` on; `None` if they go on to its end, for other
/// files, and once stopping is asked. Clusters that lie before that in full are passed over: a file has many blocks.
pub(in crate::source) fn broken_at(path: &Path, since: Duration, stop: &Stop) -> Option<u64> {
    let file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    let mut file = BufReader::new(file);
    let (mut position, mut end, mut unit) = (0, len, 1_000_000);
    // What lies behind the segment is no business of Matroska's.
    while position < end && !stop.asked() {
        let Found::Element(Element { id, size, head }) = at(&mut file, position) else {
            return (position > 0).then_some(position);
        };
        if position == 0 && id != 0x1A45_DFA3 {
            return None;
        }
        let body = position.checked_add(head as u64)?;
        if let (SEGMENT, Some(size)) = (id, size) {
            end = len.min(body.saturating_add(size));
        }
        let next = match (id, size) {
            (SEGMENT, _) => body,
            (CLUSTER, Some(size))
                if body.saturating_add(size) <= len && is_before(&mut file, body, since, unit) =>
            {
                body + size
            }
            (CLUSTER, _) => body,
            (_, Some(size)) => body.saturating_add(size),
            (_, None) => return Some(position),
        };
        if next > len {
            return Some(position);
        }
        if id == INFO {
            unit = units(&mut file, body, next - body).unwrap_or(unit);
        }
        // Elements that this program does not know are allowed, and skipped; noise is told by what comes next.
        let sound = |file: &mut BufReader<File>| {
            next >= end || matches!(at(file, next), Found::Element(next) if KNOWN.contains(&next.id))
        };
        if !KNOWN.contains(&id) && !sound(&mut file) {
            return Some(position);
        }
        position = next;
    }
    None
}

/// What stands at `position`.
fn at(file: &mut BufReader<File>, position: u64) -> Found {
    let bytes = bytes(file, position, LONGEST_HEAD as u64);
    bytes.map_or(Found::None, |bytes| element(&bytes))
}

/// As many of the bytes there as the file has.
fn bytes(file: &mut BufReader<File>, position: u64, count: u64) -> Option<Vec<u8>> {
    let here = file.stream_position().ok()?;
    // What is in the buffer need not be read again.
    match i64::try_from(position).ok()?.checked_sub(i64::try_from(here).ok()?) {
        Some(by) => file.seek_relative(by).ok()?,
        None => drop(file.seek(SeekFrom::Start(position)).ok()?),
    }
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether all blocks of the cluster with its content at `body` are earlier than `since`.
fn is_before(file: &mut BufReader<File>, body: u64, since: Duration, unit: u64) -> bool {
    let Some(bytes) = bytes(file, body, 64) else { return false };
    let time = elements(&bytes).find(|(id, _)| *id == TIME).and_then(|(_, content)| number(content));
    time.is_some_and(|time| {
        let last = time.saturating_add(CLUSTER_UNITS).saturating_mul(unit);
        u128::from(last) < since.as_nanos()
    })
}

/// The unit of time that the content of `INFO` says.
fn units(file: &mut BufReader<File>, body: u64, size: u64) -> Option<u64> {
    let content = bytes(file, body, size.min(1 << 16))?;
    number(elements(&content).find(|(id, _)| *id == UNIT)?.1).filter(|unit| *unit > 0)
}

fn number(content: &[u8]) -> Option<u64> {
    (content.len() <= 8).then(|| content.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(bytes: &[u8], since: Duration) -> Option<u64> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        broken_at(file.path(), since, &Stop::new())
    }

    const HEAD: [u8; 5] = [0x1A, 0x45, 0xDF, 0xA3, 0x80];

    fn segment(size: &[u8], content: &[u8]) -> Vec<u8> {
        [&HEAD[..], &[0x18, 0x53, 0x80, 0x67], size, content].concat()
    }

    /// A cluster of this second with three blocks, whose size is said or not.
    fn cluster(second: u8, sized: bool, more: &[u8]) -> Vec<u8> {
        let time = (u32::from(second) * 1000).to_be_bytes();
        let block = [0xA3, 0x84, 0x81, 0, second, 0];
        let content = [&[0xE7, 0x84][..], &time, &block.repeat(3), more].concat();
        let size = if sized { 0x80 | content.len() as u8 } else { 0xFF };
        [&[0x1F, 0x43, 0xB6, 0x75, size][..], &content].concat()
    }

    #[test]
    fn sound_files_are_not_broken() {
        let all =
            |sized: bool, more: &[u8]| (0..3).flat_map(|n| cluster(n, sized, more)).collect::<Vec<u8>>();
        let (void, unknown) = ([0xEC, 0x83, 9, 9, 9], [0x42, 0x99, 0x82, 7, 7]);
        for (name, bytes) in [
            ("clusters", segment(&[0xFF], &all(true, &[]))),
            ("clusters of unknown size", segment(&[0xFF], &all(false, &[]))),
            ("void in clusters", segment(&[0xFF], &all(true, &void))),
            (
                "void between clusters",
                segment(&[0xFF], &[&all(true, &[])[..], &void, &all(false, &void)].concat()),
            ),
            (
                "unknown elements",
                segment(&[0xFF], &[&unknown[..], &all(true, &unknown), &all(false, &unknown)].concat()),
            ),
            (
                "bytes behind the segment",
                [segment(&[0x80 | all(true, &[]).len() as u8], &all(true, &[])), vec![0; 99]].concat(),
            ),
            ("no Matroska", b"no Matroska at all".to_vec()),
            ("nothing", vec![]),
        ] {
            assert_eq!(broken(&bytes, Duration::ZERO), None, "{name}");
        }
    }

    #[test]
    fn damage_is_found_where_it_begins() {
        let clusters: Vec<Vec<u8>> = (0..200).map(|n| cluster(n, n % 2 == 0, &[])).collect();
        let whole = segment(&[0xFF], &clusters.concat());
        let start = |n: usize| 10 + clusters[..n].iter().map(Vec::len).sum::<usize>();
        for n in [0, 1, 2, 50, 199] {
            // The head of the cluster's second block.
            let at = start(n) + 5 + 6 + 6;
            for noise in [[0x11, 0x22], [0x00, 0x00], [0xFF, 0xFF], [0x42, 0x99]] {
                let mut bytes = whole.clone();
                bytes[at..at + 2].copy_from_slice(&noise);
                for since in [0, n.saturating_sub(1)] {
                    let found = broken(&bytes, Duration::from_secs(since as u64));
                    assert_eq!(found, Some(at as u64), "cluster {n} from {since} s on, {noise:02x?}");
                }
                // Far behind it nobody looks.
                if n % 2 == 0 && n + 40 < 200 {
                    assert_eq!(broken(&bytes, Duration::from_secs(n as u64 + 40)), None);
                }
            }
        }
        let asked = Stop::new();
        asked.ask();
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = whole.clone();
        bytes[10] = 0;
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(broken_at(file.path(), Duration::ZERO, &Stop::new()), Some(10));
        assert_eq!(broken_at(file.path(), Duration::ZERO, &asked), None);
    }
}
