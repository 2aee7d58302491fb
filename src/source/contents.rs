//! What a file holds, told from its first bytes: a picture that is read, one that is not, or neither.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::jpeg;

/// What kind of file it is as far as still images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// JPEG, PNG, WebP or BMP.
    Picture,
    /// A picture or drawing of this format, which is not read.
    Unread(&'static str),
    /// What stands in a file's place: what it is, and how the file itself is had.
    Standin(&'static str, &'static str),
    /// No byte.
    Empty,
    /// Anything else, a video perhaps.
    Other,
}

/// Formats of pictures that are not read, by their first bytes.
const UNREAD: [(&[u8], &str); 28] = [
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"IIU\0", "a raw camera file"),
    (b"IIRO", "a raw camera file"),
    (b"MMOR", "a raw camera file"),
    (b"FUJIFILMCCD-RAW", "a raw camera file"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\xff\xd8\xff\xf7", "JPEG-LS"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"8BPS", "Photoshop"),
    (b"gimp xcf", "GIMP"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"#?RGBE", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"farbfeld", "farbfeld"),
    (b"AT&TFORM", "DjVu"),
    (b"SIMPLE  =", "FITS"),
];

/// Looks at the first bytes of `path`; its ending only tells motion JPEG from a JPEG, which starts alike, and Truevision's
/// format, which has no mark at its start.
///
/// # Errors
/// If it cannot be read.
pub(super) fn look(path: &Path) -> std::io::Result<Contents> {
    let mut head = Vec::with_capacity(512);
    std::fs::File::open(path)?.take(512).read_to_end(&mut head)?;
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    if matches!(ending.as_deref(), Some("mjpg" | "mjpeg")) {
        return Ok(Contents::Other);
    }
    Ok(match of(&head) {
        Contents::Other if ending.as_deref() == Some("tga") && is_tga(&head) => Contents::Unread("TGA"),
        contents => contents,
    })
}

/// Whether this can be the head of a Truevision TGA file: kinds of colour table and picture, size and depth.
fn is_tga(head: &[u8]) -> bool {
    matches!(head, [_, 0 | 1, 1..=3 | 9..=11, ..]) && matches!(head.get(16), Some(8 | 15 | 16 | 24 | 32))
}

/// The same from the first bytes, 512 if there are so many.
fn of(head: &[u8]) -> Contents {
    if head.is_empty() {
        return Contents::Empty;
    }
    if head.starts_with(b"version https://git-lfs") {
        return Contents::Standin("a Git LFS pointer", "fetch the file itself with `git lfs pull`");
    }
    if head.starts_with(b"/annex/objects/") {
        return Contents::Standin("a git-annex pointer", "fetch the file itself with `git annex get`");
    }
    if head.starts_with(b"\0\x05\x16\x07") {
        return Contents::Standin(
            "an AppleDouble file",
            "it keeps what macOS knows of the file without `._`",
        );
    }
    if let Some((_, name)) = UNREAD.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Contents::Unread(name);
    }
    if jpeg::is_jpeg(head) || image::guess_format(head).is_ok_and(|format| format.reading_enabled()) {
        return Contents::Picture;
    }
    if let Some(name) = boxed(head).or_else(|| drawn(head)).or_else(|| netpbm(head)) {
        return Contents::Unread(name);
    }
    Contents::Other
}

/// Pictures in ISO base media boxes (ISO/IEC 23008-12): told by the brand that leads. Those of image
/// sequences are left to the video decoders.
fn boxed(head: &[u8]) -> Option<&'static str> {
    let size = u32::from_be_bytes(head.get(..4)?.try_into().ok()?) as usize;
    if head.get(4..8)? != b"ftyp" {
        return None;
    }
    match head.get(8..12)? {
        b"avif" => Some("AVIF"),
        b"mif1" | b"mif2" | b"miaf" => {
            let brands = head.get(16..size.min(head.len())).unwrap_or_default();
            Some(if brands.chunks_exact(4).any(|brand| brand == b"avif") { "AVIF" } else { "HEIF" })
        }
        b"heic" | b"heix" | b"heim" | b"heis" => Some("HEIC"),
        b"crx " => Some("a raw camera file"),
        _ => None,
    }
}

/// SVG: text whose first element, after comments and declarations, is `svg`.
fn drawn(head: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    (text.starts_with('<') && text.to_ascii_lowercase().contains("<svg")).then_some("SVG")
}

/// PNM and PAM: `P1` to `P7`, white space, then a number, a comment or `WIDTH`.
fn netpbm(head: &[u8]) -> Option<&'static str> {
    let [b'P', b'1'..=b'7', b' ' | b'\n' | b'\t' | b'\r', first, ..] = head else {
        return None;
    };
    (first.is_ascii_digit() || matches!(first, b'#' | b'W')).then_some("PNM")
}

