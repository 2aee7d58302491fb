//! An image as picture, truth, score map and overlay, small enough to stand in the page.

use anyhow::{Context, Result};
use image::RgbImage;
use image::imageops::FilterType;

use crate::eval::dataset::Dataset;
use crate::eval::region::Restriction;
use crate::eval::truth::{ANOMALY, NORMAL, Truth};
use crate::frame::{Frame, PixelFormat};
use crate::grid::{PixelScores, ScoreMap};
use crate::jpeg;
use crate::overlay::{ColourMap, Overlay, OverlayConfig, ScoreScale, colour_at};
use crate::pool::Pool;
use crate::score::Upsampler;
use crate::source::images;

/// Width of a panel in pixels; as wide as it is shown on a large screen.
const WIDTH: usize = 480;
const QUALITY: u8 = 82;
/// Anomalous pixels in the truth panel.
const MARKED: [u8; 3] = [255, 140, 0];
/// Void pixels in the truth panel.
const VOID: [u8; 3] = [60, 60, 70];

/// What scores mean in the panels of one method.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The score that is black in the map.
    pub low: f64,
    /// The score that is white in the map.
    pub high: f64,
    /// Where the overlay draws its line.
    pub threshold: f64,
}

/// The four panels as `data:` addresses: picture, truth, score map, overlay.
///
/// # Errors
/// If image or mask cannot be read any more.
pub fn panels(
    dataset: &Dataset,
    index: usize,
    (map, road): (&ScoreMap, Option<&ScoreMap>),
    scale: Scale,
    restriction: &Restriction,
) -> Result<[String; 4]> {
    let sample = &dataset.samples[index];
    let bytes =
        std::fs::read(&sample.image).with_context(|| format!("cannot read {}", sample.image.display()))?;
    let frame = images::decode(&bytes, &Pool::new())
        .map_err(|why| anyhow::anyhow!("cannot read {}: {why}", sample.image.display()))?;
    let path = sample.truth.as_ref().with_context(|| format!("{} has no mask", sample.name))?;
    let mut truth = Truth::read(path, &dataset.values)?;
    restriction.apply(&mut truth, sample, road)?;
    let width = WIDTH.min(frame.width.max(1));
    let height = (frame.height * width / frame.width.max(1)).max(1);
    let whole = RgbImage::from_raw(frame.width as u32, frame.height as u32, frame.pixels.to_vec())
        .context("a frame of another length; this is a bug in farout")?;
    let picture = image::imageops::resize(&whole, width as u32, height as u32, FilterType::Triangle);
    let mut scores = PixelScores::default();
    Upsampler::new().step(map, width, height, &mut scores);
    let heat = |score: f32| {
        let share = (f64::from(score) - scale.low) / (scale.high - scale.low).max(1e-12);
        colour_at(ColourMap::Inferno, share as f32)
    };
    let map_panel: Vec<u8> = scores.data.iter().flat_map(|score| heat(*score)).collect();
    let overlay = overlaid(&picture, &scores, scale)?;
    let truth = truth_panel(&picture, &truth);
    Ok([
        address(picture.as_raw(), width, height)?,
        address(&truth, width, height)?,
        address(&map_panel, width, height)?,
        address(&overlay, width, height)?,
    ])
}

/// The picture in grey with the truth in colour.
fn truth_panel(picture: &RgbImage, truth: &Truth) -> Vec<u8> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut out = Vec::with_capacity(width * height * 3);
    for (i, pixel) in picture.pixels().enumerate() {
        let x = (2 * (i % width) + 1) * truth.width / (2 * width);
        let y = (2 * (i / width) + 1) * truth.height / (2 * height);
        let [r, g, b] = pixel.0.map(u32::from);
        let grey = ((r * 77 + g * 150 + b * 29) >> 8) as u8;
        let mix = |colour: [u8; 3]| colour.map(|c| ((u16::from(c) * 3 + u16::from(grey)) / 4) as u8);
        out.extend(match truth.labels.get(y * truth.width + x).copied() {
            Some(ANOMALY) => mix(MARKED),
            Some(NORMAL) => [grey; 3],
            _ => mix(VOID),
        });
    }
    out
}

/// What the daemon would draw.
fn overlaid(picture: &RgbImage, scores: &PixelScores, scale: Scale) -> Result<Vec<u8>> {
    let config = OverlayConfig { boxes: false, status: false, ..OverlayConfig::default() };
    let mut frame =
        Frame::take(&Pool::new(), PixelFormat::Rgb, picture.width() as usize, picture.height() as usize);
    frame.pixels.copy_from_slice(picture.as_raw());
    let spread = ((scale.high - scale.low) / 12.0) as f32;
    let scale = ScoreScale { threshold: scale.threshold as f32, spread };
    Overlay::new(&config).draw(&mut frame, scores, &[], scale, "")?;
    Ok(frame.pixels.to_vec())
}

pub(crate) fn address(rgb: &[u8], width: usize, height: usize) -> Result<String> {
    let bytes = jpeg::encode(rgb, width, height, QUALITY)?;
    Ok(format!("data:image/jpeg;base64,{}", base64(&bytes)))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let padded = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_shows() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn the_truth_panel_marks_what_is_true() {
        let picture = RgbImage::from_pixel(4, 2, image::Rgb([100, 100, 100]));
        let truth = Truth { width: 2, height: 1, labels: vec![ANOMALY, NORMAL] };
        let panel = truth_panel(&picture, &truth);
        assert_eq!(panel[..3], [216, 130, 25]);
        assert_eq!(panel[9..12], [100, 100, 100]);
    }
}
