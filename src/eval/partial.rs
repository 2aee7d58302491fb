//! What is kept of each image while a run is under way: its score maps, one small file per image, in a
//! folder named after everything that the maps depend on. An interrupted run goes on from there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use crate::file::{WriteError, write_whole};
use crate::grid::{Grid, ScoreMap};
use crate::health::StageReport;
use crate::pool::Pooled;

/// Key of the metadata that names the image.
const NAME: &str = "image";
/// Key of the metadata that names what the maps depend on.
const KEY: &str = "key";

/// Why kept maps cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PartialError {
    /// The folder or a file of it cannot be read or made.
    #[error("cannot use {path}: {source}; choose another place with --work", path = path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{0}; choose another place with --work, or make room: the images done so far are kept")]
    Write(#[from] WriteError),
    /// The file is none of ours, or damaged.
    #[error("{path} holds no score maps of this run: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// The score maps of one image, in the order of the run's methods; after them the map of the road, if it is wanted.
pub type Maps = Vec<ScoreMap>;

/// Where the maps of a run are kept.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    key: String,
    methods: Vec<String>,
}

/// What one session of a run took; a resumed run has several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionTime {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Images measured.
    pub images: u64,
    /// Each stage.
    pub stages: Vec<StageTime>,
}

/// The time of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// Its name.
    pub name: String,
    /// Images that passed it.
    pub images: u64,
    /// Seconds that it worked, waiting left out.
    pub seconds: f64,
}

impl From<&StageReport> for StageTime {
    fn from(report: &StageReport) -> StageTime {
        StageTime {
            name: report.name.clone(),
            images: report.frames,
            seconds: report.busy_ms * report.frames as f64 / 1e3,
        }
    }
}

impl WorkFolder {
    /// Makes `root/KEY` if absent and tries it; `key` is the hash of what the maps depend on.
    ///
    /// # Errors
    /// [`PartialError::Unusable`].
    pub fn open(root: &Path, key: &str, methods: &[&str]) -> Result<WorkFolder, PartialError> {
        let path = root.join(key.get(..16).unwrap_or(key));
        let tried = std::fs::create_dir_all(&path)
            .and_then(|()| tempfile::Builder::new().prefix(".farout-").tempfile_in(&path).map(drop));
        tried.map_err(|source| PartialError::Unusable { path: path.clone(), source })?;
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        Ok(WorkFolder { path, key: key.to_owned(), methods })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, index: usize) -> PathBuf {
        self.path.join(format!("{index:06}.maps"))
    }

    /// Keeps the maps of image number `index`, called `name`.
    ///
    /// # Errors
    /// [`PartialError::Write`]; no half of the file is left then.
    pub fn keep(&self, index: usize, name: &str, maps: &Maps) -> Result<(), PartialError> {
        let entries: Vec<(String, &ScoreMap)> = self.methods.iter().cloned().zip(maps.iter()).collect();
        let about = HashMap::from([(NAME.into(), name.to_owned()), (KEY.into(), self.key.clone())]);
        write_maps(&self.file(index), &entries, about)
    }

    /// The maps of image number `index`; `None` if there are none that can be used.
    pub fn kept(&self, index: usize, name: &str) -> Option<Maps> {
        let path = self.file(index);
        if !path.exists() {
            return None;
        }
        match self.read(&path, name) {
            Ok(maps) => Some(maps),
            Err(why) => {
                tracing::warn!("{why}; the image is done again");
                None
            }
        }
    }

    fn read(&self, path: &Path, name: &str) -> Result<Maps, PartialError> {
        let malformed = |why: String| PartialError::Malformed { path: path.to_owned(), why };
        let bytes =
            std::fs::read(path).map_err(|source| PartialError::Unusable { path: path.to_owned(), source })?;
        let about = metadata(&bytes).map_err(malformed)?;
        if about.get(KEY) != Some(&self.key) || about.get(NAME).map(String::as_str) != Some(name) {
            return Err(malformed("it is of another run or image".into()));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| malformed(e.to_string()))?;
        self.methods.iter().map(|method| map_of(&tensors, method).map_err(malformed)).collect()
    }

    /// Keeps what a session took.
    ///
    /// # Errors
    /// [`PartialError::Write`].
    pub fn keep_session(&self, time: &SessionTime) -> Result<(), PartialError> {
        let number = self.sessions().len();
        let path = self.path.join(format!("session-{number:04}.json"));
        Ok(write_whole(&path, |out| serde_json::to_writer(out, time).map_err(std::io::Error::from))?)
    }

