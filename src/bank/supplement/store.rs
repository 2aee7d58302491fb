//! The supplements in force: a folder of files, one for each mark, and what of it was read.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Supplement, SupplementConfig};
use crate::file::{WriteError, sync_folder_of, write_whole};

/// How the files end.
const ENDING: &str = "safetensors";

/// What was marked as normal, in force for all who share it; cloning shares it.
#[derive(Debug, Clone)]
pub struct Supplements(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Option<PathBuf>,
    /// Most rows.
    most: usize,
    /// Held by whoever changes something, while the disk works.
    changing: Mutex<()>,
    /// Held for moments only: the detection lane looks at it between two frames.
    state: Mutex<State>,
    /// Rises with every change.
    generation: AtomicU64,
}

/// A supplement that counts.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    path: PathBuf,
    /// As the file has it.
    file: Arc<Supplement>,
    /// Without what others have under the same name.
    force: Arc<Supplement>,
}

#[derive(Debug, Default)]
struct State {
    /// By the names of their files.
    kept: Vec<Kept>,
    /// Files that do not count, and why.
    damaged: Vec<(PathBuf, String)>,
}

/// The folder of what is marked cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path} as the folder of what was marked as normal: {source}; name one in supplement.folder that farout may make, read and write", path = path.display())]
pub struct FolderError {
    /// The folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// Why something cannot be marked.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It shows nothing.
    #[error("none of its patches has features that can be compared; mark another one")]
    Empty,
    /// There is no room.
    #[error(
        "{have} features are marked as normal, {more} more would exceed supplement.size = {most}: take marks back, or join them to the bank \
         (farout bank merge BANK SUPPLEMENT... -o NEW) and empty the supplement"
    )]
    Full {
        /// Rows there are.
        have: usize,
        /// Rows that were to come.
        more: usize,
        /// Most rows.
        most: usize,
    },
    /// The disk does not take it.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The files of supplements in a folder, by name.
