//! The elements of which Matroska and WebM files are made (EBML, RFC 8794).

/// Holds all the others but the first.
pub(super) const SEGMENT: u64 = 0x1853_8067;
/// Holds the blocks of some seconds.
pub(super) const CLUSTER: u64 = 0x1F43_B675;
/// Longer than any head of an element.
pub(super) const LONGEST_HEAD: usize = 12;

/// The head of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) id: u64,
    /// Bytes of its content; `None`: up to the next element that cannot be part of it.
    pub(super) size: Option<u64>,
    /// Bytes of the head itself.
    pub(super) head: usize,
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Element(Element),
    /// The head of one, which the bytes do not hold in full.
    Begun,
    /// No element.
    None,
}

/// What `bytes` begin with.
pub(super) fn element(bytes: &[u8]) -> Found {
    let Some(id_len) = bytes.first().map(|byte| byte.leading_zeros() as usize + 1) else {
        return Found::Begun;
    };
    if id_len > 4 {
        return Found::None;
    }
    let Some(size_len) = bytes.get(id_len).map(|byte| byte.leading_zeros() as usize + 1) else {
        return Found::Begun;
    };
    if size_len > 8 {
        return Found::None;
    }
    let (Some(id), Some(size)) = (number(bytes, 0, id_len), number(bytes, id_len, size_len)) else {
        return Found::Begun;
    };
    let mask = (1 << (7 * size_len)) - 1;
    let size = (size & mask != mask).then_some(size & mask);
    Found::Element(Element { id, size, head: id_len + size_len })
}

/// The elements that follow each other in `bytes`: identifier and content.
pub(super) fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let Found::Element(Element { id, size, head }) = element(bytes) else { return None };
        let end = head.checked_add(usize::try_from(size?).ok()?)?;
        let content = bytes.get(head..end)?;
        bytes = &bytes[end..];
        Some((id, content))
    })
}

/// Big-endian number of the bytes at `at..at + len`.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_and_cut_ones_told() {
        let one = |id, size, head| Found::Element(Element { id, size, head });
        for (bytes, want) in [
            (&[0xA3, 0x83, 1, 2, 3][..], one(0xA3, Some(3), 2)),
            (&[0xA3, 0xFF], one(0xA3, None, 2)),
            (&[0x18, 0x53, 0x80, 0x67, 0x40, 0x05], one(SEGMENT, Some(5), 6)),
            (&[0x1F, 0x43, 0xB6, 0x75, 1, 0, 0, 0, 0, 0, 1, 0], one(CLUSTER, Some(256), 12)),
            (&[0x1F, 0x43, 0xB6, 0x75, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], one(CLUSTER, None, 12)),
            (&[], Found::Begun),
            (&[0x1F, 0x43], Found::Begun),
            (&[0xA3, 0x40], Found::Begun),
            (&[0x07, 0x80], Found::None),
            (&[0xA3, 0x00], Found::None),
        ] {
            assert_eq!(element(bytes), want, "{bytes:02x?}");
        }
        let list: Vec<_> = elements(&[0xA3, 0x81, 7, 0xEC, 0x80, 0xA0, 0x89]).collect();
        assert_eq!(list, [(0xA3, &[7][..]), (0xEC, &[])]);
    }
}
