//! Writing files so that the final name only ever stands for a complete file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}", path = path.display())]
pub struct WriteError {
    /// The final name.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// Tries whether [`write_whole`] can make `path`, so that long work is not done in vain.
///
/// # Errors
/// As [`write_whole`].
pub fn try_place(path: &Path) -> Result<(), WriteError> {
    let tried = match path.is_dir() {
        true => Err(std::io::ErrorKind::IsADirectory.into()),
        false => tempfile::Builder::new().prefix(".farout-").tempfile_in(folder_of(path)).map(drop),
    };
    tried.map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Where things are kept that can be made again: `FAROUT_CACHE`, systemd's `CACHE_DIRECTORY`, or `farout` in
/// the user's cache folder.
pub fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("FAROUT_CACHE")
        .or_else(|| set("CACHE_DIRECTORY"))
        .or_else(|| set("XDG_CACHE_HOME").map(|home| home.join("farout")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/farout")))
}

/// The folder that `path` lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes `path` through a temporary file in the same folder: written, synced, renamed.
/// If `fill` or the disk fails, `path` is as it was before.
///
/// # Errors
/// Names `path` and what the system said; the error of `fill` counts as such.
pub fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<(), WriteError> {
    let folder = folder_of(path);
    let write = || -> std::io::Result<()> {
        let temporary = tempfile::Builder::new().prefix(".farout-").tempfile_in(folder)?;
        let mut writer = BufWriter::with_capacity(1 << 18, temporary.as_file());
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        // tempfile makes files private; a result is as readable as any other new file.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            temporary.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Sees to it that the names in the folder of `path` are on the disk.
///
/// # Errors
/// What the system says.
pub fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Puts the file `from` at `to`, too, in place of what is there: as a second name where the file system can, else as a copy.
///
/// # Errors
/// As [`write_whole`].
pub fn also_at(from: &Path, to: &Path) -> Result<(), WriteError> {
    let link = || -> std::io::Result<()> {
        let folder = tempfile::Builder::new().prefix(".farout-").tempdir_in(folder_of(to))?;
        let link = folder.path().join("link");
        std::fs::hard_link(from, &link)?;
        std::fs::rename(&link, to)
    };
    link().or_else(|_| copy(from, to))
}

/// Bytes that are free for us on the disk of a folder, if the system tells.
pub fn free_space(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    Some(told.f_bavail * told.f_frsize)
}

/// `path` with a number in its name: `drive-2.mp4` of `drive.mp4`.
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number}{ending}"))
}

/// `path`, or with the first number in its name, from 2 on, that is not `taken`: what was recorded before is not written over.
pub fn unused(path: &Path, taken: impl Fn(&Path) -> bool) -> PathBuf {
    let all = std::iter::once(path.to_owned()).chain((2..).map(|number| numbered(path, number)));
    all.into_iter().find(|path| !taken(path)).unwrap_or_else(|| path.to_owned())
}

/// Copies `from` to `to`.
///
/// # Errors
/// As [`write_whole`].
fn copy(from: &Path, to: &Path) -> Result<(), WriteError> {
    let named = |why: std::io::Error| std::io::Error::new(why.kind(), format!("{}: {why}", from.display()));
    write_whole(to, |out| {
        let mut file = File::open(from).map_err(named)?;
        std::io::copy(&mut file, out).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_keeps_its_name() {
        let free = |taken: &[&str]| {
            let path =
                unused(Path::new("a/drive.mp4"), |path| taken.iter().any(|one| Path::new(one) == path));
            path.to_string_lossy().into_owned()
        };
        assert_eq!(free(&[]), "a/drive.mp4");
        assert_eq!(free(&["a/drive.mp4"]), "a/drive-2.mp4");
        assert_eq!(free(&["a/drive.mp4", "a/drive-2.mp4"]), "a/drive-3.mp4");
        assert_eq!(numbered(Path::new("drive"), 7), Path::new("drive-7"));
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "old").unwrap();
        let err = write_whole(&path, |w| {
            w.write_all(b"half")?;
            Err(std::io::Error::other("disk full"))
        })
        .unwrap_err();
        assert!(err.to_string().contains("disk full"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        try_place(&path).unwrap();
        write_whole(&path, |w| w.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        for place in [dir.path(), &path.join("below"), &dir.path().join("none/x")] {
            assert!(try_place(place).unwrap_err().to_string().contains(&*place.to_string_lossy()));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_second_name_takes_the_place_of_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, "new").unwrap();
        for way in [also_at, copy] {
            for before in [None, Some("old"), Some("new")] {
                if let Some(before) = before {
                    std::fs::write(&to, before).unwrap();
                }
                way(&from, &to).unwrap();
                assert_eq!(std::fs::read_to_string(&to).unwrap(), "new");
                // Once more, onto itself.
                way(&from, &to).unwrap();
                assert_eq!(std::fs::read_to_string(&to).unwrap(), "new");
                std::fs::remove_file(&to).unwrap();
            }
        }
        assert_eq!(std::fs::read_to_string(&from).unwrap(), "new");
        std::fs::write(&to, "old").unwrap();
        let none = also_at(&dir.path().join("none"), &to).unwrap_err().to_string();
        assert!(none.contains("to: ") && none.contains("none: "), "{none}");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
