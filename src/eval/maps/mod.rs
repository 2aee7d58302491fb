//! Score maps as files of any program: NumPy arrays and archives and stacks of them, 16-bit grey PNG, TIFF, safetensors, HDF5.
//! The content decides which.

mod hdf5;
mod npy;
mod npz;
mod numbers;
mod pairs;
mod place;
mod png16;
mod tensors;
mod tiff;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use hdf5_reader::Hdf5File;
use zip::ZipArchive;

pub use pairs::{Pair, PairError, is_of_maps, lists, masks, pairs};
pub use place::{Part, Place};

/// A header may claim any size; no map has more pixels than this.
const MOST_PIXELS: usize = 1 << 28;
/// What is read of a file to see its header; the header of an array is shorter.
const HEAD: u64 = 1 << 20;
/// The same for a stack, whose header is read anew for each of its maps.
const STACK_HEAD: u64 = 1 << 17;
/// Enough to tell the formats apart.
const BEGINNING: u64 = 64;

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
#[error("cannot read the score map {place}: {why}")]
pub struct MapError {
    /// Where it lies.
    pub place: Place,
    /// What is wrong, and what to do about it.
    pub why: String,
}

/// Reads a map.
///
/// # Errors
/// [`MapError`]: not one of the formats, not a single plane of floats, or damaged. Scores that are NaN are
/// none of its business.
pub fn read(place: &Place) -> Result<ScoreImage, MapError> {
    let read = || match &place.part {
        Part::Whole => decode(&std::fs::read(&place.file).map_err(|e| e.to_string())?),
        Part::Number(number) => {
            let mut file = open(&place.file)?;
            stack(&mut file)?.ok_or("it is no stack any more")?.read(&mut file, *number)
        }
        Part::Name(name) => match container(&place.file)? {
            Container::Hdf5(file) => hdf5::map(&file.dataset(name).map_err(hdf5::told)?),
            Container::Npz(mut archive) => npz::array(&mut archive, name),
        },
    };
    read().map_err(|why| MapError { place: place.clone(), why })
}

/// Reads what a map's header says.
///
/// # Errors
/// As [`read`], but damage further down is not noticed.
pub fn inspect(place: &Place) -> Result<MapInfo, MapError> {
    let inspect = || match &place.part {
        Part::Whole => inspect_file(&place.file),
        Part::Number(_) => Ok(stack(&mut open(&place.file)?)?.ok_or("it is no stack any more")?.info()),
        Part::Name(name) => match container(&place.file)? {
            Container::Hdf5(file) => hdf5::info(&file.dataset(name).map_err(hdf5::told)?),
            Container::Npz(mut archive) => npz::header(&mut archive, name),
        },
    };
    inspect().map_err(|why| MapError { place: place.clone(), why })
}

/// The maps of one file that holds several: those of a stack, or those of an archive by name.
///
/// # Errors
/// [`MapError`], if it cannot be read.
pub fn parts(path: &Path) -> Result<Vec<Part>, MapError> {
    let parts = || -> Result<Vec<Part>, String> {
        let named = |names: Vec<String>| names.into_iter().map(Part::Name).collect();
        match format(&beginning(path, BEGINNING)?)? {
            Format::Npy => {
                let stack = stack(&mut open(path)?)?;
                Ok(stack.map_or(vec![Part::Whole], |stack| (0..stack.count).map(Part::Number).collect()))
            }
            Format::Hdf5 | Format::Npz => match container(path)? {
                Container::Hdf5(file) => Ok(named(hdf5::names(&file)?)),
                Container::Npz(archive) => Ok(named(npz::names(&archive)?)),
            },
            Format::Png | Format::Tiff | Format::Safetensors => Ok(vec![Part::Whole]),
        }
    };
    parts().map_err(|why| MapError { place: path.into(), why })
}

/// A file of arrays with names.
enum Container {
    Hdf5(Hdf5File),
    Npz(ZipArchive<BufReader<File>>),
}

fn container(path: &Path) -> Result<Container, String> {
    if beginning(path, hdf5::MAGIC.len() as u64)? == hdf5::MAGIC {
        return Ok(Container::Hdf5(Hdf5File::open(path).map_err(hdf5::told)?));
    }
    Ok(Container::Npz(npz::open(BufReader::new(open(path)?))?))
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|e| e.to_string())
}

