//! The maps that the parts of a run wrote.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;

use super::partial::{Maps, PartialError, map_of};
use super::result::ShardRecord;
use crate::digest::{hex, sha256_of_file};

/// The score maps of all parts of a run, read as they are needed.
#[derive(Debug)]
pub struct ShardFiles {
    /// What the maps of an image are called.
    names: Vec<&'static str>,
    files: Vec<(PathBuf, Mmap)>,
    /// In which file an image's maps lie.
    of_image: HashMap<String, usize>,
}

impl ShardFiles {
    /// Without a file so far; each image's maps have these `names`.
    pub(super) fn new(names: Vec<&'static str>) -> ShardFiles {
        ShardFiles { names, files: Vec::new(), of_image: HashMap::new() }
    }

    /// Whether there are maps of the image called `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.of_image.contains_key(name)
    }

    /// The maps of the image called `name`.
    ///
    /// # Errors
    /// If no part has them, or its file is damaged.
    pub fn load(&self, name: &str) -> Result<Maps, PartialError> {
        let Some((path, bytes)) = self.of_image.get(name).map(|i| &self.files[*i]) else {
            let why = format!("no part has maps of {name}");
            return Err(PartialError::Malformed { path: PathBuf::from("the parts of the run"), why });
        };
        let malformed = |why: String| PartialError::Malformed { path: path.clone(), why };
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| malformed(e.to_string()))?;
        self.names
            .iter()
            .map(|map_name| map_of(&tensors, &key_of(name, map_name)).map_err(malformed))
            .collect()
    }

    /// Adds the file at `path`, that of `shard`.
    ///
    /// # Errors
    /// If it cannot be read, or is not what the part's record says.
    pub(super) fn add(&mut self, path: &Path, shard: &ShardRecord) -> Result<(), PartialError> {
        let unusable = |source| PartialError::Unusable { path: path.to_owned(), source };
        let malformed = |why: String| PartialError::Malformed { path: path.to_owned(), why };
        let found = hex(&sha256_of_file(path).map_err(unusable)?);
        if found != shard.maps_sha256 {
            return Err(malformed(format!("its SHA-256 is {found}, the JSON says {}", shard.maps_sha256)));
        }
        let file = std::fs::File::open(path).map_err(unusable)?;
        // SAFETY: the mapping is only read; a file that somebody cuts short meanwhile is beyond what a
        // reader can guard against, as with every mapped file.
        let bytes = unsafe { Mmap::map(&file) }.map_err(unusable)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
        let number = self.files.len();
        for name in tensors.names() {
            if let Some((_, image)) = name.split_once(':') {
                self.of_image.insert(image.to_owned(), number);
            }
        }
        self.files.push((path.to_owned(), bytes));
        Ok(())
    }
}

/// What a map is called in a part's file.
pub(super) fn key_of(image: &str, map_name: &str) -> String {
    format!("{map_name}:{image}")
}