    /// What the sessions so far took, in order.
    pub fn sessions(&self) -> Vec<SessionTime> {
        let read = |number: usize| -> Option<SessionTime> {
            let bytes = std::fs::read(self.path.join(format!("session-{number:04}.json"))).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        (0..).map_while(read).collect()
    }

    /// Removes the folder, and the one it lies in if that is empty then.
    pub fn remove(self) {
        // What cannot be removed is only in the way of nothing.
        if let Err(why) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!("{} stays: {why}", self.path.display());
        }
        if let Some(root) = self.path.parent() {
            let _ = std::fs::remove_dir(root);
        }
    }
}

/// Writes named maps as a safetensors file of float32, each `[rows, cols]`.
///
/// # Errors
/// [`PartialError::Write`].
pub fn write_maps(
    path: &Path,
    maps: &[(String, &ScoreMap)],
    about: HashMap<String, String>,
) -> Result<(), PartialError> {
    let mut views = Vec::with_capacity(maps.len());
    for (name, map) in maps {
        let shape = vec![map.grid.rows, map.grid.cols];
        let view = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(&map.data))
            .map_err(|e| PartialError::Malformed { path: path.to_owned(), why: e.to_string() })?;
        views.push((name.as_str(), view));
    }
    let bytes = serialize(views, Some(about))
        .map_err(|e| PartialError::Malformed { path: path.to_owned(), why: e.to_string() })?;
    Ok(write_whole(path, |out| std::io::Write::write_all(out, &bytes))?)
}

/// The metadata of a safetensors file.
///
/// # Errors
/// Why it is none.
pub fn metadata(bytes: &[u8]) -> Result<HashMap<String, String>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// The map called `name`.
///
/// # Errors
/// Why there is none.
pub fn map_of(tensors: &SafeTensors<'_>, name: &str) -> Result<ScoreMap, String> {
    let tensor = tensors.tensor(name).map_err(|e| format!("{name}: {e}"))?;
    let &[rows, cols] = tensor.shape() else {
        return Err(format!("{name} has the shape {:?}, not [rows, cols]", tensor.shape()));
    };
    if tensor.dtype() != Dtype::F32 {
        return Err(format!("{name} is {:?}, not F32", tensor.dtype()));
    }
    let data: Vec<f32> =
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(ScoreMap { grid: Grid { rows, cols }, data: Pooled::unpooled(data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rows: usize, cols: usize, first: f32) -> ScoreMap {
        let data = (0..rows * cols).map(|i| first + i as f32).collect();
        ScoreMap { grid: Grid { rows, cols }, data: Pooled::unpooled(data) }
    }

    #[test]
    fn maps_come_back_and_others_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let work = WorkFolder::open(dir.path(), "0123456789abcdef01", &["knn", "lse"]).unwrap();
        assert!(work.kept(7, "a/b").is_none());
        work.keep(7, "a/b", &vec![map(2, 3, 0.5), map(4, 5, -1.0)]).unwrap();
        let back = work.kept(7, "a/b").unwrap();
        assert_eq!(back[1].grid, Grid { rows: 4, cols: 5 });
        assert_eq!(*back[0].data, *map(2, 3, 0.5).data);
        // Another image, other settings, half a file: done again.
        assert!(work.kept(7, "a/c").is_none());
        let other = WorkFolder::open(dir.path(), "0123456789abcdef02", &["knn", "lse"]).unwrap();
        assert_eq!(other.path(), work.path(), "the same first digits");
        assert!(other.kept(7, "a/b").is_none());
        let path = work.file(7);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert!(work.kept(7, "a/b").is_none());
        let time = SessionTime { seconds: 1.0, images: 2, stages: Vec::new() };
        work.keep_session(&time).unwrap();
        work.keep_session(&time).unwrap();
        assert_eq!(work.sessions().len(), 2);
        work.remove();
        assert!(dir.path().read_dir().is_err() || dir.path().read_dir().unwrap().count() == 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let why = WorkFolder::open(Path::new("/proc/farout"), "00", &["knn"]).unwrap_err().to_string();
        assert!(why.contains("/proc/farout") && why.contains("--work"), "{why}");
    }
}
