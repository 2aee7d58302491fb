//! The supplements in force: a folder of files, one for each mark, and what of it was read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Supplement, SupplementConfig};
use crate::bank::BankError;
use crate::file::WriteError;

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
    state: Mutex<State>,
    /// Rises with every change.
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// By the names of their files.
    kept: Vec<(PathBuf, Arc<Supplement>)>,
    /// Files that cannot be read, and why.
    damaged: Vec<String>,
}

/// Why something cannot be marked.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It shows nothing.
    #[error("none of its patches has features that can be compared; mark another one")]
    Empty,
    /// There is no room.
    #[error(
        "{have} features are marked as normal, {more} more would exceed supplement.size = {most}: take marks back, or join them to \
         the bank (farout bank merge BANK SUPPLEMENT... -o NEW) and empty the supplement"
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

/// Whether `path` is called as files of supplements are.
pub fn is_file(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !hidden && path.extension().is_some_and(|ending| ending == ENDING)
}

impl Supplements {
    /// Those that `config` names, as they are; what is not there is an error.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn existing(config: &SupplementConfig) -> Result<Option<Supplements>, WriteError> {
        if let Some(folder) = &config.folder {
            std::fs::read_dir(folder).map_err(|source| WriteError { path: folder.clone(), source })?;
        }
        config.folder.as_ref().map(|_| Supplements::open(config)).transpose()
    }

    /// Those in the folder that `config` names, which is made if it is not there; without one, none yet, and they are gone when the
    /// last user is. Files that cannot be read are left out and told: see [`Supplements::damaged`].
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(config: &SupplementConfig) -> Result<Supplements, WriteError> {
        let inner = Inner {
            folder: config.folder.clone(),
            most: config.size,
            state: Mutex::default(),
            generation: AtomicU64::new(1),
        };
        let all = Supplements(Arc::new(inner));
        if let Some(folder) = &config.folder {
            let failed = |source| WriteError { path: folder.to_owned(), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
            all.reread()?;
        }
        Ok(all)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        self.0.folder.as_deref()
    }

    /// Most rows that can be marked.
    pub fn most(&self) -> usize {
        self.0.most
    }

    /// Reads the folder anew: what others have put there or taken away holds from now on.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn reread(&self) -> Result<(), WriteError> {
        let Some(folder) = &self.0.folder else { return Ok(()) };
        // Under the lock: nobody marks anything meanwhile.
        let mut state = self.state();
        let mut found = State::default();
        let failed = |source| WriteError { path: folder.clone(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            files.push(entry.map_err(failed)?.path());
        }
        files.retain(|path| is_file(path));
        files.sort();
        for path in files {
            match Supplement::read(&path) {
                Ok(one) => found.kept.push((path, Arc::new(one))),
                Err(why) => found.damaged.push(damage(&why)),
            }
        }
        let same = found.kept.len() == state.kept.len()
            && found.kept.iter().zip(&state.kept).all(|(new, old)| new.0 == old.0 && new.1 == old.1);
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
        (self.generation(), state.kept.iter().map(|(_, one)| Arc::clone(one)).collect())
    }

    /// Files that cannot be read and do not count, and why.
    pub fn damaged(&self) -> Vec<String> {
        self.state().damaged.clone()
    }

    /// Takes one more: written first, if there is a folder, then in force. One of the same name goes.
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
        let mut state = self.state();
        let others = state.kept.iter().filter(|(other, _)| *other != path);
        let have: usize = others.map(|(_, other)| other.rows()).sum();
        if have + one.rows() > self.0.most {
            return Err(AddError::Full { have, more: one.rows(), most: self.0.most });
        }
        if self.0.folder.is_some() {
            one.write(&path)?;
        }
        state.put(path, Some(one));
        self.0.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Takes a mark back. False if there is none of this name.
    ///
    /// # Errors
    /// If the disk does not forget it; it still holds then.
    pub fn remove(&self, id: &str) -> Result<bool, WriteError> {
        let mut state = self.state();
        let holder = state.kept.iter().find(|(_, one)| one.marks.iter().any(|mark| mark.id == id)).cloned();
        let Some((path, one)) = holder else { return Ok(false) };
        let left = one.without(id);
        let left = (!left.marks.is_empty()).then_some(left);
        if self.0.folder.is_some() {
            match &left {
                Some(left) => left.write(&path)?,
                None => forget(&path)?,
            }
        }
        state.put(path, left);
        self.0.generation.fetch_add(1, Ordering::Release);
        Ok(true)
    }
}

impl State {
    /// `one` holds in the place of the file `path`, or nothing.
    fn put(&mut self, path: PathBuf, one: Option<Supplement>) {
        self.kept.retain(|(other, _)| *other != path);
        if let Some(one) = one {
            let at = self.kept.partition_point(|(other, _)| *other < path);
            self.kept.insert(at, (path, Arc::new(one)));
        }
    }
}

/// Removes a file for good.
fn forget(path: &Path) -> Result<(), WriteError> {
    let failed = |source| WriteError { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        // Somebody else was faster.
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| crate::file::sync_folder_of(path)).map_err(failed),
    }
}

/// What is said of a file that does not count.
fn damage(why: &BankError) -> String {
    let why = format!("{why}; what it marks is not known as normal");
    tracing::error!("{why}");
    why
}
