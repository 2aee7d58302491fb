//! The capture time inside the H.264 stream: a precision time stamp (MISB ST 0604) before the slices of a picture, which
//! stays with it through RTSP, MPEG-TS, MP4 and whatever it is copied into.

use jiff::Timestamp;
use memchr::memmem;

/// A NAL unit of supplemental enhancement information, unregistered user data of 28 bytes (ITU-T H.264, D.1.7).
const HEAD: [u8; 7] = [0, 0, 0, 1, 6, 5, 28];
/// Whose data it is (MISB ST 0604).
const UUID: &[u8; 16] = b"MISPmicrosectime";
/// Nothing is known of how well the clock is kept, and time goes on without steps (MISB ST 0603); reserved bits are set.
const STATUS: u8 = 0b1001_1111;
/// The end of a NAL unit's data.
const TRAILING: u8 = 0x80;

/// The NAL unit, with its start code, that says when a picture was captured: microseconds since 1970 without leap seconds,
/// as POSIX counts them. Between each two bytes of the time lies 0xFF, so that none look like a start code.
fn nal_unit(utc: Timestamp) -> [u8; 36] {
    let time = u64::try_from(utc.as_microsecond()).unwrap_or_default().to_be_bytes();
    let mut unit = [0xFF; 36];
    unit[..7].copy_from_slice(&HEAD);
    unit[7..23].copy_from_slice(UUID);
    unit[23] = STATUS;
    for (to, two) in unit[24..35].chunks_mut(3).zip(time.chunks(2)) {
        to[..2].copy_from_slice(two);
    }
    unit[35] = TRAILING;
    unit
}

/// The access unit `unit` (byte stream, ITU-T H.264, annex B) with the time at which it was captured. It comes after
/// everything that precedes the first slice: delimiter, parameter sets and other messages. `None` if there is no slice.
pub(super) fn stamped(unit: &[u8], utc: Timestamp) -> Option<Vec<u8>> {
    let at = first_slice(unit)?;
    let (before, slices) = unit.split_at(at);
    Some([before, &nal_unit(utc), slices].concat())
}

/// Where the start code of the first slice begins, or that of a prefix which belongs to it.
fn first_slice(unit: &[u8]) -> Option<usize> {
    const SLICES: [u8; 7] = [1, 2, 3, 4, 5, 14, 20];
    memmem::find_iter(unit, &[0, 0, 1]).find_map(|at| {
        let kind = unit.get(at + 3)? & 0x1F;
        // A fourth byte belongs to the start code.
        let long = at > 0 && unit[at - 1] == 0;
        SLICES.contains(&kind).then(|| at - usize::from(long))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUD: &[u8] = &[0, 0, 0, 1, 9, 0xF0];
    const SPS: &[u8] = &[0, 0, 0, 1, 0x67, 0x42, 0x00, 0x0A, 0, 0, 3, 1];
    const PPS: &[u8] = &[0, 0, 1, 0x68, 0xCE];
    const SEI: &[u8] = &[0, 0, 1, 6, 1, 1, 0xFF, 0x80];

    fn utc() -> Timestamp {
        Timestamp::from_microsecond(0x0006_2B00_0102_0304).unwrap()
    }

    #[test]
    fn the_message_is_that_of_the_standard() {
        let unit = nal_unit(utc());
        assert_eq!(unit[..7], [0, 0, 0, 1, 6, 5, 28]);
        assert_eq!(&unit[7..23], b"MISPmicrosectime");
        assert_eq!(unit[23..], [0x9F, 0, 6, 0xFF, 0x2B, 0, 0xFF, 1, 2, 0xFF, 3, 4, 0x80]);
    }

    #[test]
    fn no_time_looks_like_a_start_code_or_needs_an_emulation_prevention_byte() {
        for time in [0, 1, 0x100, 0x1_0000, 0x300_0000, 0x1_0000_0000, 0x3_0000_0001, 0x6_2B00_0000_0003_i64]
        {
            let unit = nal_unit(Timestamp::from_microsecond(time).unwrap());
            let clash = unit[4..].windows(3).find(|three| three[..2] == [0, 0] && three[2] <= 3);
            assert_eq!(clash, None, "{time:#x}: {unit:x?}");
        }
        // Before 1970 there is no picture.
        assert_eq!(nal_unit(Timestamp::from_microsecond(-5).unwrap()), nal_unit(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn it_lies_before_the_first_slice_and_behind_all_else() {
        let message = nal_unit(utc());
        for slice in [
            &[0, 0, 0, 1, 0x65, 0x88, 0, 0, 3, 1][..],
            &[0, 0, 1, 0x41, 0x9A],
            &[0, 0, 1, 0x6E, 0x40, 0, 0, 1, 0x65, 0x88],
        ] {
            for before in [vec![], vec![AUD], vec![AUD, SPS, PPS], vec![AUD, SPS, PPS, SEI], vec![PPS, SEI]] {
                let before = before.concat();
                // A second slice stays behind the first.
                let slices = [slice, &[0, 0, 1, 0x41, 0x9B]].concat();
                let got = stamped(&[&before[..], &slices].concat(), utc()).unwrap();
                assert_eq!(got, [&before[..], &message, &slices].concat());
            }
        }
    }

    #[test]
    fn what_has_no_slice_gets_no_time() {
        for unit in [&[][..], AUD, &[AUD, SPS, PPS].concat(), &[0, 0, 1], &[0, 0, 0, 1], &[1, 2, 3]] {
            assert_eq!(stamped(unit, utc()), None, "{unit:?}");
        }
    }
}