///
/// # Errors
/// If it cannot be read.
pub fn files_in(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let failed = |source| FolderError { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|ending| ending == ENDING) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Supplements {
    /// Those that `config` names, if any; a folder that is not there has none.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn existing(config: &SupplementConfig) -> Result<Option<Supplements>, FolderError> {
        let Some(folder) = config.folder.as_ref().filter(|folder| folder.exists()) else { return Ok(None) };
        tracing::info!(folder = %folder.display(), "what was marked as normal");
        let all = Supplements::new(config);
        all.reread()?;
        Ok(Some(all))
    }

    /// Those in the folder that `config` names, which is made if it is not there; without one, none yet, and they are gone
    /// when the last user is. Files that cannot be read are left out and told: see [`Supplements::damaged`].
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(config: &SupplementConfig) -> Result<Supplements, FolderError> {
        let all = Supplements::new(config);
        if let Some(folder) = &config.folder {
            let failed = |source| FolderError { path: folder.clone(), source };
            if !folder.exists() {
                std::fs::create_dir_all(folder).map_err(failed)?;
                survives(folder, sync_folder_of(folder));
            }
            all.reread()?;
        }
        Ok(all)
    }

    fn new(config: &SupplementConfig) -> Supplements {
        Supplements(Arc::new(Inner {
            folder: config.folder.clone(),
            most: config.size,
            changing: Mutex::default(),
            state: Mutex::default(),
            generation: AtomicU64::new(1),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        self.0.folder.as_deref()
    }

    /// Most rows that can be marked.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Reads the folder anew: what others have put there or taken away holds from now on. What is marked twice under one
    /// name counts once; files that find no room do not count.
    ///
    /// # Errors
    /// If the folder cannot be read; what held still does.
    pub fn reread(&self) -> Result<(), FolderError> {
        let Some(folder) = &self.0.folder else { return Ok(()) };
        let _one = self.changing();
        let mut found = State::default();
        let (mut known, mut rows) = (BTreeSet::new(), 0);
        for path in files_in(folder)? {
            let read = Supplement::read(&path).map_err(|why| why.to_string()).and_then(|file| {
                let twice = file.marks.iter().filter(|mark| known.contains(&mark.id));
                let one = twice.fold(file.clone(), |one, mark| one.without(&mark.id));
                match rows + one.rows() > self.0.most {
                    true => Err(format!(
                        "{} holds {} features, and with them there would be more than supplement.size = {}",
                        path.display(),
                        one.rows(),
                        self.0.most
                    )),
                    false => Ok((file, one)),
                }
            });
            match read {
                Ok((file, one)) => {
                    rows += one.rows();
                    known.extend(one.marks.iter().map(|mark| mark.id.clone()));
                    found.kept.push(Kept { path, file: Arc::new(file), force: Arc::new(one) });
                }
                Err(why) => {
                    let why = format!("{why}; what it marks is not known as normal");
                    tracing::error!("{why}");
                    found.damaged.push((path, why));
                }
            }
        }
        let mut state = self.state();
        let same = found.kept == state.kept;
        *state = found;
        if !same {
            self.0.generation.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Rises with every change; see [`Supplements::all`].
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// All that hold now, and the generation that they are of.
    pub fn all(&self) -> (u64, Vec<Arc<Supplement>>) {
        let state = self.state();
        (self.generation(), state.kept.iter().map(|one| Arc::clone(&one.force)).collect())
    }

    /// Files that do not count, and why.
    pub fn damaged(&self) -> Vec<String> {
        self.state().damaged.iter().map(|(_, why)| why.clone()).collect()
    }

    /// Takes one more: written first, if there is a folder, then in force. Marks of the same name go.
    ///
    /// # Errors
    /// [`AddError`]; nothing has changed then.
    pub fn add(&self, one: Supplement) -> Result<(), AddError> {
        let Some(name) = one.marks.first().map(|mark| mark.id.clone()) else { return Err(AddError::Empty) };
        if one.rows() == 0 {
            return Err(AddError::Empty);
        }
        let path = PathBuf::from(format!("{name}.{ENDING}"));
        let path = self.0.folder.as_ref().map_or(path.clone(), |folder| folder.join(path));
        let _one = self.changing();
        let have: usize = self.state().kept.iter().map(|other| other.force.without(&name).rows()).sum();
        if have + one.rows() > self.0.most {
            return Err(AddError::Full { have, more: one.rows(), most: self.0.most });
        }
        if self.0.folder.is_some() {
            write(&path, &one)?;
        }
        for other in self.holders(&name).iter().filter(|other| other.path != path) {
            self.take_from(other, &name)?;
        }
        self.state().put(path, Some((one.clone(), one)));
        self.0.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Takes a mark back. False if there is none of this name.
    ///
    /// # Errors
    /// If the disk does not forget it; it still holds then.
    pub fn remove(&self, id: &str) -> Result<bool, WriteError> {
        let _one = self.changing();
        let holders = self.holders(id);
        for holder in &holders {
            self.take_from(holder, id)?;
            self.0.generation.fetch_add(1, Ordering::Release);
        }
        Ok(!holders.is_empty())
    }

    /// Those that have a mark of this name.
    fn holders(&self, id: &str) -> Vec<Kept> {
        let holds = |one: &&Kept| one.file.marks.iter().any(|mark| mark.id == id);
        self.state().kept.iter().filter(holds).cloned().collect()
    }

    /// Takes a mark out of a file.
    fn take_from(&self, Kept { path, file, force }: &Kept, id: &str) -> Result<(), WriteError> {
        let left = Some(file.without(id)).filter(|left| !left.marks.is_empty());
        if self.0.folder.is_some() {
            match &left {
                Some(left) => write(path, left)?,
                None => forget(path)?,
            }
        }
        self.state().put(path.clone(), left.map(|left| (left, force.without(id))));
        Ok(())
    }
}

impl State {
    /// What the file `path` holds now, and what of it is in force; nothing if it is gone.
    fn put(&mut self, path: PathBuf, now: Option<(Supplement, Supplement)>) {
        self.kept.retain(|other| other.path != path);
        self.damaged.retain(|(other, _)| *other != path);
        if let Some((file, force)) = now {
            let at = self.kept.partition_point(|other| other.path < path);
            self.kept.insert(at, Kept { path, file: Arc::new(file), force: Arc::new(force) });
        }
    }
}

/// Writes a file whole, so that not even a power cut takes it away.
fn write(path: &Path, one: &Supplement) -> Result<(), WriteError> {
    write_whole(path, |out| out.write_all(&one.to_bytes()?))?;
    survives(path, sync_folder_of(path));
    Ok(())
}

/// Removes a file for good.
fn forget(path: &Path) -> Result<(), WriteError> {
    match std::fs::remove_file(path) {
        // Somebody else was faster.
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(WriteError { path: path.to_owned(), source }),
        Ok(()) => {
            survives(path, sync_folder_of(path));
            Ok(())
        }
    }
}

/// Says if the disk does not promise to remember what was done.
fn survives(path: &Path, synced: std::io::Result<()>) {
    if let Err(why) = synced {
        tracing::warn!(path = %path.display(), "a power cut may undo this change: the folder cannot be synced: {why}");
    }
}
