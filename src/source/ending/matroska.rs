//! Matroska and WebM files: whole if their segment, or its last element, ends inside them.

use std::fs::File;

use super::{Ending, cut, read_at};

/// What stands at a place.
enum Element {
    /// Identifier, size (`None`: unknown) and length of the head.
    Known(u32, Option<u64>, u64),
    /// The head of one, cut by the end of the file.
    Begun,
    /// No element.
    None,
}

/// Compares the segment's size with the file's, or walks the clusters if the segment's size was
/// never written (RFC 8794, RFC 9559).
pub(super) fn look(file: &mut File, len: u64) -> std::io::Result<Ending> {
    const SEGMENT: u32 = 0x1853_8067;
    let mut position = 0;
    let mut inside = false;
    while position < len {
        let (id, size, head) = match element(file, position)? {
            Element::Known(id, size, head) => (id, size, head),
            Element::Begun => return Ok(Ending::Cut("the file ends within the head of an element".into())),
            // Padding or a vendor's notes behind the last cluster.
            Element::None if inside => return Ok(Ending::Whole),
            Element::None => return Ok(Ending::Unknown),
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

/// The EBML element at `position`.
fn element(file: &mut File, position: u64) -> std::io::Result<Element> {
    let mut bytes = [0; 12];
    let had = read_at(file, position, &mut bytes)?;
    let id_len = bytes[0].leading_zeros() as usize + 1;
    if id_len > 4 {
        return Ok(Element::None);
    }
    if had <= id_len {
        return Ok(Element::Begun);
    }
    let id = bytes[..id_len].iter().fold(0, |id, b| id << 8 | u32::from(*b));
    let size_len = bytes[id_len].leading_zeros() as usize + 1;
    if size_len > 8 {
        return Ok(Element::None);
    }
    if had < id_len + size_len {
        return Ok(Element::Begun);
    }
    let mask = (1_u64 << (7 * size_len)) - 1;
    let size = bytes[id_len..id_len + size_len].iter().fold(0, |s, b| s << 8 | u64::from(*b)) & mask;
    Ok(Element::Known(id, (size != mask).then_some(size), (id_len + size_len) as u64))
}
