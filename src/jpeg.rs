//! JPEG pictures in and out, through libjpeg-turbo as the crate `mozjpeg` brings it.
//!
//! The library fills in what it cannot read and only warns. Here such a warning ends the picture: half a
//! picture and half a grey area would be scored as if the camera had seen it.

use std::any::Any;
use std::cell::Cell;
use std::io::{BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use image::metadata::Orientation;
use mozjpeg::decompress::DecompressBuilder;
use mozjpeg::{ColorSpace, Compress, Decompress, Marker};
use mozjpeg_sys as ffi;

use crate::exif;
use crate::frame::{Frame, PixelFormat};
use crate::pool::Pool;

pub mod planes;

/// Bytes of pixels that a picture may have: more is no picture of a camera, but a fault or an attack.
const LARGEST: usize = 1 << 29;
/// So many needless bytes before a marker are what some cameras leave there. Where the coded data
/// was damaged, the decoder loses count of its blocks and far more is left over.
const STRAY_BYTES: i32 = 8;

/// Why a JPEG gives no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// It is damaged or cut off; what the library said.
    #[error("not a whole picture: {0}")]
    NotWhole(String),
    /// Of a kind that is not read (12 bits, lossless); what the library said.
    #[error("a JPEG of a kind that is not read ({0}); save it as baseline JPEG with 8 bits, or as PNG")]
    Kind(String),
    /// More pixels than any camera has: width and height.
    #[error("{0}x{1} pixels are too many")]
    TooLarge(usize, usize),
}

impl From<std::io::Error> for JpegError {
    fn from(error: std::io::Error) -> Self {
        JpegError::NotWhole(error.to_string())
    }
}

/// Whether `bytes` begin as every JPEG does: the start of an image, then another marker.
pub fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Decodes a JPEG as it is stored into an RGB frame of `pool` without number, time or name, and gives
/// what its EXIF data says of how it is to be turned. Grey and CMYK become RGB.
///
/// # Errors
/// It is damaged or cut off, of a kind that is not read, or too large.
pub fn decode(bytes: &[u8], pool: &Pool<Vec<u8>>) -> Result<(Frame, Orientation), JpegError> {
    opened(bytes, &[Marker::APP(1)], |decoder| {
        let (width, height) = decoder.size();
        let orientation = decoder
            .markers()
            .find(|segment| segment.data.starts_with(b"Exif\0\0"))
            .and_then(|segment| exif::orientation(segment.data))
            .unwrap_or(Orientation::NoTransforms);
        let mut frame = Frame::take(pool, PixelFormat::Rgb, width, height);
        read_rgb(decoder, &mut frame.pixels)?;
        Ok((frame, orientation))
    })
}

/// Reads the head of a JPEG with these markers and has `read` decode the rest.
fn opened<T>(
    bytes: &[u8],
    markers: &[Marker],
    read: impl FnOnce(Decompress<Input<'_>>) -> Result<T, JpegError>,
) -> Result<T, JpegError> {
    let ended = Cell::new(false);
    let work = || {
        let decoder = DecompressBuilder::new()
            .with_err(strict())
            .with_markers(markers)
            .from_reader(Input { rest: bytes, ended: &ended })?;
        let (width, height) = decoder.size();
        if width.saturating_mul(height).saturating_mul(3) > LARGEST {
            return Err(JpegError::TooLarge(width, height));
        }
        read(decoder)
    };
    let decoded = guarded(work, |payload| match payload.downcast::<JpegError>() {
        Ok(error) => *error,
        Err(_) => JpegError::NotWhole("the decoder failed".into()),
    })?;
    // Of one scan, pixels that lack their bits were reported: only the mark of the end is missing.
    if ended.get() && !is_one_scan(bytes) {
        return Err(JpegError::NotWhole("the data ends early".into()));
    }
    Ok(decoded)
}

/// The bytes of a file, and whether the decoder wanted more of them.
struct Input<'a> {
    rest: &'a [u8],
    ended: &'a Cell<bool>,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.rest.read(buffer)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.ended.set(self.ended.get() || self.rest.is_empty());
        Ok(self.rest)
    }

    fn consume(&mut self, amount: usize) {
        self.rest = self.rest.get(amount..).unwrap_or_default();
    }
}

