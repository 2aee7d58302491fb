//! Score maps as files: exact as NumPy arrays, or as 16-bit grey pictures.
//!
//! `.npy`: format 1.0, little-endian float32, C order, shape (height, width); what NumPy's
//! `load` gives is the score map itself.
//!
//! `.png`: 16-bit grey, `score = lo + value / 65535 * (hi - lo)`. `lo` and `hi` are fixed for
//! a run and stand in the file as text chunks [`LO_KEY`] and [`HI_KEY`]. Scores outside are
//! clamped (infinity is white), NaN is black. The same scores give the same bytes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::folder::{FileError, Naming, OutputFolder};
use crate::file::write_whole;
use crate::frame::FrameId;
use crate::grid::PixelScores;

/// Keyword of the PNG text chunk with the score that black stands for.
pub const LO_KEY: &str = "farout score lo";
/// Keyword of the PNG text chunk with the score that white stands for.
pub const HI_KEY: &str = "farout score hi";

/// How score maps are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScoreFormat {
    /// `NAME.npy`.
    Npy,
    /// `NAME.png`, black at `lo`, white at `hi`.
    Png16 {
        /// The score that becomes 0.
        lo: f32,
        /// The score that becomes 65535; more than `lo`.
        hi: f32,
    },
}

/// Writes one file per score map into a folder.
#[derive(Debug)]
pub struct ScoreMapWriter {
    folder: OutputFolder,
    format: ScoreFormat,
    bytes: Vec<u8>,
}

impl ScoreMapWriter {
    /// Makes `folder` if absent and tries it.
    ///
    /// # Errors
    /// If it cannot be written to, or if `lo` and `hi` are not two rising numbers.
    pub fn new(folder: &Path, format: ScoreFormat, naming: Naming) -> Result<Self, FileError> {
        if let ScoreFormat::Png16 { lo, hi } = format
            && !(lo < hi && (hi - lo).is_finite())
        {
            return Err(FileError::Scale { lo, hi });
        }
        let folder = OutputFolder::open(folder, naming)?;
        Ok(ScoreMapWriter { folder, format, bytes: Vec::new() })
    }

    /// Writes the map of frame `id`, called `name` if it is a still image. Gives its path.
    ///
    /// # Errors
    /// If it cannot be written; no half of it is left then.
    pub fn write(&mut self, id: FrameId, name: &str, scores: &PixelScores) -> Result<PathBuf, FileError> {
        let stem = self.folder.stem(id, name);
        let (width, height, count) = (scores.width, scores.height, scores.data.len());
        if count != width * height {
            let why = format!("{count} scores are no {width}x{height} map");
            return Err(FileError::Senseless { frame: id, path: self.folder.path().into(), why });
        }
        self.bytes.clear();
        let path = match self.format {
            ScoreFormat::Npy => {
                self.bytes.extend(scores.data.iter().flat_map(|s| s.to_le_bytes()));
                let path = self.folder.path().join(format!("{stem}.npy"));
                write_whole(&path, |out| {
                    out.write_all(&npy_header(width, height))?;
                    out.write_all(&self.bytes)
                })?;
                path
            }
            ScoreFormat::Png16 { lo, hi } => {
                let gain = 65535.0 / (hi - lo);
                // The cast saturates and makes NaN 0; PNG is big-endian.
                let value = |score: f32| ((score - lo) * gain).round() as u16;
                self.bytes.extend(scores.data.iter().flat_map(|&s| value(s).to_be_bytes()));
                let path = self.folder.path().join(format!("{stem}.png"));
                write_whole(&path, |out| png16(out, width, height, (lo, hi), &self.bytes))?;
                path
            }
        };
        Ok(path)
    }
}

/// Magic, version 1.0, length, dictionary padded so that the data begin at a multiple of 64.
fn npy_header(width: usize, height: usize) -> Vec<u8> {
    const PREFIX: usize = 10;
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}");
    let padded = (PREFIX + text.len() + 1).next_multiple_of(64);
    while PREFIX + text.len() + 1 < padded {
        text.push(' ');
    }
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

