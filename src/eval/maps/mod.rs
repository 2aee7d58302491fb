//! Score maps as files of any program: NumPy arrays, 16-bit grey PNG, safetensors. The content decides which.

mod npy;
mod numbers;
mod pairs;
mod png16;
mod tensors;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use pairs::{Pair, PairError, lists, masks, pairs};

/// A header may claim any size; no map has more pixels than this.
const MOST_PIXELS: usize = 1 << 28;
/// What is read of a file to see its header; the header of an array is shorter.
const HEAD: u64 = 1 << 20;
/// First bytes of an HDF5 file.
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";

/// The numbers of a map.
#[derive(Debug, Clone, PartialEq)]
pub enum Scores {
    /// f32; f16, bfloat16 and integers of up to 16 bits are exact in it.
    F32(Vec<f32>),
    /// f64.
    F64(Vec<f64>),
}

/// A score map.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreImage {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height x width` scores, row by row; higher is more anomalous.
    pub scores: Scores,
}

/// What the header of a map says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapInfo {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Scores of 64 bits.
    pub wide: bool,
}

/// Why a score map cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the score map {path}: {why}", path = path.display())]
pub struct MapError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and what to do about it.
    pub why: String,
}

/// Reads a map.
///
/// # Errors
/// [`MapError`]: not one of the formats, not a single plane of floats, or damaged. Scores that are NaN are
/// none of its business.
pub fn read(path: &Path) -> Result<ScoreImage, MapError> {
    let wrong = |why: String| MapError { path: path.to_owned(), why };
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    decode(&bytes).map_err(wrong)
}

/// Reads what a map's header says.
///
/// # Errors
/// As [`read`], but damage further down is not noticed.
pub fn inspect(path: &Path) -> Result<MapInfo, MapError> {
    let wrong = |why: String| MapError { path: path.to_owned(), why };
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(|e| wrong(e.to_string()))?;
    (&mut file).take(HEAD).read_to_end(&mut head).map_err(|e| wrong(e.to_string()))?;
    match describe(&head) {
        // Some headers are only whole with what follows them.
        Err(_) if head.len() as u64 == HEAD => {
            file.read_to_end(&mut head).map_err(|e| wrong(e.to_string()))?;
            describe(&head).map_err(wrong)
        }
        described => described.map_err(wrong),
    }
}

/// Reads a map from a file's bytes.
///
/// # Errors
/// What is wrong, in words.
pub fn decode(bytes: &[u8]) -> Result<ScoreImage, String> {
    match format(bytes)? {
        Format::Npy => npy::decode(bytes),
        Format::Png => png16::decode(bytes),
        Format::Safetensors => tensors::decode(bytes),
    }
}

/// Reads the header at the start of a file's bytes.
///
/// # Errors
/// What is wrong, in words.
pub fn describe(head: &[u8]) -> Result<MapInfo, String> {
    match format(head)? {
        Format::Npy => npy::describe(head),
        Format::Png => png16::describe(head),
        Format::Safetensors => tensors::describe(head),
    }
}

enum Format {
    Npy,
    Png,
    Safetensors,
}

fn format(bytes: &[u8]) -> Result<Format, String> {
    if bytes.starts_with(npy::MAGIC) {
        Ok(Format::Npy)
    } else if bytes.starts_with(b"\x89PNG") {
        Ok(Format::Png)
    } else if bytes.starts_with(HDF5) {
        Err("it is HDF5; convert it, as for the files of the SMIYC toolkit: python -c \"import sys, h5py, numpy; \
             [numpy.save(f[:-5], h5py.File(f)['value'][()]) for f in sys.argv[1:]]\" *.hdf5"
            .to_owned())
    } else if bytes.starts_with(b"\xff\xd8") {
        Err("it is JPEG, which changes the scores; write .npy".to_owned())
    } else if bytes.starts_with(b"PK\x03\x04") {
        Err("it is an archive (.npz?); save each map alone with numpy.save".to_owned())
    } else if tensors::looks_like(bytes) {
        Ok(Format::Safetensors)
    } else {
        Err("it is none of .npy (f16, f32, f64), 16-bit grey PNG and .safetensors".to_owned())
    }
}

/// The sides of a plane: axes of length 1 beside two others do not count.
fn sides(shape: &[usize]) -> Result<(usize, usize), String> {
    let long: Vec<usize> = shape.iter().copied().filter(|n| *n != 1).collect();
    let (height, width) = match (shape, long.as_slice()) {
        ([height, width], _) | (_, [height, width]) => (*height, *width),
        _ => return Err(format!("its shape is {shape:?}, not (height, width)")),
    };
    match height.checked_mul(width) {
        Some(0) => Err(format!("its shape {shape:?} has no pixel")),
        Some(pixels) if pixels <= MOST_PIXELS => Ok((height, width)),
        _ => Err(format!("its shape {shape:?} is larger than any camera's")),
    }
}

#[cfg(test)]
mod tests;