impl Contents {
    /// Why a file of this kind cannot be a source, and what to try; `None` if it may be one.
    pub(super) fn refusal(self) -> Option<String> {
        match self {
            Contents::Picture | Contents::Other => None,
            Contents::Empty => Some("the file is empty (0 bytes)".into()),
            Contents::Unread(name) => Some(format!("{name} is not read; convert it to PNG or JPEG")),
            Contents::Standin(what, remedy) => Some(format!("it is {what}, not the file itself; {remedy}")),
        }
    }
}

/// What of a folder or glob is not read, by reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    reasons: BTreeMap<String, usize>,
    /// Whether pictures may be among them.
    pictures: bool,
}

impl LeftOut {
    /// Counts a file of this kind.
    pub(super) fn add(&mut self, contents: Contents) {
        let reason = match contents {
            Contents::Picture => return,
            Contents::Other => "no picture".to_owned(),
            Contents::Empty => "empty".to_owned(),
            Contents::Unread(name) => format!("{} (not read)", name.trim_start_matches("a ")),
            Contents::Standin(what, _) => {
                format!("{} (not the file itself)", what.trim_start_matches("a ").trim_start_matches("an "))
            }
        };
        self.pictures |= contents != Contents::Other;
        *self.reasons.entry(reason).or_default() += 1;
    }

    /// Counts a file that cannot be opened.
    pub(super) fn add_unreadable(&mut self, why: &std::io::Error) {
        self.pictures = true;
        *self.reasons.entry(format!("unreadable ({})", why.kind())).or_default() += 1;
    }

    /// How many, and why: `3 files left out: 2 TIFF (not read), 1 empty`. `None` if there are none.
    pub(super) fn told(&self) -> Option<String> {
        let all: usize = self.reasons.values().sum();
        let parts: Vec<String> = self.reasons.iter().map(|(why, count)| format!("{count} {why}")).collect();
        let files = if all == 1 { "file" } else { "files" };
        (all > 0).then(|| format!("{all} {files} left out: {}", parts.join(", ")))
    }

    /// Says so in the log: as a warning if pictures may be missing.
    pub(super) fn log(&self, location: &str) {
        match self.told() {
            Some(told) if self.pictures => tracing::warn!(location, "{told}"),
            Some(told) => tracing::info!(location, "{told}"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let avif = b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf";
        for (head, want) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], Contents::Picture),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Contents::Picture),
            (b"RIFF\0\0\0\0WEBPVP8 ", Contents::Picture),
            (b"", Contents::Empty),
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", Contents::Unread("AVIF")),
            (avif, Contents::Unread("AVIF")),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Contents::Unread("HEIC")),
            (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", Contents::Other),
            (b"GIF89a\x01\0", Contents::Unread("GIF")),
            (b"II*\0\x08\0\0\0", Contents::Unread("TIFF")),
            (b"\xff\x0a\xfa\x1f", Contents::Unread("JPEG XL")),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns", Contents::Unread("SVG")),
            (b"<html><body>", Contents::Other),
            (b"P6\n640 480\n255\n", Contents::Unread("PNM")),
            (b"P6 is a car", Contents::Other),
            (b"plain text", Contents::Other),
        ] {
            assert_eq!(of(head), want, "{}", head.escape_ascii());
        }
        assert!(matches!(of(b"version https://git-lfs.github.com/spec/v1\n"), Contents::Standin(..)));
        assert!(matches!(of(b"\0\x05\x16\x07\0\x02\0\0Mac OS X"), Contents::Standin(..)));
    }

    #[test]
    fn truevision_is_told_by_its_ending_and_its_head() {
        let dir = tempfile::tempdir().unwrap();
        let mut head = [0_u8; 18 + 12];
        (head[2], head[12], head[14], head[16]) = (2, 2, 2, 24);
        for (name, bytes, want) in [
            ("a.tga", &head[..], Contents::Unread("TGA")),
            ("A.TGA", &head, Contents::Unread("TGA")),
            ("a.bin", &head, Contents::Other),
            ("b.tga", b"\0\0\x01\xba a film in disguise", Contents::Other),
            ("c.tga", b"GIF89a\x01\0", Contents::Unread("GIF")),
            ("d.tga", b"\0\0\x02", Contents::Other),
        ] {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            assert_eq!(look(&dir.path().join(name)).unwrap(), want, "{name}");
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut left = LeftOut::default();
        assert_eq!(left.told(), None);
        left.add(Contents::Other);
        assert!(!left.pictures);
        for contents in
            [Contents::Unread("TIFF"), Contents::Empty, Contents::Unread("TIFF"), Contents::Picture]
        {
            left.add(contents);
        }
        assert_eq!(left.told().unwrap(), "4 files left out: 2 TIFF (not read), 1 empty, 1 no picture");
        assert!(left.pictures);
    }
}
