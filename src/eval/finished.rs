//! A run that came to its end, and where its maps lie.

use anyhow::{Context, Result};

use super::dataset::Dataset;
use super::partial::{Maps, WorkFolder};
use super::result::EvalResult;
use super::shard_files::ShardFiles;

/// A run that came to its end; what is kept of its maps is there until [`Finished::clean`].
pub struct Finished {
    /// The numbers (none for a shard).
    pub result: EvalResult,
    /// The data set.
    pub dataset: Dataset,
    /// The images that were scored, by number.
    pub indices: Vec<usize>,
    /// Their score maps.
    pub maps: MapStore,
}

/// Where the maps of a finished run lie.
pub enum MapStore {
    /// In its work folder.
    Work(WorkFolder),
    /// In the files of its shards.
    Shards(ShardFiles),
}

impl MapStore {
    /// The maps of image number `index`, called `name`.
    ///
    /// # Errors
    /// If there are none.
    pub fn load(&self, index: usize, name: &str) -> Result<Maps> {
        match self {
            MapStore::Work(work) => {
                work.kept(index, name).with_context(|| format!("the maps of {name} are gone"))
            }
            MapStore::Shards(files) => Ok(files.load(name)?),
        }
    }
}

impl Finished {
    /// Removes what was kept for going on.
    pub fn clean(self) {
        if let MapStore::Work(work) = self.maps {
            work.remove();
        }
    }
}
