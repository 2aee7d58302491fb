//! What comes out of the multiplexer of fragmented MP4: its head, and a fragment for each picture (ISO/IEC 14496-12).

use super::broadcast::{Broadcast, Chunk};
use crate::sink::outlet::AccessUnit;

/// A box that claims to be larger is none of ours.
const LARGEST: usize = 1 << 26;
/// NAL units of H.264 (ITU-T H.264, table 7-1): a coded slice of a key picture, sequence and picture parameter sets.
const IDR_SLICE: u8 = 5;
const SEQUENCE_SET: u8 = 7;
const PICTURE_SET: u8 = 8;

/// Cuts a stream of boxes into the head and fragments.
#[derive(Default)]
pub(super) struct Cutter {
    /// Bytes of boxes that are not whole yet.
    rest: Vec<u8>,
    /// What belongs together so far: the head, or a fragment before its data.
    part: Vec<u8>,
}

impl Cutter {
    /// Hands what is whole to all who read.
    pub(super) fn hand_out(&mut self, bytes: &[u8], stream: &Broadcast) {
        self.rest.extend_from_slice(bytes);
        while let Some((kind, length)) = whole_box(&self.rest) {
            let body: Vec<u8> = self.rest.drain(..length).collect();
            self.part.extend_from_slice(&body);
            match &kind {
                b"moov" => stream.begin(Chunk::from(std::mem::take(&mut self.part))),
                b"mdat" => {
                    let key = nal_types(&body).any(|kind| kind == IDR_SLICE);
                    stream.offer(&Chunk::from(std::mem::take(&mut self.part)), key);
                }
                _ => {}
            }
        }
    }
}

/// Type and length of the first box, if all of it is there.
fn whole_box(bytes: &[u8]) -> Option<([u8; 4], usize)> {
    let length = usize::try_from(u32::from_be_bytes(bytes.first_chunk().copied()?)).ok()?;
    let kind = bytes.get(4..8)?.first_chunk().copied()?;
    ((8..=LARGEST).contains(&length) && bytes.len() >= length).then_some((kind, length))
}

/// The types of the NAL units in a box of data, each behind its length in four bytes.
fn nal_types(data: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = data.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(rest.first_chunk().copied()?) as usize;
        let kind = rest.get(4)? & 0x1f;
        rest = rest.get(4 + length..).unwrap_or_default();
        Some(kind)
    })
}

/// The parameter sets in front of a key picture, as bytes.
pub(super) fn parameter_sets(unit: &AccessUnit) -> Vec<u8> {
    let Ok(bytes) = unit.buffer.map_readable() else { return Vec::new() };
    let mut sets = Vec::new();
    // A byte stream (annex B): units are behind 00 00 01, and a key picture's slices behind the sets.
    let starts: Vec<usize> = memchr::memmem::find_iter(&bytes, &[0, 0, 1]).map(|at| at + 3).collect();
    for (number, start) in starts.iter().enumerate() {
        let kind = bytes.get(*start).map_or(0, |byte| byte & 0x1f);
        if kind == IDR_SLICE {
            break;
        }
        if matches!(kind, SEQUENCE_SET | PICTURE_SET) {
            let end = starts.get(number + 1).map_or(bytes.len(), |next| next - 3);
            sets.extend_from_slice(bytes.get(*start..end).unwrap_or_default());
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn made(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut all = (8 + body.len() as u32).to_be_bytes().to_vec();
        all.extend_from_slice(kind);
        all.extend_from_slice(body);
        all
    }

    fn nal(kind: u8) -> Vec<u8> {
        vec![0, 0, 0, 3, 0x60 | kind, 1, 2]
    }

    #[test]
    fn boxes_are_cut_wherever_buffers_end() {
        let head = [made(b"ftyp", b"isom"), made(b"moov", &[7; 40])].concat();
        let fragments = [
            [made(b"moof", &[1; 20]), made(b"mdat", &[nal(6), nal(IDR_SLICE)].concat())].concat(),
            [made(b"moof", &[2; 20]), made(b"mdat", &nal(1))].concat(),
        ];
        let all = [head.clone(), fragments[0].clone(), fragments[1].clone()].concat();
        for step in [1, 7, 50, all.len()] {
            let stream = Broadcast::new(Arc::default());
            let mut reader = stream.subscribe().unwrap();
            let mut cutter = Cutter::default();
            all.chunks(step).for_each(|bytes| cutter.hand_out(bytes, &stream));
            stream.end();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for want in [&head, &fragments[0], &fragments[1]] {
                let got = runtime.block_on(reader.next()).unwrap();
                assert_eq!(&got[..], &want[..], "in steps of {step}");
            }
            assert!(runtime.block_on(reader.next()).is_none());
        }
    }

    #[test]
    fn what_is_no_box_is_kept_back() {
        for bytes in [&[0, 0, 0, 4, b'm', b'd', b'a', b't', 0, 0][..], &[255; 64], &[0; 3]] {
            let stream = Broadcast::new(Arc::default());
            Cutter::default().hand_out(bytes, &stream);
            assert_eq!(whole_box(bytes), None);
        }
        assert_eq!(nal_types(&made(b"mdat", &[255; 9])).collect::<Vec<_>>(), [31]);
        assert_eq!(nal_types(&[1, 2]).count(), 0);
    }
}
