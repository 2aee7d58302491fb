//! The MCAP file.

use std::ffi::OsString;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::foxglove::{Context, FoxgloveError, McapWriteOptions, McapWriterHandle};

use crate::file::{sync_folder_of, unused};

/// So often what was written goes to the disk: a file that was cut off holds all but that.
const FLUSH: Duration = Duration::from_secs(1);
/// A file that could not be written is tried again, under another name, after so long.
const AGAIN: Duration = Duration::from_secs(10);

/// A file on its way.
struct Writing {
    handle: McapWriterHandle<BufWriter<File>>,
    part: PathBuf,
    path: PathBuf,
    flushed: Instant,
}

/// Records what is said on the topics of a context.
pub(super) struct Recording {
    context: Arc<Context>,
    path: PathBuf,
    writing: Option<Writing>,
    again: Instant,
}

/// What a file is called until it is complete.
fn part_of(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

impl Recording {
    /// Begins the file: `path`, or with a number in its name if there is one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn begin(context: &Arc<Context>, path: &Path) -> Result<Recording, FoxgloveError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let writing = Some(Writing::begin(context, path)?);
        Ok(Recording { context: Arc::clone(context), path: path.to_owned(), writing, again: Instant::now() })
    }

    /// Sees to it that what was said is on its way to the disk; a file that fails is left as it is, and another one begun.
    ///
    /// # Errors
    /// What failed just now.
    pub(super) fn keep(&mut self) -> Result<(), FoxgloveError> {
        let now = Instant::now();
        match &mut self.writing {
            Some(writing) if now.duration_since(writing.flushed) < FLUSH => Ok(()),
            Some(writing) => {
                writing.flushed = now;
                let flushed = writing.handle.flush();
                if flushed.is_err() {
                    self.writing = None;
                    self.again = now + AGAIN;
                }
                flushed
            }
            None if now < self.again => Ok(()),
            None => {
                self.again = now + AGAIN;
                self.writing = Some(Writing::begin(&self.context, &self.path)?);
                Ok(())
            }
        }
    }

    /// Whether a file is being written.
    pub(super) fn goes_on(&self) -> bool {
        self.writing.is_some()
    }

    /// Completes the file and gives it its name, which is told.
    ///
    /// # Errors
    /// If it could not be completed: what is there keeps its name for the time being.
    pub(super) fn finish(self) -> Result<Option<PathBuf>, FoxgloveError> {
        let Some(Writing { handle, part, path, .. }) = self.writing else { return Ok(None) };
        let writer = handle.close()?;
        writer.get_ref().sync_all()?;
        std::fs::rename(&part, &path)?;
        sync_folder_of(&path)?;
        Ok(Some(path))
    }
}

impl Writing {
    fn begin(context: &Arc<Context>, path: &Path) -> Result<Writing, FoxgloveError> {
        // What was cut off keeps its place, too.
        let path = unused(path, |path| path.exists() || part_of(path).exists());
        let part = part_of(&path);
        // Small chunks: one that was cut off is lost as a whole.
        let options = McapWriteOptions::new().chunk_size(Some(1 << 20)).compression(None);
        let handle = context.mcap_writer_with_options(options).create_new_buffered_file(&part)?;
        Ok(Writing { handle, part, path, flushed: Instant::now() })
    }
}
