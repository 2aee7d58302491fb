//! The folder in which learning keeps what is half done, so that it goes on where it was interrupted.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::file::write_whole;

/// In the detector's folder, while it is learnt.
const FOLDER: &str = ".learning";
/// What it is called while it is removed.
const GONE: &str = ".learning-done";
/// Locked by who works in the folder.
const LOCK: &str = "lock";
/// What is learnt, in the folder.
const PLAN: &str = "plan.json";

/// Files with their sizes in bytes.
pub type Footage = Vec<(PathBuf, u64)>;

/// What decides everything that is kept: only the same can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of farout.
    pub farout: String,
    /// The files of the footage.
    pub footage: Footage,
    /// Label masks and their void values.
    pub labels: Option<(PathBuf, Vec<u8>)>,
    /// Folder of objects.
    pub objects: Option<PathBuf>,
    /// SHA-256 of the bank that is added to, if one is.
    pub added_to: Option<String>,
    /// Most pictures.
    pub pictures: usize,
    /// The recipe, as TOML.
    pub recipe: String,
    /// SHA-256 of the model that was given, weights beside it included; none if it is fetched.
    pub model: Option<String>,
    /// The `[model]` section but for the path, as TOML.
    pub input: String,
    /// Neighbours.
    pub k: usize,
}

impl Plan {
    /// What differs, for people.
    fn differences(&self, other: &Plan) -> Vec<&'static str> {
        [
            ("another version of farout", self.farout != other.farout),
            ("other footage", self.footage != other.footage),
            ("other labels or void values", self.labels != other.labels),
            ("other objects", self.objects != other.objects),
            ("another detector to add to", self.added_to != other.added_to),
            ("another --pictures", self.pictures != other.pictures),
            ("another recipe or --horizon", self.recipe != other.recipe),
            ("another model", self.model != other.model),
            ("other keys of [model]", self.input != other.input),
            ("another search.k", self.k != other.k),
        ]
        .into_iter()
        .filter_map(|(what, differs)| differs.then_some(what))
        .collect()
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Work {
    folder: PathBuf,
    /// Held as long as somebody works in the folder.
    _lock: Arc<File>,
    /// Whether a former run left something.
    pub taken_up: bool,
}

impl Work {
    /// Opens the work on the detector in `detector` by `plan`, or takes it up.
    ///
    /// # Errors
    /// A folder that cannot be written to; one in which something else was begun.
    pub fn open(detector: &Path, plan: &Plan) -> Result<Work> {
        let folder = detector.join(FOLDER);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = folder.join(LOCK);
        let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            bail!(
                "another farout learn works on {}: wait for it, or name another folder",
                detector.display()
            );
        }
        let path = folder.join(PLAN);
        let taken_up = path.exists();
        if !taken_up {
            // What a removal has left that was cut off must not be taken for this work.
            empty(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        if taken_up {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let begun: Option<Plan> = serde_json::from_str(&text).ok();
            if begun.as_ref() != Some(plan) {
                let other =
                    begun.map_or("an unreadable plan".to_owned(), |begun| begun.differences(plan).join(", "));
                bail!(
                    "in {} something else was begun ({other}): remove {} to begin anew, or name another folder",
                    detector.display(),
                    folder.display()
                );
            }
        } else {
            let text = serde_json::to_vec_pretty(plan)?;
            write_whole(&path, |out| out.write_all(&text))?;
        }
        Ok(Work { folder, _lock: Arc::new(lock), taken_up })
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file `name`, made by `make` if it is not there yet. `make` has to write it whole.
    ///
    /// # Errors
    /// As `make`.
    pub fn once(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.path(name);
        if !path.exists() {
            make(&path)?;
        }
        Ok(path)
    }

    /// What a run left in the folder of `detector`, if there is something.
    pub fn left(detector: &Path) -> Option<PathBuf> {
        let folder = detector.join(FOLDER);
        folder.join(PLAN).exists().then_some(folder)
    }

    /// To which bank, by its SHA-256, what was left in `folder` adds; `None` if its plan cannot be read.
    pub fn added_to(folder: &Path) -> Option<Option<String>> {
        let text = std::fs::read_to_string(folder.join(PLAN)).ok()?;
        serde_json::from_str::<Plan>(&text).ok().map(|plan| plan.added_to)
    }

    /// Removes it with all that is left in it; says so if that fails, since the detector is whole.
    pub fn remove(self) {
        remove(&self.folder);
    }
}

/// Removes all but the lock.
fn empty(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => std::fs::remove_dir_all(path)?,
            false if path.ends_with(LOCK) => {}
            false => std::fs::remove_file(path)?,
        }
    }
    Ok(())
}

/// Removes what a removal left that was cut off.
pub fn sweep(detector: &Path) {
    let _ = std::fs::remove_dir_all(detector.join(GONE));
}

/// Removes what a finished run left, in one step, so that nothing half removed goes by its name; says so if that fails.
pub fn remove(folder: &Path) {
    let gone = folder.with_file_name(GONE);
    let _ = std::fs::remove_dir_all(&gone);
    if let Err(why) = std::fs::rename(folder, &gone).and_then(|()| std::fs::remove_dir_all(&gone)) {
        tracing::warn!("{} is no longer needed and cannot be removed: {why}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_plan_goes_on_and_another_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan {
            farout: "1".into(),
            footage: vec![("a.png".into(), 3)],
            labels: None,
            objects: None,
            added_to: None,
            pictures: 10,
            recipe: "[model]".into(),
            model: None,
            input: String::new(),
            k: 3,
        };
        let work = Work::open(dir.path(), &plan).unwrap();
        assert!(!work.taken_up);
        let second = Work::open(dir.path(), &plan).unwrap_err().to_string();
        assert!(second.contains("another farout learn works on"), "{second}");
        // What a removal left that was cut off is no work.
        let rest = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(rest.path().join(FOLDER).join("frames")).unwrap();
        std::fs::write(rest.path().join(FOLDER).join("1-of-1.shard"), "old").unwrap();
        let fresh = Work::open(rest.path(), &plan).unwrap();
        assert!(!fresh.taken_up && !fresh.path("1-of-1.shard").exists() && !fresh.path("frames").exists());
        let make = |path: &Path| Ok(std::fs::write(path, "x")?);
        work.once("one", make).unwrap();
        drop(work);
        let again = Work::open(dir.path(), &plan).unwrap();
        assert!(again.taken_up);
        again.once("one", |_| bail!("made twice")).unwrap();
        drop(again);
        let other = Plan { pictures: 11, ..plan.clone() };
        let why = Work::open(dir.path(), &other).unwrap_err().to_string();
        assert!(why.contains("another --pictures") && why.contains(FOLDER), "{why}");
        Work::open(dir.path(), &plan).unwrap().remove();
        assert!(Work::open(dir.path(), &other).is_ok());
    }
}
