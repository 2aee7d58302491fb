//! TIFF of one plane, as `tifffile` and Pillow write floats.

use std::io::Cursor;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};

use super::{MOST_PIXELS, MapInfo, ScoreImage, Scores};

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

/// First bytes of the format, in either byte order, and of its form for large files.
pub const MAGIC: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];

/// The map of a picture of one plane.
///
/// # Errors
/// What is wrong, in words.
pub fn decode(bytes: &[u8]) -> Result<ScoreImage, String> {
    let (mut decoder, MapInfo { width, height, .. }) = open(bytes)?;
    let scores = match decoder.read_image().map_err(|e| e.to_string())? {
        DecodingResult::F16(scores) => Scores::F32(scores.into_iter().map(|score| score.to_f32()).collect()),
        DecodingResult::F32(scores) => Scores::F32(scores),
        DecodingResult::F64(scores) => Scores::F64(scores),
        DecodingResult::U8(scores) => Scores::F32(scores.into_iter().map(f32::from).collect()),
        DecodingResult::U16(scores) => Scores::F32(scores.into_iter().map(f32::from).collect()),
        _ => return Err("its numbers are neither floats nor unsigned ones of 8 or 16 bits".to_owned()),
    };
    let count = match &scores {
        Scores::F32(scores) => scores.len(),
        Scores::F64(scores) => scores.len(),
    };
    if count != width * height {
        return Err(format!("{count} numbers are no plane of {width}x{height}"));
    }
    if decoder.more_images() {
        return Err("it holds several pictures; save each alone, or all as a stack in .npy".to_owned());
    }
    Ok(ScoreImage { width, height, scores })
}

/// What the header says.
///
/// # Errors
/// What is wrong, in words.
pub fn describe(bytes: &[u8]) -> Result<MapInfo, String> {
    open(bytes).map(|(_, info)| info)
}

fn open(bytes: &[u8]) -> Result<(Reader<'_>, MapInfo), String> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions().map_err(|e| e.to_string())?;
    let (width, height) = (width as usize, height as usize);
    if width.checked_mul(height).is_none_or(|pixels| pixels > MOST_PIXELS) {
        return Err(format!("{width}x{height} pixels are more than any camera's"));
    }
    match decoder.colortype().map_err(|e| e.to_string())? {
        ColorType::Gray(bits) => Ok((decoder, MapInfo { width, height, wide: bits == 64 })),
        other => Err(format!("it is {other:?}; a score map has one plane")),
    }
}
