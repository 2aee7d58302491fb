//! The place for what does not fit into memory: files without a name, gone with the process.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How much memory a metric may take, and where the rest goes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of sorted scores held in memory; twice as much is in use while they are merged.
    pub memory_bytes: usize,
    /// Folder for what does not fit.
    pub scratch: PathBuf,
    /// Pixels that will come, if known: for telling how much the folder must hold.
    pub expected_pixels: Option<u64>,
}

impl Default for Limits {
    /// 384 MiB, the system's folder for temporary files.
    fn default() -> Self {
        Limits { memory_bytes: 384 << 20, scratch: std::env::temp_dir(), expected_pixels: None }
    }
}

/// The scratch folder does not take what it must.
#[derive(Debug, thiserror::Error)]
#[error("cannot put {need} MiB of scores into {folder}: {source}; give another folder for temporary files, or more memory", need = bytes.div_ceil(1 << 20), folder = folder.display())]
pub struct ScratchError {
    /// The folder.
    pub folder: PathBuf,
    /// Bytes to be written.
    pub bytes: u64,
    /// What the system said.
    pub source: io::Error,
}

/// Writes `parts` one after the other into a file in `folder` that has no name: it takes no room once it is
/// dropped, however the process ends.
///
/// # Errors
/// [`ScratchError`]: also, before anything is written, if the disk has too little room.
pub fn spill(folder: &Path, parts: &[&[u8]]) -> Result<File, ScratchError> {
    let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let write = || {
        check_room(folder, bytes)?;
        let mut file = tempfile::tempfile_in(folder)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        Ok(file)
    };
    write().map_err(|source| ScratchError { folder: folder.to_owned(), bytes, source })
}

/// Refuses what would fill the disk before any of it is written.
fn check_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let free = free_bytes(folder)?;
    if free < bytes {
        let why = format!("only {} MiB are free there", free >> 20);
        return Err(io::Error::new(io::ErrorKind::StorageFull, why));
    }
    Ok(())
}

/// Bytes that can still be written to the file system of `folder`.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes())?;
    let mut about = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with NUL and `about` has room for what is written.
    if unsafe { libc::statvfs(path.as_ptr(), about.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the structure.
    let about = unsafe { about.assume_init() };
    #[allow(clippy::unnecessary_cast, reason = "these are narrower on some systems")]
    Ok(about.f_bavail as u64 * about.f_frsize as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_spilled_can_be_read_and_leaves_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = spill(dir.path(), &[b"one", b"two"]).unwrap();
        let mut back = [0; 6];
        file.read_exact_at(&mut back, 0).unwrap();
        assert_eq!(&back, b"onetwo");
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn no_room_is_told_before_the_disk_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let error = check_room(dir.path(), u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let missing = dir.path().join("none");
        let error = spill(&missing, &[b"x"]).unwrap_err().to_string();
        assert!(
            error.contains(&*missing.to_string_lossy()) && error.contains("give another folder"),
            "{error}"
        );
    }
}
