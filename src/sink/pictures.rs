//! Frames as picture files, annotated or plain, and the truth of synthetic frames as masks.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::folder::{FileError, Naming, OutputFolder};
use crate::colour::rgb_of;
use crate::file::write_whole;
use crate::frame::Frame;
use crate::jpeg;

/// How pictures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// `NAME.png`, 8-bit RGB, lossless.
    Png,
    /// `NAME.jpg`.
    Jpeg {
        /// 1 (small) to 100 (faithful).
        quality: u8,
    },
}

/// Writes one picture per frame into a folder.
#[derive(Debug)]
pub struct PictureWriter {
    folder: OutputFolder,
    format: PictureFormat,
    rgb: Vec<u8>,
}

impl PictureWriter {
    /// Makes `folder` if absent and tries it.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub fn new(folder: &Path, format: PictureFormat, naming: Naming) -> Result<Self, FileError> {
        let folder = OutputFolder::open(folder, naming)?;
        Ok(PictureWriter { folder, format, rgb: Vec::new() })
    }

    /// Writes `frame` as it is. Gives the path of the file.
    ///
    /// # Errors
    /// If it cannot be written; no half of it is left then.
    pub fn write(&mut self, frame: &Frame) -> Result<PathBuf, FileError> {
        let stem = self.folder.stem(frame.id, &frame.name);
        let (width, height) = (frame.width, frame.height);
        let expected = Frame::byte_len(frame.format, width, height);
        if width == 0 || height == 0 || frame.pixels.len() != expected {
            let why = format!("{} bytes are no {width}x{height} picture", frame.pixels.len());
            let path = self.folder.path().into();
            return Err(FileError::Senseless { frame: frame.id, path, why });
        }
        let rgb = rgb_of(frame, &mut self.rgb);
        let ending = match self.format {
            PictureFormat::Png => "png",
            PictureFormat::Jpeg { .. } => "jpg",
        };
        let colour = ExtendedColorType::Rgb8;
        let path = self.folder.path().join(format!("{stem}.{ending}"));
        write_whole(&path, |out| match self.format {
            PictureFormat::Png => encode(png(out), rgb, width, height, colour),
            PictureFormat::Jpeg { quality } => out.write_all(&jpeg::encode(rgb, width, height, quality)?),
        })?;
        Ok(path)
    }
}

/// Writes the truth of synthetic frames: `NAME_class.png` with each pixel's class and
/// `NAME_stranger.png` with the number of the stranger seen in it (0: none), 8-bit grey.
#[derive(Debug)]
pub struct TruthWriter {
    folder: OutputFolder,
}

impl TruthWriter {
    /// Makes `folder` if absent and tries it.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub fn new(folder: &Path, naming: Naming) -> Result<Self, FileError> {
        Ok(TruthWriter { folder: OutputFolder::open(folder, naming)? })
    }

    /// Writes both masks of `frame`.
    ///
    /// # Errors
    /// If the frame has no truth of its size, or a mask cannot be written.
    pub fn write(&mut self, frame: &Frame) -> Result<(), FileError> {
        let (width, height) = (frame.width, frame.height);
        let senseless = |why: String| {
            let path = self.folder.path().into();
            FileError::Senseless { frame: frame.id, path, why }
        };
        let Some(truth) = &frame.truth else {
            return Err(senseless("its source knows no truth; only synthetic: does".into()));
        };
        let masks = [("class", &truth.class), ("stranger", &truth.stranger)];
        for (kind, mask) in masks {
            if mask.len() != width * height || mask.is_empty() {
                let why = format!("{} pixels are no {width}x{height} {kind} mask", mask.len());
                return Err(senseless(why));
            }
        }
        let stem = self.folder.stem(frame.id, &frame.name);
        for (kind, mask) in masks {
            let path = self.folder.path().join(format!("{stem}_{kind}.png"));
            write_whole(&path, |out| encode(png(out), mask, width, height, ExtendedColorType::L8))?;
        }
        Ok(())
    }
}

/// A frame as JPEG; `rgb` is used again and again.
///
/// # Errors
/// If the encoder refuses it.
pub(super) fn jpeg_of(frame: &Frame, quality: u8, rgb: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    jpeg::encode(rgb_of(frame, rgb), frame.width, frame.height, quality)
}

/// The PNG encoder for everything here: fast, and the same bytes every time.
fn png<W: Write>(out: W) -> PngEncoder<W> {
    PngEncoder::new_with_quality(out, CompressionType::Fast, FilterType::Adaptive)
}

