//! The range of luma as VP9 and AV1 streams say it. GStreamer's parsers hand it on only together with a matrix, and its
//! decoders for these not at all.

/// Whether luma is 0..=255, by the first bytes of a packet of this kind; `None` if the packet does not say.
pub(super) fn full_range(kind: &str, packet: &[u8]) -> Option<bool> {
    match kind {
        "video/x-vp9" => vp9(Bits::new(packet)),
        "video/x-av1" => av1(packet),
        _ => None,
    }
}

/// Whether [`full_range`] knows streams of this kind.
pub(super) fn knows(kind: &str) -> bool {
    matches!(kind, "video/x-vp9" | "video/x-av1")
}

/// Bits from the highest to the lowest of each byte.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn new(bytes: &[u8]) -> Bits<'_> {
        Bits { bytes, at: 0 }
    }

    fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    fn number(&mut self, bits: u32) -> Option<u64> {
        (0..bits).try_fold(0, |n, _| Some(n << 1 | u64::from(self.flag()?)))
    }
}

/// The uncompressed header of a key frame (VP9 bitstream specification, 6.2 and 6.2.2).
fn vp9(mut bits: Bits) -> Option<bool> {
    if bits.number(2)? != 2 {
        return None;
    }
    let profile = u64::from(bits.flag()?) | u64::from(bits.flag()?) << 1;
    if profile == 3 {
        bits.flag()?;
    }
    let (shows_existing, inter) = (bits.flag()?, bits.flag()?);
    // show_frame, error_resilient_mode
    bits.number(2)?;
    if shows_existing || inter || bits.number(24)? != 0x49_83_42 {
        return None;
    }
    if profile >= 2 {
        bits.flag()?;
    }
    const RGB: u64 = 7;
    if bits.number(3)? == RGB { Some(true) } else { bits.flag() }
}

/// Finds the sequence header among the OBUs of a packet (AV1 bitstream specification, 5.3).
fn av1(mut packet: &[u8]) -> Option<bool> {
    const SEQUENCE_HEADER: u8 = 1;
    loop {
        let head = *packet.first()?;
        packet = packet.get(if head & 4 == 0 { 1 } else { 2 }..)?;
        let mut size = packet.len();
        if head & 2 != 0 {
            let len = packet.iter().take(8).position(|byte| byte & 0x80 == 0)? + 1;
            let number = packet[..len].iter().rev().fold(0_u64, |n, byte| n << 7 | u64::from(byte & 0x7F));
            packet = &packet[len..];
            size = usize::try_from(number).ok()?;
        }
        let content = packet.get(..size)?;
        if head >> 3 & 0xF == SEQUENCE_HEADER {
            return sequence_header(Bits::new(content));
        }
        packet = &packet[size..];
    }
}

/// The sequence header up to its colours (AV1 bitstream specification, 5.5).
fn sequence_header(mut bits: Bits) -> Option<bool> {
    let profile = bits.number(3)?;
    bits.flag()?;
    let reduced = bits.flag()?;
    if reduced {
        bits.number(5)?;
    } else {
        operating_points(&mut bits)?;
    }
    let (width_bits, height_bits) = (bits.number(4)? as u32 + 1, bits.number(4)? as u32 + 1);
    bits.number(width_bits)?;
    bits.number(height_bits)?;
    if !reduced && bits.flag()? {
        bits.number(7)?;
    }
    // Block size, intra filters.
    bits.number(3)?;
    if !reduced {
        // Compound modes, warped motion, dual filter.
        bits.number(4)?;
        let order_hint = bits.flag()?;
        if order_hint {
            bits.number(2)?;
        }
        let screen_content = bits.flag()? || bits.flag()?;
        if screen_content && !bits.flag()? {
            bits.flag()?;
        }
        if order_hint {
            bits.number(3)?;
        }
    }
    // Super-resolution, CDEF, restoration.
    bits.number(3)?;
    let deep = bits.flag()?;
    if profile == 2 && deep {
        bits.flag()?;
    }
    let grey = profile != 1 && bits.flag()?;
    let described = if bits.flag()? { bits.number(24)? } else { 0 };
    // BT.709 primaries, the transfer function of sRGB and no matrix: R'G'B'.
    const RGB: u64 = 0x01_0D_00;
    if !grey && described == RGB { Some(true) } else { bits.flag() }
}

/// Timing and operating points of a sequence header.
fn operating_points(bits: &mut Bits) -> Option<()> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.number(64)?;
        if bits.flag()? {
            // A number whose length stands before it in zeros.
            let mut zeros = 0;
            while !bits.flag()? {
                zeros += 1;
            }
            bits.number(zeros)?;
        }
        if bits.flag()? {
            delay_bits = Some(bits.number(5)? as u32 + 1);
            bits.number(32 + 5 + 5)?;
        }
    }
    let display_delay = bits.flag()?;
    let points = bits.number(5)? + 1;
    for _ in 0..points {
        bits.number(12)?;
        if bits.number(5)? > 7 {
            bits.flag()?;
        }
        if let Some(length) = delay_bits
            && bits.flag()?
        {
            bits.number(2 * length + 1)?;
        }
        if display_delay && bits.flag()? {
            bits.number(4)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a string of bits, blanks left out.
    fn bytes(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        bits.chunks(8)
            .map(|eight| eight.iter().enumerate().fold(0, |n, (i, bit)| n | bit << (7 - i)))
            .collect()
    }

    #[test]
    fn vp9_key_frames_tell() {
        let sync = "01001001 10000011 01000010";
        for (bits, want) in [
            (format!("10 00 0 0 11 {sync} 000 1"), Some(true)),
            (format!("10 00 0 0 11 {sync} 010 0"), Some(false)),
            (format!("10 01 0 0 11 {sync} 1 000 1"), Some(true)),
            (format!("10 11 0 0 0 11 {sync} 0 101 0"), Some(false)),
            (format!("10 10 0 0 11 {sync} 111"), Some(true)),
            ("10 00 0 1 11 00000000".into(), None),
            ("10 00 1 00000000".into(), None),
        ] {
            assert_eq!(full_range("video/x-vp9", &bytes(&bits)), want, "{bits}");
        }
    }

    #[test]
    fn av1_sequence_headers_tell() {
        // Main profile, one operating point, 16x16; order hints on; then colours of 8 bits without a description.
        let head = "000 0 0 0 0 00000 000000000000 00001 0011 0011 1111 1111 0 000 0000 1 00 1 1 110 000";
        for (colours, want) in
            [("0 0 0 1", true), ("0 0 0 0", false), ("1 0 1 00001001 00010000 00001001 1", true)]
        {
            let header = bytes(&format!("{head} {colours}"));
            let mut packet = vec![0x12, 0x00, 0x0A, header.len() as u8];
            packet.extend(header);
            assert_eq!(full_range("video/x-av1", &packet), Some(want), "{colours}");
        }
        assert_eq!(full_range("video/x-av1", &[0x12, 0x00, 0x32, 0x01, 0x10]), None);
        assert!(knows("video/x-av1") && !knows("video/x-h264"));
    }

    #[test]
    fn any_bytes_have_an_answer() {
        let mut noise = 1_u32;
        for len in 0..2000 {
            let packet: Vec<u8> = (0..len % 40)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (noise >> 24) as u8
                })
                .collect();
            full_range("video/x-vp9", &packet);
            full_range("video/x-av1", &packet);
        }
    }
}
