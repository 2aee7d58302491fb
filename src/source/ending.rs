//! Whether a video file ends where its own structure says that it ends. Demuxers take a
//! recording that was cut off for one that is over; the boxes of the container tell better.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How a video file ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// Where its structure says.
    Whole,
    /// Too early; what is missing.
    Cut(String),
    /// Nothing can be played because the index was never written; what is missing.
    NoIndex(String),
    /// The container is none of those known here.
    Unknown,
}

/// Looks at the structure of a file: ISO base media (MP4, MOV), Matroska, AVI and MPEG
/// transport streams. Reads a few bytes per top-level element.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn look(path: &Path) -> std::io::Result<Ending> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut head = Vec::with_capacity(1024);
    Read::by_ref(&mut file).take(1024).read_to_end(&mut head)?;
    let tag = |at: usize| head.get(at..at + 4).unwrap_or_default();
    if is_box(tag(4)) {
        return iso(&mut file, len);
    }
    if tag(0) == [0x1A, 0x45, 0xDF, 0xA3] {
        return matroska(&mut file, len);
    }
    if tag(0) == b"RIFF" {
        let declared = u64::from(u32::from_le_bytes(tag(4).try_into().unwrap_or_default())) + 8;
        return Ok(if declared > len { cut(declared, len) } else { Ending::Whole });
    }
    for (packet, first) in [(188_u64, 0_usize), (192, 4)] {
        let sync = |n: usize| head.get(first + n * packet as usize) == Some(&0x47);
        if sync(0) && sync(1) && sync(2) {
            return Ok(if len % packet == 0 {
                Ending::Whole
            } else {
                Ending::Cut("the file ends within a transport stream packet".into())
            });
        }
    }
    Ok(Ending::Unknown)
}

fn cut(declared: u64, len: u64) -> Ending {
    Ending::Cut(format!("the file has {len} bytes of the {declared} that it announces"))
}

/// Whether a type is one that stands at the top level of an ISO base media file.
fn is_box(kind: &[u8]) -> bool {
    const KINDS: [&[u8; 4]; 16] = [
        b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"styp", b"sidx", b"mfra",
        b"uuid", b"meta", b"emsg", b"prft", b"udta",
    ];
    KINDS.iter().any(|k| k.as_slice() == kind)
}

/// Walks the top-level boxes (ISO/IEC 14496-12, 4.2).
fn iso(file: &mut File, len: u64) -> std::io::Result<Ending> {
    let no_index = || {
        Ending::NoIndex(
            "its index (moov) is missing: the recorder was cut off before it wrote it; \
             a tool such as untrunc can repair it with a sound recording of the same camera"
                .into(),
        )
    };
    let (mut position, mut index, mut last) = (0, false, [0; 4]);
    let end = |index: bool, ending: Ending| Ok(if index { ending } else { no_index() });
    while position < len {
        let mut header = [0; 16];
        let had = read_at(file, position, &mut header)?;
        let [a, b, c, d, k0, k1, k2, k3, ..] = header;
        let kind = [k0, k1, k2, k3];
        if had < 8 {
            return end(index, Ending::Cut("the file ends within the head of a box".into()));
        }
        if !is_box(&kind) {
            // Recorders that reserve their file beforehand leave zeros behind the last box.
            let padding = header.iter().all(|byte| *byte == 0);
            let ending =
                if padding { Ending::Whole } else { Ending::Cut(format!("no box at byte {position}")) };
            return end(index, ending);
        }
        let size = match u64::from(u32::from_be_bytes([a, b, c, d])) {
            0 => len - position,
            1 if had == 16 => {
                let mut long = [0; 8];
                long.copy_from_slice(&header[8..]);
                u64::from_be_bytes(long)
            }
            size => size,
        };
        if size < 8 {
            return end(index, Ending::Cut(format!("a box of {size} bytes at byte {position}")));
        }
        let next = position.saturating_add(size);
        index |= &kind == b"moov" && next <= len;
        if next > len {
            return end(index, cut(next, len));
        }
        (position, last) = (next, kind);
    }
    // A fragment's head without its data.
    let ending =
        if &last == b"moof" { Ending::Cut("the last fragment has no data".into()) } else { Ending::Whole };
    end(index, ending)
}