/// The first bytes of a file, `most` of them.
fn head(file: &mut File, most: u64) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    file.take(most).read_to_end(&mut head).map_err(|e| e.to_string())?;
    Ok(head)
}

fn beginning(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    head(&mut open(path)?, most)
}

/// The stack that a file is, if it is one and whole.
fn stack(file: &mut File) -> Result<Option<npy::Stack>, String> {
    let stack = npy::Stack::describe(&head(file, STACK_HEAD)?)?;
    if let Some(stack) = &stack {
        stack.fits(file.metadata().map_err(|e| e.to_string())?.len())?;
    }
    Ok(stack)
}

fn inspect_file(path: &Path) -> Result<MapInfo, String> {
    let mut file = open(path)?;
    let mut head = head(&mut file, HEAD)?;
    match describe(&head) {
        // Some headers are only whole with what follows them.
        Err(_) if head.len() as u64 == HEAD => {
            file.read_to_end(&mut head).map_err(|e| e.to_string())?;
            describe(&head)
        }
        described => described,
    }
}

/// Reads a map from a file's bytes.
///
/// # Errors
/// What is wrong, in words.
pub fn decode(bytes: &[u8]) -> Result<ScoreImage, String> {
    match format(bytes)? {
        Format::Npy => npy::decode(bytes),
        Format::Npz => npz::decode(bytes),
        Format::Png => png16::decode(bytes),
        Format::Tiff => tiff::decode(bytes),
        Format::Safetensors => tensors::decode(bytes),
        Format::Hdf5 => hdf5::decode(bytes),
    }
}

/// Reads the header at the start of a file's bytes.
///
/// # Errors
/// What is wrong, in words.
pub fn describe(head: &[u8]) -> Result<MapInfo, String> {
    match format(head)? {
        Format::Npy => npy::describe(head),
        Format::Npz => npz::describe(head),
        Format::Png => png16::describe(head),
        Format::Tiff => tiff::describe(head),
        Format::Safetensors => tensors::describe(head),
        Format::Hdf5 => hdf5::describe(head),
    }
}

enum Format {
    Npy,
    Npz,
    Png,
    Tiff,
    Safetensors,
    Hdf5,
}

fn format(bytes: &[u8]) -> Result<Format, String> {
    if bytes.starts_with(npy::MAGIC) {
        Ok(Format::Npy)
    } else if bytes.starts_with(b"\x89PNG") {
        Ok(Format::Png)
    } else if bytes.starts_with(hdf5::MAGIC) {
        Ok(Format::Hdf5)
    } else if bytes.starts_with(npz::MAGIC) {
        Ok(Format::Npz)
    } else if tiff::MAGIC.iter().any(|magic| bytes.starts_with(magic)) {
        Ok(Format::Tiff)
    } else if bytes.starts_with(b"\xff\xd8") {
        Err("it is JPEG, which changes the scores; write .npy".to_owned())
    } else if tensors::looks_like(bytes) {
        Ok(Format::Safetensors)
    } else {
        Err("it is none of .npy and .npz (f16, f32, f64), TIFF, HDF5, 16-bit grey PNG and .safetensors"
            .to_owned())
    }
}

/// The sides of a plane: axes of length 1 beside two others do not count.
fn sides(shape: &[usize]) -> Result<(usize, usize), String> {
    let long: Vec<usize> = shape.iter().copied().filter(|n| *n != 1).collect();
    let (height, width) = match (shape, long.as_slice()) {
        ([height, width], _) | (_, [height, width]) => (*height, *width),
        (_, [_, _, _]) => {
            return Err(format!(
                "its shape is {shape:?}, not (height, width); a stack of maps is given itself: --scores FILE.npy"
            ));
        }
        _ => return Err(format!("its shape is {shape:?}, not (height, width)")),
    };
    match height.checked_mul(width) {
        Some(0) => Err(format!("its shape {shape:?} has no pixel")),
        Some(pixels) if pixels <= MOST_PIXELS => Ok((height, width)),
        _ => Err(format!("its shape {shape:?} is larger than any camera's")),
    }
}

#[cfg(test)]
mod foreign_tests;
#[cfg(test)]
mod tests;
