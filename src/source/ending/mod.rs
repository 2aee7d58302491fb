//! Whether a video file ends where its own structure says that it ends. Demuxers take a
//! recording that was cut off for one that is over; the index of the container tells better.

mod iso;
mod matroska;
mod riff;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

pub(super) use matroska::broken_at;

/// How a video file ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// Where its structure says.
    Whole,
    /// Too early; what is missing.
    Cut(String),
    /// Nothing can be played because the index was never written; what is missing.
    NoIndex(String),
    /// The container is none of those known here, or does not tell.
    Unknown,
}

/// Looks at the structure of a file: ISO base media (MP4, MOV), Matroska, AVI, Flash and MPEG
/// transport streams. Reads indices and heads, no pictures.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn look(path: &Path) -> std::io::Result<Ending> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut head = Vec::with_capacity(1024);
    Read::by_ref(&mut file).take(1024).read_to_end(&mut head)?;
    if head.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]) {
        return matroska::look(&mut file, len);
    }
    if head.starts_with(b"RIFF") {
        return riff::look(&mut file, len);
    }
    if head.starts_with(b"FLV\x01") {
        return flash(&mut file, len);
    }
    for (packet, first) in [(188_u64, 0_u64), (192, 4), (204, 0)] {
        let sync = |n: u64| head.get((first + n * packet) as usize) == Some(&SYNC);
        if sync(0) && sync(1) && sync(2) {
            return transport_stream(&mut file, len, packet, first);
        }
    }
    Ok(iso::look(&mut file, len)?.unwrap_or(Ending::Unknown))
}

/// The first byte of a packet of a transport stream.
const SYNC: u8 = 0x47;

fn cut(declared: u64, len: u64) -> Ending {
    Ending::Cut(format!("the file has {len} bytes of the {declared} that it announces"))
}

/// What is left behind the last whole packet begins one, or is none of the stream.
fn transport_stream(file: &mut File, len: u64, packet: u64, first: u64) -> std::io::Result<Ending> {
    let rest = len % packet;
    let mut sync = [0];
    let begun = rest > first && read_at(file, len - rest + first, &mut sync)? == 1 && sync[0] == SYNC;
    Ok(if begun {
        Ending::Cut("the file ends within a transport stream packet".into())
    } else {
        Ending::Whole
    })
}

/// Walks the tags (Adobe Flash Video File Format Specification, E.2 to E.4). Nothing tells which is the
/// last: a cut between two is left to the announced length.
fn flash(file: &mut File, len: u64) -> std::io::Result<Ending> {
    let mut position = 9 + 4;
    let mut head = [0; 11];
    while read_at(file, position, &mut head)? == 11 {
        let [kind, s0, s1, s2, ..] = head;
        if !matches!(kind & 0x1F, 8 | 9 | 18) {
            break;
        }
        let end = position + 11 + u64::from(u32::from_be_bytes([0, s0, s1, s2]));
        if end > len {
            return Ok(cut(end, len));
        }
        position = end + 4;
    }
    Ok(Ending::Unknown)
}

/// Fills as much of `buffer` as the file has at `position`.
fn read_at(file: &mut File, position: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
    file.seek(SeekFrom::Start(position))?;
    let mut had = 0;
    while had < buffer.len() {
        match file.read(&mut buffer[had..])? {
            0 => break,
            n => had += n,
        }
    }
    Ok(had)
}

/// The `count` bytes at `position`, or as many as there are.
fn read_up_to(file: &mut File, position: u64, count: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
