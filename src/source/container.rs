//! What the head of a video file says of its tracks: how the picture is to be turned, and the range of its numbers.
//!
//! Demuxers hand on only part of it. GStreamer 1.22 knows no mirrored pictures, reads the range of MP4's `colr` box
//! from the wrong byte, and does not look at Matroska's projection.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use super::turn::Turn;

mod iso;
mod matroska;

/// One video track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Track {
    /// The track's number in the file; GStreamer's stream identifiers end in it.
    pub(super) number: u64,
    /// How the picture is to be turned; `None` if by an angle that is no quarter.
    pub(super) turn: Option<Turn>,
    /// Whether luma is 0..=255, if the container says so or says that it is not.
    pub(super) full_range: Option<bool>,
    /// Shorter than a fifth of an MP4 file, which GStreamer takes for a preview and leaves out.
    pub(super) brief: bool,
}

/// The head of a file is not larger than this, however long the recording.
const LARGEST: u64 = 256 << 20;

/// The video tracks of a recording in an ISO base media file (MP4, MOV) or Matroska; empty for anything else,
/// and for files that cannot be read so.
pub(super) fn tracks(path: &Path) -> Vec<Track> {
    let read = || -> Option<Vec<Track>> {
        let mut file = File::open(path).ok()?;
        let mut head = [0; 8];
        file.read_exact(&mut head).ok()?;
        file.rewind().ok()?;
        match head {
            [0x1A, 0x45, 0xDF, 0xA3, ..] => matroska::tracks(&mut file),
            _ => iso::tracks(&mut file),
        }
    };
    read().unwrap_or_default()
}

/// The track that a GStreamer stream identifier means: `.../003` of MP4, `.../003:1234` of Matroska.
pub(super) fn of_stream<'a>(tracks: &'a [Track], stream: &str) -> Option<&'a Track> {
    let last = stream.rsplit('/').next()?;
    let number: u64 = last.split(':').next()?.parse().ok()?;
    tracks.iter().find(|track| track.number == number)
}

/// Big-endian number of the bytes at `at..at + len`.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// How many programmes a transport stream carries (ISO/IEC 13818-1, 2.4.4.3), by its first program association table;
/// 0 for anything else.
pub(super) fn programmes(path: &Path) -> usize {
    let count = || -> Option<usize> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(1 << 20).read_to_end(&mut bytes).ok()?;
        let (size, first) = [(188, 0), (192, 4)]
            .into_iter()
            .find(|(size, first)| (0..3).all(|n| bytes.get(first + n * size) == Some(&0x47)))?;
        let packet = bytes
            .get(first..)?
            .chunks(size)
            .find(|p| p.get(1..3).is_some_and(|head| head[0] & 0x5F == 0x40 && head[1] == 0))?;
        let adaptation = if packet.get(3)? & 0x20 == 0 { 0 } else { usize::from(*packet.get(4)?) + 1 };
        let start = 4 + adaptation;
        let section = packet.get(start + 1 + usize::from(*packet.get(start)?)..)?;
        let len = number(section, 1, 2)? as usize & 0xFFF;
        // Behind 8 bytes of head and before the checksum; programme 0 is the network's own table.
        let list = section.get(8..(3 + len).checked_sub(4)?)?;
        Some(list.chunks_exact(4).filter(|entry| entry[..2] != [0, 0]).count())
    };
    count().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programmes_are_counted() {
        let table = |programmes: u16| {
            let mut packet =
                vec![0x47, 0x40, 0, 0x10, 0, 0, 0xB0, 9 + 4 * programmes as u8, 0, 1, 0xC1, 0, 0];
            (0..programmes).for_each(|n| packet.extend([0, n as u8, 0xE1, n as u8]));
            packet.resize(188, 0xFF);
            [packet.clone(), packet.clone(), packet].concat()
        };
        for (bytes, want) in
            [(table(1), 0), (table(2), 1), (table(4), 3), (vec![0x47; 20], 0), (vec![0x47; 600], 0)]
        {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            assert_eq!(programmes(file.path()), want);
        }
    }
}
