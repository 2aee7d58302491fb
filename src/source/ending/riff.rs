//! AVI files: whole if the chunks of their pictures and sound end inside them.

use std::fs::File;

use super::{Ending, cut, read_at};

/// Walks the RIFF lists of the file (OpenDML writes several), and the chunks of one whose size cannot be:
/// recorders write 0 or 0xFFFFFFFF first and the true size last.
pub(super) fn look(file: &mut File, len: u64) -> std::io::Result<Ending> {
    let mut position = 0;
    while let Some((_, size)) = chunk(file, position)?.filter(|(kind, _)| kind == b"RIFF") {
        let end = position + 8 + size;
        let unwritten = [0, u64::from(u32::MAX), u64::from(u32::MAX / 2)].contains(&size);
        if unwritten || end > len {
            return chunks(file, position + 12, (!unwritten).then_some(end), len);
        }
        position = end + end % 2;
    }
    Ok(Ending::Whole)
}

/// Walks the chunks from `position` on; lists are entered. `announced` is where the RIFF list ends by its
/// own word.
fn chunks(file: &mut File, mut position: u64, announced: Option<u64>, len: u64) -> std::io::Result<Ending> {
    while position < len {
        let Some((kind, size)) = chunk(file, position)? else {
            break;
        };
        // A name of four letters; other bytes are padding behind the last chunk.
        if !kind.iter().all(|byte| matches!(byte, 0x20..0x7F)) {
            return Ok(Ending::Whole);
        }
        if matches!(&kind, b"LIST" | b"RIFF") {
            position += 12;
            continue;
        }
        let end = position + 8 + size;
        if &kind == b"idx1" {
            // The index comes last: what it tells of lies before it.
            return Ok(Ending::Whole);
        }
        if end > len {
            return Ok(cut(announced.unwrap_or(end), len));
        }
        position = end + end % 2;
    }
    Ok(announced.map_or(Ending::Whole, |end| cut(end, len)))
}

/// Name and size of the chunk at `position`; `None` if the file ends before.
fn chunk(file: &mut File, position: u64) -> std::io::Result<Option<([u8; 4], u64)>> {
    let mut head = [0; 8];
    let had = read_at(file, position, &mut head)?;
    let [k0, k1, k2, k3, size @ ..] = head;
    Ok((had == 8).then(|| ([k0, k1, k2, k3], u32::from_le_bytes(size).into())))
}
