//! The MCAP file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::foxglove::{Context, McapWriteOptions, McapWriterHandle};

use super::FoxgloveConfig;
use crate::file::{free_space, sync_folder_of, unused};

/// So often what was written leaves the process, and so often the disk is asked to keep it.
const FLUSH: Duration = Duration::from_secs(1);
const SYNC: Duration = Duration::from_secs(5);
/// What could not be written is tried again, in another file, after so long.
const AGAIN: Duration = Duration::from_secs(10);
const MIB: u64 = 1 << 20;

/// What has become of the bytes of a file.
#[derive(Default)]
struct Fate {
    written: u64,
    /// What the system said first.
    failed: Option<String>,
}

/// A file, and what becomes of it: those that write into it do not tell.
struct Kept {
    file: BufWriter<File>,
    fate: Arc<Mutex<Fate>>,
}

impl Kept {
    fn note<T>(&self, done: std::io::Result<T>, bytes: impl FnOnce(&T) -> u64) -> std::io::Result<T> {
        let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        match &done {
            Ok(done) => fate.written += bytes(done),
            Err(why) => drop(fate.failed.get_or_insert_with(|| why.to_string())),
        }
        done
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let done = self.file.write(bytes);
        self.note(done, |count| *count as u64)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let done = self.file.flush();
        self.note(done, |()| 0)
    }
}

impl Seek for Kept {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let done = self.file.seek(to);
        self.note(done, |_| 0)
    }
}

/// A file on its way.
struct Writing {
    handle: McapWriterHandle<Kept>,
    disk: File,
    fate: Arc<Mutex<Fate>>,
    path: PathBuf,
    flushed: Instant,
    synced: Instant,
    /// Whether anything of it has left the process.
    held: bool,
}

/// How it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    /// What was said is in the file.
    Well,
    /// Nothing new is known.
    On,
}

/// Records what is said on the topics of a context.
pub(super) struct Recording {
    context: Arc<Context>,
    path: PathBuf,
    /// Bytes of a file, and bytes that stay free.
    most: u64,
    free: u64,
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
    /// Begins a file at `path`, or with a number in its name if there is one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn begin(
        context: &Arc<Context>,
        path: &Path,
        config: &FoxgloveConfig,
    ) -> Result<Recording, String> {
        let (most, free) = (u64::from(config.file_mib) * MIB, u64::from(config.free_mib) * MIB);
        let context = Arc::clone(context);
        let mut recording =
            Recording { context, path: path.to_owned(), most, free, writing: None, again: Instant::now() };
        if part_of(path).exists() {
            tracing::warn!(path = %part_of(path).display(), "an MCAP file was cut off; mcap recover completes it");
        }
        match recording.room() {
            Ok(()) => recording.writing = Some(recording.next()?),
            Err(why) => tracing::error!("{why}"),
        }
        Ok(recording)
    }

    /// Whether there is room on the disk.
    ///
    /// # Errors
    /// Where there is none.
    fn room(&self) -> Result<(), String> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        match free_space(folder).filter(|left| *left < self.free) {
            Some(left) => Err(format!(
                "only {} MiB are free where {} is (foxglove.free_mib is {}): nothing is recorded until there is room",
                left / MIB,
                self.path.display(),
                self.free / MIB
            )),
            None => Ok(()),
        }
    }

    /// The next file.
    ///
    /// # Errors
    /// If it cannot be made.
    fn next(&self) -> Result<Writing, String> {
        // What was cut off keeps its place, too.
        let path = unused(&self.path, |path| path.exists() || part_of(path).exists());
        let failed = |why: std::io::Error| format!("cannot write {}: {why}", part_of(&path).display());
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = File::create_new(part_of(&path)).map_err(failed)?;
        let disk = file.try_clone().map_err(failed)?;
        let fate = Arc::<Mutex<Fate>>::default();
        let kept = Kept { file: BufWriter::new(file), fate: Arc::clone(&fate) };
        // Small chunks: one that was cut off is lost as a whole. The video is compressed already.
        let options = McapWriteOptions::new().chunk_size(Some(MIB)).compression(None);
        let handle = self.context.mcap_writer_with_options(options).create(kept);
        let handle = handle.map_err(|why| format!("cannot write {}: {why}", part_of(&path).display()))?;
        tracing::info!(path = %path.display(), "recording an MCAP file");
        let now = Instant::now();
        Ok(Writing { handle, disk, fate, path, flushed: now, synced: now, held: false })
    }

    /// Sees to it that what was said is on its way to the disk. A file that fails is left as it is, and one that is large
    /// enough completed; another one is begun.
    ///
    /// # Errors
    /// What went wrong just now: which file, why, and what happens next.
    pub(super) fn keep(&mut self) -> Result<Goes, String> {
        let now = Instant::now();
        let Some(writing) = &mut self.writing else {
            if now < self.again {
                return Ok(Goes::On);
            }
            self.again = now + AGAIN;
            self.room()?;
            self.writing = Some(self.next()?);
            return Ok(Goes::On);
        };
        let goes = writing.keep(now);
        let written = writing.written();
        if let Err(why) = goes {
            self.again = now + AGAIN;
            if let Some(writing) = self.writing.take() {
                writing.give_up();
            }
            return Err(format!("{why}; another file is begun in {} s", AGAIN.as_secs()));
        }
        if goes == Ok(Goes::Well) {
            let room = self.room();
            if room.is_err() || (self.most > 0 && written >= self.most) {
                self.again = now;
                if let Some(writing) = self.writing.take() {
                    writing.complete()?;
                }
            }
            room?;
        }
        goes
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// If it could not be completed: what is there keeps its name for the time being.
    pub(super) fn finish(self) -> Result<(), String> {
        self.writing.map_or(Ok(()), Writing::complete)
    }
}

impl Writing {
    fn written(&self) -> u64 {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner).written
    }

    fn keep(&mut self, now: Instant) -> Result<Goes, String> {
        let due = now.duration_since(self.flushed) >= FLUSH;
        // It tells the cause itself, below.
        let flushed = if due { self.handle.flush().map_err(|why| why.to_string()) } else { Ok(()) };
        let failed = self.fate.lock().unwrap_or_else(PoisonError::into_inner).failed.clone();
        if let Some(why) = failed.or(flushed.err()) {
            return Err(format!("cannot write {}: {why}", part_of(&self.path).display()));
        }
        if !due {
            return Ok(Goes::On);
        }
        (self.flushed, self.held) = (now, true);
        if now.duration_since(self.synced) >= SYNC {
            self.synced = now;
            let synced = self.disk.sync_data();
            synced.map_err(|why| format!("cannot write {}: {why}", part_of(&self.path).display()))?;
        }
        Ok(Goes::Well)
    }

    /// What is there stays, unless there is nothing.
    fn give_up(self) {
        let part = part_of(&self.path);
        drop(self.handle);
        if !self.held {
            // If this fails, an empty file stays.
            let _ = std::fs::remove_file(part);
        }
    }

    fn complete(self) -> Result<(), String> {
        let part = part_of(&self.path);
        let failed = |why: &dyn std::fmt::Display| {
            format!("{} could not be completed: {why}; mcap recover does it", part.display())
        };
        let kept = self.handle.close().map_err(|why| failed(&why))?;
        let named = || {
            kept.file.get_ref().sync_all()?;
            std::fs::rename(&part, &self.path)?;
            sync_folder_of(&self.path)
        };
        named().map_err(|why| failed(&why))?;
        tracing::info!(path = %self.path.display(), "the MCAP file is complete");
        Ok(())
    }
}