/// Runs an encoder; its errors become those of writing.
fn encode(
    encoder: impl ImageEncoder,
    samples: &[u8],
    width: usize,
    height: usize,
    colour: ExtendedColorType,
) -> io::Result<()> {
    let side = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
    let encoded = encoder.write_image(samples, side(width)?, side(height)?, colour);
    encoded.map_err(|e| match e {
        image::ImageError::IoError(e) => e,
        other => io::Error::other(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::ycbcr_from_rgb;
    use crate::frame::{Colour, Matrix, PixelFormat, Truth};
    use crate::pool::{Pool, Pooled};

    const ORANGE: [u8; 3] = [230, 120, 30];

    fn orange(format: PixelFormat, width: usize, height: usize) -> Frame {
        let mut frame = Frame::take(&Pool::new(), format, width, height);
        frame.colour = Colour { matrix: Matrix::Bt709, full_range: false };
        match frame.i420() {
            Some(layout) => {
                let [luma, cb, cr] = ycbcr_from_rgb(ORANGE, frame.colour);
                frame.pixels[..layout.u_offset].fill(luma);
                frame.pixels[layout.u_offset..layout.v_offset].fill(cb);
                frame.pixels[layout.v_offset..].fill(cr);
            }
            None => frame.pixels.chunks_mut(3).for_each(|p| p.copy_from_slice(&ORANGE)),
        }
        frame
    }

    #[test]
    fn frames_of_both_layouts_come_back_from_both_formats() {
        let dir = tempfile::tempdir().unwrap();
        let formats = [(PictureFormat::Png, "png"), (PictureFormat::Jpeg { quality: 90 }, "jpg")];
        for (format, ending) in formats {
            for (id, layout) in [PixelFormat::I420, PixelFormat::Rgb].into_iter().enumerate() {
                let mut writer = PictureWriter::new(dir.path(), format, Naming::Number).unwrap();
                let mut frame = orange(layout, 37, 21);
                frame.id = id as u64;
                let path = writer.write(&frame).unwrap();
                assert_eq!(path, dir.path().join(format!("00000{id}.{ending}")));
                let first = std::fs::read(&path).unwrap();
                let picture = match format {
                    PictureFormat::Png => image::open(&path).unwrap().to_rgb8().into_raw(),
                    PictureFormat::Jpeg { .. } => {
                        jpeg::decode(&first, &Pool::new()).unwrap().0.pixels.to_vec()
                    }
                };
                assert_eq!(picture.len(), 37 * 21 * 3);
                for pixel in picture.chunks(3) {
                    let off = pixel.iter().zip(ORANGE).map(|(a, b)| a.abs_diff(b)).max();
                    assert!(off <= Some(4), "{format:?} {layout:?}: {pixel:?}");
                }
                writer.write(&frame).unwrap();
                assert!(first == std::fs::read(&path).unwrap(), "{format:?}: other bytes");
            }
        }
    }

    #[test]
    fn masks_come_back_and_frames_without_truth_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = TruthWriter::new(dir.path(), Naming::Number).unwrap();
        let mut frame = orange(PixelFormat::I420, 6, 4);
        frame.id = 12;
        assert!(writer.write(&frame).unwrap_err().to_string().contains("truth"));
        let class: Vec<u8> = (0..24).collect();
        let stranger: Vec<u8> = (0..24).map(|i| if i % 5 == 0 { 3 } else { 0 }).collect();
        let truth = Truth { class: class.clone(), stranger: stranger.clone() };
        frame.truth = Some(Pooled::unpooled(truth));
        writer.write(&frame).unwrap();
        for (kind, mask) in [("class", class), ("stranger", stranger)] {
            let path = dir.path().join(format!("000012_{kind}.png"));
            let image::DynamicImage::ImageLuma8(back) = image::open(path).unwrap() else {
                panic!("{kind}: not 8-bit grey")
            };
            assert_eq!(back.dimensions(), (6, 4));
            assert_eq!(back.into_raw(), mask);
        }
        frame.truth.as_mut().unwrap().stranger.pop();
        assert!(writer.write(&frame).unwrap_err().to_string().contains("6x4"));
    }

    #[test]
    fn senseless_frames_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = PictureWriter::new(dir.path(), PictureFormat::Png, Naming::Number).unwrap();
        let mut frame = orange(PixelFormat::Rgb, 4, 4);
        frame.width = 5;
        assert!(writer.write(&frame).is_err());
        assert!(writer.write(&orange(PixelFormat::Rgb, 0, 4)).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
