//! How a picture is to be turned, by its EXIF data (CIPA DC-008, TIFF 6.0).

use image::metadata::Orientation;

/// What the tag `Orientation` in EXIF data says, with or without the name `Exif\0\0` before it. `None` if it says
/// nothing that can be understood. The number is a SHORT by the standard; some programs write a LONG or a BYTE.
pub fn orientation(exif: &[u8]) -> Option<Orientation> {
    const TAG: u32 = 0x0112;
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let number = |at: usize, len: usize| -> Option<u32> {
        let bytes = tiff.get(at..at.checked_add(len)?)?;
        let add = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        Some(if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
    };
    let directory = number(4, 4)? as usize;
    let entries = number(directory, 2)? as usize;
    let (_, kind, value) = (0..entries)
        .map_while(|n| {
            let at = directory.checked_add(2 + 12 * n)?;
            Some((number(at, 2)?, number(at + 2, 2)?, at + 8))
        })
        .find(|(tag, ..)| *tag == TAG)?;
    let len = match kind {
        1 => 1,
        3 => 2,
        4 => 4,
        _ => return None,
    };
    Orientation::from_exif(u8::try_from(number(value, len)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two entries, of which the second is the orientation.
    fn exif(little: bool, kind: u16, value: u32) -> Vec<u8> {
        let word = |v: u16| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        let long = |v: u32| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        let stored = match kind {
            1 => [value as u8, 0, 0, 0],
            3 => [word(value as u16), [0; 2]].concat().try_into().unwrap(),
            _ => long(value),
        };
        let entry =
            |tag: u16, kind: u16, stored: [u8; 4]| [&word(tag)[..], &word(kind), &long(1), &stored].concat();
        let head = if little { b"II*\0" } else { b"MM\0*" };
        let entries = [entry(0x0100, 4, long(64)), entry(0x0112, kind, stored)].concat();
        [&head[..], &long(8), &word(2), &entries, &long(0)].concat()
    }

    #[test]
    fn every_integer_in_both_orders_is_read() {
        for little in [true, false] {
            for kind in [1, 3, 4] {
                for (value, want) in (1..=8).map(|v| (v, Orientation::from_exif(v as u8))) {
                    let bytes = exif(little, kind, value);
                    assert!(want.is_some());
                    assert_eq!(orientation(&bytes), want, "{little} {kind} {value}");
                    assert_eq!(orientation(&[b"Exif\0\0", &bytes[..]].concat()), want);
                }
            }
            for value in [0, 9, 256 + 6, u32::MAX] {
                assert_eq!(orientation(&exif(little, 4, value)), None, "{value}");
            }
            assert_eq!(orientation(&exif(little, 5, 6)), None, "a fraction");
        }
    }

    #[test]
    fn damaged_data_are_no_trouble() {
        let whole = exif(true, 4, 6);
        for at in 0..whole.len() {
            let cut = orientation(&whole[..at]);
            assert!(cut.is_none() || at >= whole.len() - 4, "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 0xFF;
            orientation(&flipped);
        }
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff"), None);
    }
}
