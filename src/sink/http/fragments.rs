//! What comes out of the multiplexer of fragmented MP4: its head, and a fragment for each picture (ISO/IEC 14496-12).

use std::ops::Range;
use std::time::Duration;

use super::broadcast::{Broadcast, Chunk};
use crate::sink::h264::{IDR_SLICE, avc_types};

/// A box that claims to be larger is none of ours.
const LARGEST: usize = 1 << 26;

/// Cuts a stream of boxes into the head and fragments.
#[derive(Default)]
pub(super) struct Cutter {
    /// Bytes of boxes that are not whole yet.
    rest: Vec<u8>,
    /// What belongs together so far: the head, or a fragment before its data.
    part: Vec<u8>,
    /// Where the multiplexer's time 0 lies in the stream that readers see.
    begin: Duration,
    /// The same in units of the media's time; known from the head on.
    shift: u64,
}

impl Cutter {
    /// For a multiplexer that begins `begin` after the readers' time 0: its own times begin at 0.
    pub(super) fn new(begin: Duration) -> Cutter {
        Cutter { begin, ..Cutter::default() }
    }

    /// Hands what is whole to all who read.
    pub(super) fn hand_out(&mut self, bytes: &[u8], stream: &Broadcast) {
        self.rest.extend_from_slice(bytes);
        while let Some((kind, length)) = whole_box(&self.rest) {
            let mut body: Vec<u8> = self.rest.drain(..length).collect();
            if &kind == b"moof" {
                delay(&mut body, self.shift);
            }
            self.part.extend_from_slice(&body);
            match &kind {
                b"moov" => {
                    let timescale = timescale(&body);
                    if timescale.is_none() && !self.begin.is_zero() {
                        tracing::warn!("the MP4 stream's time scale is unknown: its time begins at 0 again");
                    }
                    let units = self.begin.as_nanos() * u128::from(timescale.unwrap_or(0));
                    self.shift = u64::try_from(units / 1_000_000_000).unwrap_or(0);
                    stream.begin(Chunk::from(std::mem::take(&mut self.part)));
                }
                b"mdat" => {
                    let key = avc_types(body.get(8..).unwrap_or_default()).any(|kind| kind == IDR_SLICE);
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

/// The body of the box at the end of a path of boxes, the first of which is the first in `bytes`.
fn body_at(bytes: &[u8], path: &[&[u8; 4]]) -> Option<Range<usize>> {
    let mut within = 0..bytes.len();
    for wanted in path {
        loop {
            let (kind, length) = whole_box(bytes.get(within.clone())?)?;
            if kind == **wanted {
                within = within.start + 8..within.start + length;
                break;
            }
            within.start += length;
        }
    }
    Some(within)
}

/// Units per second of the times in the fragments, from the head (`mdhd`, ISO/IEC 14496-12, 8.4.2).
fn timescale(moov: &[u8]) -> Option<u32> {
    let header = &moov[body_at(moov, &[b"moov", b"trak", b"mdia", b"mdhd"])?];
    // Behind two times of 4 bytes each, in version 1 of 8.
    let at = if *header.first()? == 1 { 20 } else { 12 };
    header.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Puts a fragment later by so many units (`tfdt`, ISO/IEC 14496-12, 8.8.12); not if its time has no room for that.
fn delay(moof: &mut [u8], units: u64) {
    let Some(time) = body_at(moof, &[b"moof", b"traf", b"tfdt"]) else { return };
    let [version, _, _, _, time @ ..] = &mut moof[time] else { return };
    if *version == 1 {
        if let Some(time) = time.first_chunk_mut() {
            *time = u64::from_be_bytes(*time).saturating_add(units).to_be_bytes();
        }
    } else if let Some(time) = time.first_chunk_mut()
        && let Ok(later) = u32::try_from(u64::from(u32::from_be_bytes(*time)) + units)
    {
        *time = later.to_be_bytes();
    }
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

    /// A head whose times have so many units per second, and a fragment at a time, in either version of the boxes.
    fn timed(version: u8, units: u32, time: u32) -> [Vec<u8>; 2] {
        let wide = |n: u32| {
            if version == 1 { u64::from(n).to_be_bytes().to_vec() } else { n.to_be_bytes().to_vec() }
        };
        let mdhd = [&[version, 0, 0, 0][..], &wide(3), &wide(4), &units.to_be_bytes(), &[9; 8]].concat();
        let mdia = made(b"mdia", &[made(b"hdlr", &[0; 5]), made(b"mdhd", &mdhd)].concat());
        let trak = made(b"trak", &[made(b"tkhd", &[1; 30]), mdia].concat());
        let moov = made(b"moov", &[made(b"mvhd", &[2; 30]), trak].concat());
        let tfdt = made(b"tfdt", &[&[version, 0, 0, 0][..], &wide(time)].concat());
        let traf = made(b"traf", &[made(b"tfhd", &[7; 8]), tfdt, made(b"trun", &[5; 12])].concat());
        [moov, made(b"moof", &[made(b"mfhd", &[0; 8]), traf].concat())]
    }

    #[test]
    fn a_multiplexer_that_begins_later_goes_on_where_the_last_one_was() {
        for version in [0, 1] {
            let [head, fragment] = timed(version, 3000, 700);
            assert_eq!(timescale(&head), Some(3000));
            let stream = Broadcast::new(Arc::default());
            let mut reader = stream.subscribe().unwrap();
            let mut cutter = Cutter::new(Duration::from_millis(2500));
            let data = made(b"mdat", &nal(IDR_SLICE));
            cutter.hand_out(&[&head[..], &fragment, &data].concat(), &stream);
            stream.end();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let got: Vec<_> = (0..2).map(|_| runtime.block_on(reader.next()).unwrap()).collect();
            let [head, later] = timed(version, 3000, 700 + 7500);
            assert_eq!(
                (&got[0][..], &got[1][..]),
                (&head[..], &[later, data].concat()[..]),
                "version {version}"
            );
        }
    }

    #[test]
    fn what_cannot_be_delayed_stays() {
        let [_, mut late] = timed(0, 1, u32::MAX);
        let before = late.clone();
        delay(&mut late, 1);
        assert_eq!(late, before, "32 bits have no room for it");
        for length in 0..before.len() {
            let mut cut = before[..length].to_vec();
            delay(&mut cut, 1);
            assert_eq!(timescale(&cut), None);
        }
        let mut none = made(b"moof", &made(b"traf", &made(b"tfdt", &[])));
        delay(&mut none, 1);
    }

    #[test]
    fn what_is_no_box_is_kept_back() {
        for bytes in [&[0, 0, 0, 4, b'm', b'd', b'a', b't', 0, 0][..], &[255; 64], &[0; 3]] {
            let stream = Broadcast::new(Arc::default());
            Cutter::default().hand_out(bytes, &stream);
            assert_eq!(whole_box(bytes), None);
        }
        assert_eq!(avc_types(&[255; 9]).collect::<Vec<_>>(), [31]);
        assert_eq!(avc_types(&[1, 2]).count(), 0);
    }
}
