//! A live recording on a thread of its own: a slow or full disk costs the recording pictures, never a viewer.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::SinkError;
use super::mp4::Mp4;
use super::outlet::{AccessUnit, Outlet};
use super::state::StateHook;
use crate::file::numbered;

/// Pictures that may wait for the disk: ten seconds of a fast camera.
const WAITING: usize = 600;
/// A recording that failed is tried again after so long, in a file of its own.
const AGAIN: Duration = Duration::from_secs(5);
/// What it is called in states.
const PART: &str = "recording";

/// Hands pictures to the thread that writes them.
pub(super) struct Recorder {
    queue: Option<Sender<AccessUnit>>,
    thread: Option<JoinHandle<Result<(), SinkError>>>,
    path: PathBuf,
    waits_for_key: bool,
    lost: u64,
    state: StateHook,
}

impl Recorder {
    /// Prepares a recording; `state` is told what is wrong with it and when that is over.
    ///
    /// # Errors
    /// [`SinkError::Record`] if the file could not be written.
    pub(super) fn start(
        path: &Path,
        ends_within: Duration,
        state: &StateHook,
    ) -> Result<Recorder, SinkError> {
        let file = Mp4::prepare(path, ends_within)?;
        let (queue, pictures) = bounded(WAITING);
        let writer = Writer {
            path: path.to_owned(),
            state: state.clone(),
            again: Instant::now(),
            parts: 1,
            ends_within,
        };
        let thread = std::thread::Builder::new()
            .name("recording".into())
            .spawn(move || writer.write(Some(file), &pictures))
            .map_err(|e| SinkError::Record { path: path.to_owned(), why: e.to_string() })?;
        Ok(Recorder {
            queue: Some(queue),
            thread: Some(thread),
            path: path.to_owned(),
            waits_for_key: false,
            lost: 0,
            state: state.clone(),
        })
    }
}

impl Outlet for Recorder {
    fn is_recording(&self) -> bool {
        true
    }

    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        let Some(queue) = &self.queue else { return Ok(()) };
        if self.waits_for_key && !unit.key {
            self.lost += 1;
            return Ok(());
        }
        match queue.try_send(unit.clone()) {
            Ok(()) if std::mem::take(&mut self.waits_for_key) => {
                tracing::warn!(path = %self.path.display(), lost = self.lost, "the recording goes on, pictures are missing");
                (self.state)(PART, None);
            }
            Ok(()) => {}
            // What refers to a picture that is missing cannot be decoded either.
            Err(TrySendError::Full(_)) => {
                if !std::mem::replace(&mut self.waits_for_key, true) {
                    let why =
                        format!("the disk of {} is too slow: pictures are missing", self.path.display());
                    tracing::warn!("{why}");
                    (self.state)(PART, Some(why));
                }
                self.lost += 1;
            }
            Err(TrySendError::Disconnected(_)) => {
                return Err(SinkError::Record {
                    path: self.path.clone(),
                    why: "its thread has ended".into(),
                });
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.queue = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(SinkError::Record {
                path: self.path.clone(),
                why: "its thread panicked; this is a bug in farout".into(),
            }),
            None => Ok(()),
        }
    }
}

/// What writes.
struct Writer {
    path: PathBuf,
    state: StateHook,
    /// When a failed recording is tried again.
    again: Instant,
    /// Files so far.
    parts: u32,
    ends_within: Duration,
}

impl Writer {
    /// Writes pictures until there are no more.
    fn write(mut self, mut file: Option<Mp4>, pictures: &Receiver<AccessUnit>) -> Result<(), SinkError> {
        let mut failed = None;
        loop {
            let unit = match pictures.recv_timeout(AGAIN) {
                Ok(unit) => unit,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let taken = match &mut file {
                Some(file) => file.take(&unit),
                None if unit.key && Instant::now() >= self.again => self.next_file().and_then(|mut next| {
                    next.take(&unit)?;
                    tracing::info!(path = %next.path().display(), "the recording goes on in another file");
                    (self.state)(PART, None);
                    file = Some(next);
                    Ok(())
                }),
                None => Ok(()),
            };
            if let Err(error) = taken {
                tracing::error!(%error, "the recording failed; it is tried again in another file");
                (self.state)(PART, Some(error.to_string()));
                self.again = Instant::now() + AGAIN;
                // What was written so far is playable.
                file = None;
                failed = Some(error);
            }
        }
        let ended = file.map_or(Ok(()), |mut file| file.finish());
        failed.map_or(ended, Err)
    }

    /// The next file, beside the first: `drive-2.mp4` after `drive.mp4`.
    fn next_file(&mut self) -> Result<Mp4, SinkError> {
        loop {
            self.parts += 1;
            let path = numbered(&self.path, self.parts);
            if !path.exists() {
                return Mp4::prepare(&path, self.ends_within);
            }
        }
    }
}
