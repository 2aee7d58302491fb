//! Small pictures of the images that features are taken from.

use anyhow::Context;
use image::RgbImage;
use image::imageops::thumbnail;

use crate::bank::Thumbnail;
use crate::colour::rgb_of;
use crate::frame::Frame;
use crate::grid::Grid;
use crate::jpeg;

/// Longest side in pixels.
const SIDE: usize = 320;
const QUALITY: u8 = 60;

/// A thumbnail of `frame`, whose patches are those of `grid`; `rgb` is used again and again.
///
/// # Errors
/// If the encoder refuses it.
pub(super) fn thumbnail_of(frame: &Frame, grid: Grid, rgb: &mut Vec<u8>) -> anyhow::Result<Thumbnail> {
    let (width, height) = (frame.width, frame.height);
    let longest = width.max(height).max(1);
    let side = |pixels: usize| (pixels * SIDE / longest).clamp(1, pixels.max(1));
    let small = match longest > SIDE {
        true => (side(width), side(height)),
        false => (width, height),
    };
    let pixels = rgb_of(frame, rgb).to_vec();
    let whole =
        RgbImage::from_raw(width as u32, height as u32, pixels).context("the frame has too few pixels")?;
    let reduced = thumbnail(&whole, small.0 as u32, small.1 as u32);
    let jpeg = jpeg::encode(reduced.as_raw(), small.0, small.1, QUALITY)?;
    Ok(Thumbnail { grid: (grid.rows as u32, grid.cols as u32), jpeg })
}
