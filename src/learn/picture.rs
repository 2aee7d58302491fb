//! Pictures read as learning wants them.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use image::RgbImage;

use crate::frame::Frame;
use crate::pool::Pool;
use crate::source::images;

/// The picture in the file at `path`.
///
/// # Errors
/// If it cannot be read, by name.
pub fn read(path: &Path) -> Result<RgbImage> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let frame = images::decode(&bytes, &Pool::new())
        .map_err(|why| anyhow!("cannot read {}: {why}", path.display()))?;
    of_frame(&frame)
}

/// An RGB frame as a picture.
///
/// # Errors
/// A frame of another layout or length.
pub fn of_frame(frame: &Frame) -> Result<RgbImage> {
    RgbImage::from_raw(frame.width as u32, frame.height as u32, frame.pixels.to_vec())
        .context("a frame of another length; this is a bug in farout")
}