/// Encodes big-endian 16-bit samples with their scale.
fn png16(
    out: &mut impl Write,
    width: usize,
    height: usize,
    (lo, hi): (f32, f32),
    samples: &[u8],
) -> io::Result<()> {
    let side = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
    let mut encoder = png::Encoder::new(out, side(width)?, side(height)?);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    encoder.set_compression(png::Compression::Fast);
    encoder.add_text_chunk(LO_KEY.into(), lo.to_string())?;
    encoder.add_text_chunk(HI_KEY.into(), hi.to_string())?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(samples)?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;

    fn map() -> PixelScores {
        let mut data: Vec<f32> = (0..7 * 5).map(|i| i as f32 * 0.37 - 2.0).collect();
        (data[3], data[4], data[5]) = (f32::INFINITY, f32::NAN, f32::NEG_INFINITY);
        PixelScores { width: 7, height: 5, data: Pooled::unpooled(data) }
    }

    #[test]
    fn npy_is_laid_out_as_the_format_says() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ScoreMapWriter::new(dir.path(), ScoreFormat::Npy, Naming::Number).unwrap();
        let path = writer.write(3, "", &map()).unwrap();
        assert_eq!(path, dir.path().join("000003.npy"));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 7), }"));
        assert!(header.ends_with('\n'));
        let values: Vec<u32> =
            bytes[10 + length..].chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        let expected: Vec<u32> = map().data.iter().map(|s| s.to_bits()).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn png_gives_back_the_scores_and_their_scale() {
        let dir = tempfile::tempdir().unwrap();
        let (lo, hi) = (-1.5, 9.25);
        let format = ScoreFormat::Png16 { lo, hi };
        let mut writer = ScoreMapWriter::new(dir.path(), format, Naming::Name).unwrap();
        let path = writer.write(0, "a/road.jpg", &map()).unwrap();
        assert_eq!(path, dir.path().join("road.png"));
        let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let text: Vec<(String, String)> = reader
            .info()
            .uncompressed_latin1_text
            .iter()
            .map(|t| (t.keyword.clone(), t.text.clone()))
            .collect();
        assert_eq!(text, [(LO_KEY.into(), "-1.5".into()), (HI_KEY.into(), "9.25".into())]);
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (7, 5));
        assert_eq!(info.bit_depth, png::BitDepth::Sixteen);
        for (bytes, &score) in bytes.chunks(2).zip(map().data.iter()) {
            let value = u16::from_be_bytes([bytes[0], bytes[1]]);
            let back = lo + f32::from(value) / 65535.0 * (hi - lo);
            let expected = if score.is_nan() { lo } else { score.clamp(lo, hi) };
            assert!((back - expected).abs() < 1e-4, "{score} came back as {back}");
        }
    }

    #[test]
    fn equal_maps_are_equal_files_and_unequal_sizes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for format in [ScoreFormat::Npy, ScoreFormat::Png16 { lo: 0.0, hi: 10.0 }] {
            let mut writer = ScoreMapWriter::new(dir.path(), format, Naming::Name).unwrap();
            let first = std::fs::read(writer.write(0, "x", &map()).unwrap()).unwrap();
            let second = std::fs::read(writer.write(1, "x", &map()).unwrap()).unwrap();
            assert!(first == second, "{format:?}");
            let mut wrong = map();
            wrong.height = 6;
            assert!(writer.write(2, "x", &wrong).unwrap_err().to_string().contains("7x6"));
        }
        for (lo, hi) in [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY)] {
            let format = ScoreFormat::Png16 { lo, hi };
            assert!(ScoreMapWriter::new(dir.path(), format, Naming::Name).is_err());
        }
    }

    #[test]
    fn a_folder_that_vanishes_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("maps");
        let mut writer = ScoreMapWriter::new(&folder, ScoreFormat::Npy, Naming::Number).unwrap();
        std::fs::remove_dir(&folder).unwrap();
        let error = writer.write(1, "", &map()).unwrap_err().to_string();
        assert!(error.contains("000001.npy") && error.contains("does not exist"), "{error}");
    }
}
