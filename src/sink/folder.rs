//! A folder that receives one file per frame: made if absent, tried before the first frame,
//! and the names that files in it get.

use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::file::WriteError;
use crate::frame::FrameId;

/// Endings that are taken off the name of a still image.
const IMAGE_ENDINGS: [&str; 7] = ["jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"];

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The output folder cannot be made or written to.
    #[error("cannot write into folder {path}: {source}; {remedy}", path = path.display(), remedy = remedy(source))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written; one of that name is as it was before.
    #[error("{0}; {remedy}", remedy = remedy(&.0.source))]
    File(#[from] WriteError),
    /// A growing file or standard output cannot be opened or added to.
    #[error("cannot write {path}: {source}; {remedy}", path = path.display(), remedy = remedy(source))]
    Log {
        /// The file; `-` is standard output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A score scale without length.
    #[error("16-bit score maps cannot have black at {lo} and white at {hi}: give black the lower score")]
    Scale {
        /// The score that would be black.
        lo: f32,
        /// The score that would be white.
        hi: f32,
    },
    /// The data contradict themselves.
    #[error("cannot write frame {frame} into {path}: {why}", path = path.display())]
    Senseless {
        /// Number of the frame.
        frame: FrameId,
        /// Where it was to be written.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
}

/// What to try after an error of the system.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space there or write to another disk",
        ErrorKind::PermissionDenied => "choose a place this user may write to",
        ErrorKind::ReadOnlyFilesystem => "the disk is mounted read-only; choose another place",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "a file is in the way; choose another name",
        ErrorKind::IsADirectory => "this is a folder; give the name of a file",
        ErrorKind::NotFound => "the folder it belongs in does not exist (any more); make it",
        ErrorKind::BrokenPipe => "the program that was reading has ended",
        ErrorKind::InvalidFilename => "choose a shorter name",
        _ => "check the disk or choose another place",
    }
}

/// What the files of a folder are named after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// The frame's number, six digits or more: `000042`. For video.
    #[default]
    Number,
    /// The frame's name without folders and image ending; the number if it has none. A name
    /// that has been given before gets `-2`, `-3` and so on. For still images.
    Name,
}

/// A folder for one file (or a few) per frame.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    naming: Naming,
    given: HashSet<String>,
}

impl OutputFolder {
    /// Makes the folder with its parents if it is absent, and tries to write into it.
    ///
    /// # Errors
    /// [`FileError::Folder`] if either fails.
    pub fn open(path: &Path, naming: Naming) -> Result<Self, FileError> {
        let tried = std::fs::create_dir_all(path)
            .and_then(|()| tempfile::Builder::new().prefix(".farout-").tempfile_in(path));
        match tried {
            Ok(_) => Ok(OutputFolder { path: path.to_owned(), naming, given: HashSet::new() }),
            Err(source) => Err(FileError::Folder { path: path.to_owned(), source }),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stem of the files for a frame. Call once per frame: a second call with the same
    /// name is taken for another frame of that name.
    pub fn stem(&mut self, id: FrameId, name: &str) -> String {
        let stem = match self.naming {
            Naming::Name => stem_of(name),
            Naming::Number => None,
        };
        let Some(stem) = stem else {
            return format!("{id:06}");
        };
        let mut unique = stem.to_owned();
        let mut copy = 1;
        while !self.given.insert(unique.clone()) {
            copy += 1;
            unique = format!("{stem}-{copy}");
        }
        unique
    }
}

/// The last part of a path without an image's ending; other dots belong to the name.
fn stem_of(name: &str) -> Option<&str> {
    let file = Path::new(name).file_name()?.to_str()?;
    let stem = match file.rsplit_once('.') {
        Some((stem, ending)) if IMAGE_ENDINGS.iter().any(|e| ending.eq_ignore_ascii_case(e)) => stem,
        _ => file,
    };
    (!stem.is_empty()).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_stem_and_never_collide() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = OutputFolder::open(&dir.path().join("a/b"), Naming::Name).unwrap();
        for (name, stem) in [
            ("frame0001.jpg", "frame0001"),
            ("left/frame0001.PNG", "frame0001-2"),
            ("frame0001-2.jpg", "frame0001-2-2"),
            ("frame0001", "frame0001-3"),
            ("v1.2_0003", "v1.2_0003"),
            ("", "000007"),
            ("..", "000007"),
            (".png", "000007"),
        ] {
            assert_eq!(folder.stem(7, name), stem, "{name:?}");
        }
        let mut folder = OutputFolder::open(dir.path(), Naming::Number).unwrap();
        assert_eq!(folder.stem(42, "clip.mp4"), "000042");
        assert_eq!(folder.stem(12_345_678, "clip.mp4"), "12345678");
    }

    #[test]
    fn a_folder_that_cannot_be_is_named_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below"), "/proc/farout".into()] {
            let error = OutputFolder::open(&path, Naming::Number).unwrap_err().to_string();
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
            assert!(error.contains("; "), "{error}");
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 1, "a trial leaves nothing behind");
    }

    #[test]
    fn each_kind_of_failure_has_its_remedy() {
        for (kind, word) in [
            (ErrorKind::StorageFull, "space"),
            (ErrorKind::PermissionDenied, "user"),
            (ErrorKind::ReadOnlyFilesystem, "read-only"),
            (ErrorKind::BrokenPipe, "reading"),
        ] {
            let source = io::Error::from(kind);
            let error = FileError::File(WriteError { path: "out/000001.npy".into(), source });
            let text = error.to_string();
            assert!(text.contains("out/000001.npy") && text.contains(word), "{text}");
        }
    }
}
