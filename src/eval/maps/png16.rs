//! Grey PNG as score map: the value itself, or on the scale that text chunks of the file name.

use super::{MOST_PIXELS, MapInfo, ScoreImage, Scores};
use crate::sink::score_maps::{HI_KEY, LO_KEY};

type Reader<'a> = png::Reader<std::io::Cursor<&'a [u8]>>;

/// The map of a grey picture of 16 bits (or 8).
///
/// # Errors
/// What is wrong, in words.
pub fn decode(bytes: &[u8]) -> Result<ScoreImage, String> {
    let (mut reader, info) = open(bytes)?;
    let mut data = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let frame = reader.next_frame(&mut data).map_err(|e| e.to_string())?;
    let scale = scale(reader.info())?;
    let score = |value: u16| match scale {
        Some((lo, hi)) => lo + f32::from(value) / 65535.0 * (hi - lo),
        None => f32::from(value),
    };
    let data = &data[..frame.buffer_size()];
    let scores: Vec<f32> = match frame.bit_depth {
        png::BitDepth::Sixteen => data.as_chunks().0.iter().map(|b| score(u16::from_be_bytes(*b))).collect(),
        _ => data.iter().map(|value| score(u16::from(*value))).collect(),
    };
    if scores.len() != info.width * info.height {
        return Err(format!("{} pixels are no {}x{}", scores.len(), info.width, info.height));
    }
    Ok(ScoreImage { width: info.width, height: info.height, scores: Scores::F32(scores) })
}

/// What the header says.
///
/// # Errors
/// What is wrong, in words.
pub fn describe(bytes: &[u8]) -> Result<MapInfo, String> {
    open(bytes).map(|(_, info)| info)
}

fn open(bytes: &[u8]) -> Result<(Reader<'_>, MapInfo), String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let reader = decoder.read_info().map_err(|e| e.to_string())?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    if width.checked_mul(height).is_none_or(|pixels| pixels > MOST_PIXELS) {
        return Err(format!("{width}x{height} pixels are more than any camera's"));
    }
    let grey = info.color_type == png::ColorType::Grayscale;
    if !grey || !matches!(info.bit_depth, png::BitDepth::Sixteen | png::BitDepth::Eight) {
        return Err(
            "it is a picture in colours or of few shades; a score map is grey with 16 bits".to_owned()
        );
    }
    Ok((reader, MapInfo { width, height, wide: false }))
}

/// The scores of black and white, if the file names them.
fn scale(info: &png::Info<'_>) -> Result<Option<(f32, f32)>, String> {
    let text = |key: &str| {
        let chunk = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == key)?;
        Some(chunk.text.trim().parse::<f32>().map_err(|e| format!("its \"{key}\" is {:?}: {e}", chunk.text)))
    };
    match (text(LO_KEY), text(HI_KEY)) {
        (Some(lo), Some(hi)) => Ok(Some((lo?, hi?))),
        _ => Ok(None),
    }
}
