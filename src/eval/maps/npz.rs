//! `.npz`: a ZIP archive of arrays, as `numpy.savez` and `numpy.savez_compressed` write it.

use std::io::{Cursor, Read, Seek};

use zip::ZipArchive;

use super::{HEAD, MapInfo, ScoreImage, npy};

/// First bytes of an archive.
pub const MAGIC: &[u8] = b"PK\x03\x04";

/// The map of an archive that holds one array.
///
/// # Errors
/// What is wrong, in words.
pub fn decode(bytes: &[u8]) -> Result<ScoreImage, String> {
    let mut archive = open(Cursor::new(bytes))?;
    let name = only(&names(&archive)?)?;
    array(&mut archive, &name)
}

/// What the header of its array says.
///
/// # Errors
/// What is wrong, in words.
pub fn describe(bytes: &[u8]) -> Result<MapInfo, String> {
    let mut archive = open(Cursor::new(bytes))?;
    let name = only(&names(&archive)?)?;
    header(&mut archive, &name)
}

/// Opens an archive.
///
/// # Errors
/// What is wrong, in words.
pub fn open<R: Read + Seek>(from: R) -> Result<ZipArchive<R>, String> {
    ZipArchive::new(from).map_err(|e| format!("the archive cannot be read: {e}"))
}

/// The names of its arrays, in order.
///
/// # Errors
/// What is wrong, in words.
pub fn names<R: Read + Seek>(archive: &ZipArchive<R>) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for name in archive.file_names() {
        let name = name.map_err(|e| format!("the archive cannot be read: {e}"))?;
        names.extend(name.strip_suffix(".npy").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The map of the array called `name`.
///
/// # Errors
/// What is wrong, in words.
pub fn array<R: Read + Seek>(archive: &mut ZipArchive<R>, name: &str) -> Result<ScoreImage, String> {
    // A small archive may unpack to much: no more than the header promises is read.
    let MapInfo { width, height, .. } = header(archive, name)?;
    npy::decode(&read(archive, name, (width * height * 8) as u64 + HEAD)?)
}

/// What its header says.
///
/// # Errors
/// What is wrong, in words.
pub fn header<R: Read + Seek>(archive: &mut ZipArchive<R>, name: &str) -> Result<MapInfo, String> {
    npy::describe(&read(archive, name, HEAD)?)
}

fn read<R: Read + Seek>(archive: &mut ZipArchive<R>, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let wrong = |e: &dyn std::fmt::Display| format!("its array {name:?} cannot be read: {e}");
    let entry = archive.by_name(&format!("{name}.npy")).map_err(|e| wrong(&e))?;
    let mut bytes = Vec::new();
    entry.take(most).read_to_end(&mut bytes).map_err(|e| wrong(&e))?;
    Ok(bytes)
}

fn only(names: &[String]) -> Result<String, String> {
    match names {
        [name] => Ok(name.clone()),
        [] => Err("the archive holds no array".to_owned()),
        [first, ..] => Err(format!(
            "the archive holds {} arrays ({first} ...); a file per picture holds one, and an archive of all \
             pictures, named as their masks, is given itself: --scores FILE.npz",
            names.len()
        )),
    }
}