/// Whether the first scan holds all components in full (ITU-T T.81, B.2): neither progressive nor one
/// component after the other. Arithmetic code does not count: its decoder reads zeros past its end.
fn is_one_scan(bytes: &[u8]) -> bool {
    let mut components = None;
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xFF, marker, tail @ ..] = rest {
        let (length, body) = match (marker, tail) {
            (0xFF, _) => {
                rest = &rest[1..];
                continue;
            }
            (_, [high, low, body @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), body),
            _ => return false,
        };
        match marker {
            0xC0 | 0xC1 => components = body.get(5),
            0xDA => return components.is_some() && components == body.first(),
            _ => {}
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    false
}

/// The pixels of a picture whose head was read, as RGB: `height * width * 3` bytes.
fn read_rgb(decoder: Decompress<Input<'_>>, pixels: &mut [u8]) -> Result<(), JpegError> {
    let width = decoder.width();
    let inks = matches!(decoder.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    if !inks {
        let mut started = decoder.rgb()?;
        started.read_scanlines_into(pixels)?;
        // Up to the mark of the end: what is left over before it tells of damage.
        started.finish()?;
        return Ok(());
    }
    let mut started = decoder.to_colorspace(ColorSpace::JCS_CMYK)?;
    let mut line = vec![0_u8; width * 4];
    for row in pixels.chunks_exact_mut(width * 3) {
        started.read_scanlines_into(&mut line)?;
        for (pixel, [c, m, y, k]) in row.as_chunks_mut::<3>().0.iter_mut().zip(line.as_chunks::<4>().0) {
            // Stored inverted, as Adobe began and all others follow: 255 is no ink.
            *pixel = [c, m, y].map(|light| scaled(*light, *k));
        }
    }
    started.finish()?;
    Ok(())
}

/// `a * b / 255`, rounded.
fn scaled(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    ((product + (product >> 8)) >> 8) as u8
}

/// Encodes RGB `samples`, row by row, as baseline JPEG with whole chroma. `quality` is 1 (small) to 100 (faithful). The same input gives the same bytes.
///
/// # Errors
/// If the size is none that JPEG can hold, or `samples` are not of that size.
pub fn encode(samples: &[u8], width: usize, height: usize, quality: u8) -> std::io::Result<Vec<u8>> {
    let bad = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidInput, why);
    if !(1..=65_500).contains(&width) || !(1..=65_500).contains(&height) {
        return Err(bad(format!("JPEG holds no {width}x{height} picture")));
    }
    if samples.len() != width * height * 3 {
        return Err(bad(format!("{} bytes are no {width}x{height} picture", samples.len())));
    }
    let work = || {
        let mut encoder = Compress::new(ColorSpace::JCS_RGB);
        encoder.set_size(width, height);
        encoder.set_fastest_defaults();
        encoder.set_quality(f32::from(quality.clamp(1, 100)));
        encoder.set_chroma_sampling_pixel_sizes((1, 1), (1, 1));
        let mut encoder = encoder.start_compress(Vec::new())?;
        encoder.write_scanlines(samples)?;
        encoder.finish()
    };
    guarded(work, |payload| match payload.downcast::<String>() {
        Ok(text) => bad(*text),
        Err(_) => bad("the encoder failed".into()),
    })
}

/// Runs `work`; what the library throws becomes an error.
fn guarded<T, E>(
    work: impl FnOnce() -> Result<T, E>,
    thrown: impl FnOnce(Box<dyn Any + Send>) -> E,
) -> Result<T, E> {
    // What `work` leaves half done is dropped with it.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(thrown(payload)))
}

/// The handlers that make errors of errors and of warnings that mean lost pixels.
fn strict() -> ffi::jpeg_error_mgr {
    // SAFETY: the struct is plain data for which zeros are valid (no handlers, no tables), and
    // `jpeg_std_error` fills in every field that the library reads.
    let mut handlers = unsafe {
        let mut handlers: ffi::jpeg_error_mgr = std::mem::zeroed();
        ffi::jpeg_std_error(&mut handlers);
        handlers
    };
    handlers.error_exit = Some(fail);
    handlers.emit_message = Some(warn);
    handlers
}

extern "C-unwind" fn fail(state: &mut ffi::jpeg_common_struct) {
    use ffi::J_MESSAGE_CODE as Code;
    const NOT_READ: [Code; 9] = [
        ffi::JERR_ARITH_NOTIMPL,
        ffi::JERR_BAD_PRECISION,
        ffi::JERR_CCIR601_NOTIMPL,
        ffi::JERR_COMPONENT_COUNT,
        ffi::JERR_CONVERSION_NOTIMPL,
        ffi::JERR_EMPTY_IMAGE,
        ffi::JERR_FRACT_SAMPLE_NOTIMPL,
        ffi::JERR_NOTIMPL,
        ffi::JERR_SOF_UNSUPPORTED,
    ];
    let (code, text) = message(state);
    let kind = if NOT_READ.contains(&code) { JpegError::Kind } else { JpegError::NotWhole };
    resume_unwind(Box::new(kind(text)));
}

extern "C-unwind" fn warn(state: &mut ffi::jpeg_common_struct, level: i32) {
    const WARNING: i32 = -1;
    if level != WARNING {
        return;
    }
    // SAFETY: the library sets `err` before it calls. Its parameters are a union of integers and text, all
    // of whose bytes were set by zeros or by the library.
    let (code, parameter) = unsafe {
        let Some(errors) = state.err.as_ref() else {
            return;
        };
        (errors.msg_code, (&raw const errors.msg_parm).cast::<i32>().read())
    };
    const HARMLESS: [ffi::J_MESSAGE_CODE; 4] =
        [ffi::JWRN_ADOBE_XFORM, ffi::JWRN_BOGUS_ICC, ffi::JWRN_JFIF_MAJOR, ffi::JWRN_JPEG_EOF];
    let stray = code == ffi::JWRN_EXTRANEOUS_DATA && parameter <= STRAY_BYTES;
    let harmless = stray || HARMLESS.contains(&code);
    if !harmless {
        resume_unwind(Box::new(JpegError::NotWhole(message(state).1)));
    }
}

/// The number and the words of the message that the library prepared.
fn message(state: &mut ffi::jpeg_common_struct) -> (i32, String) {
    const LONGEST: usize = 200;
    type Format = unsafe extern "C-unwind" fn(&mut ffi::jpeg_common_struct, *mut u8);
    let mut text = [0_u8; LONGEST];
    // SAFETY: `format_message` of jpeg_std_error writes at most LONGEST (JMSG_LENGTH_MAX, 200) bytes through its second
    // argument, a `char *` in C; the binding calls it a shared reference, which would forbid that.
    let code = unsafe {
        let Some(errors) = state.err.as_ref() else {
            return (0, "unknown error".into());
        };
        let code = errors.msg_code;
        if let Some(format) = errors.format_message {
            let format: Format = std::mem::transmute(format);
            format(state, text.as_mut_ptr());
        }
        code
    };
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    (code, String::from_utf8_lossy(&text[..end]).into_owned())
}

#[cfg(test)]
#[path = "jpeg_tests.rs"]
mod tests;