/// Compares the segment's size with the file's, or walks the clusters if the segment's size was
/// never written (RFC 8794, RFC 9559).
fn matroska(file: &mut File, len: u64) -> std::io::Result<Ending> {
    const SEGMENT: u32 = 0x1853_8067;
    let mut position = 0;
    let mut inside = false;
    while position < len {
        let Some((id, size, head)) = element(file, position)? else {
            return Ok(Ending::Cut("the file ends within the head of an element".into()));
        };
        let body = position + head;
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

/// Identifier, size (`None`: unknown) and head length of the EBML element at `position`.
fn element(file: &mut File, position: u64) -> std::io::Result<Option<(u32, Option<u64>, u64)>> {
    let mut bytes = [0; 12];
    let had = read_at(file, position, &mut bytes)?;
    let id_len = bytes[0].leading_zeros() as usize + 1;
    if id_len > 4 || had <= id_len {
        return Ok(None);
    }
    let id = bytes[..id_len].iter().fold(0, |id, b| id << 8 | u32::from(*b));
    let size_len = bytes[id_len].leading_zeros() as usize + 1;
    if size_len > 8 || had < id_len + size_len {
        return Ok(None);
    }
    let mask = (1_u64 << (7 * size_len)) - 1;
    let size = bytes[id_len..id_len + size_len].iter().fold(0, |s, b| s << 8 | u64::from(*b)) & mask;
    Ok(Some((id, (size != mask).then_some(size), (id_len + size_len) as u64)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(list: &[(&[u8; 4], u32, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, size, body) in list {
            bytes.extend(size.to_be_bytes());
            bytes.extend(*kind);
            bytes.extend(vec![7; *body]);
        }
        bytes
    }

    #[test]
    fn the_structure_tells() {
        let padded = [boxes(&[(b"ftyp", 12, 4), (b"moov", 16, 8)]), vec![0; 64]].concat();
        let ebml = [0x1A, 0x45, 0xDF, 0xA3, 0x81, 0x00];
        let mkv =
            |size: u8, body: usize| [&ebml[..], &[0x18, 0x53, 0x80, 0x67, size], &vec![0; body]].concat();
        let mut ts = vec![0; 188 * 4];
        (0..4).for_each(|n| ts[n * 188] = 0x47);
        let cases: [(&str, Vec<u8>, &str); 13] = [
            ("whole", boxes(&[(b"ftyp", 12, 4), (b"moov", 16, 8), (b"mdat", 20, 12)]), "Whole"),
            ("open mdat", boxes(&[(b"ftyp", 12, 4), (b"moov", 16, 8), (b"mdat", 0, 12)]), "Whole"),
            ("cut mdat", boxes(&[(b"ftyp", 12, 4), (b"moov", 16, 8), (b"mdat", 99, 12)]), "Cut"),
            ("no moov", boxes(&[(b"ftyp", 12, 4), (b"mdat", 99, 12)]), "NoIndex"),
            ("cut moov", boxes(&[(b"ftyp", 12, 4), (b"moov", 99, 12)]), "NoIndex"),
            ("lone moof", boxes(&[(b"ftyp", 12, 4), (b"moov", 16, 8), (b"moof", 16, 8)]), "Cut"),
            ("reserved", padded, "Whole"),
            ("mkv", mkv(0x84, 4), "Whole"),
            ("cut mkv", mkv(0x85, 4), "Cut"),
            ("avi", b"RIFF\x04\0\0\0AVI ".to_vec(), "Whole"),
            ("cut avi", b"RIFF\x05\0\0\0AVI ".to_vec(), "Cut"),
            ("ts", ts.clone(), "Whole"),
            ("cut ts", ts[..700].to_vec(), "Cut"),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for (name, bytes, want) in cases {
            std::fs::write(&path, bytes).unwrap();
            let got = format!("{:?}", look(&path).unwrap());
            assert!(got.starts_with(want), "{name}: {got}");
        }
        std::fs::write(&path, "only text").unwrap();
        assert_eq!(look(&path).unwrap(), Ending::Unknown);
    }
}
