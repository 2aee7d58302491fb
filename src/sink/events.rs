//! The event log: one JSON object per line, each line written at once, so that the file
//! holds whole lines at every moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::FileError;
use crate::frame::Frame;
use crate::region::Event;
use crate::stop::Stop;

/// Longest part of an existing file's end that is looked at for an unfinished line.
const TAIL: u64 = 1 << 16;

/// Makes the bytes of a file; nothing if there is nothing to write.
pub type MakeFile = Arc<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;

/// Takes events somewhere.
pub trait EventSink: Send {
    /// Takes the next event.
    ///
    /// # Errors
    /// If it could not be written.
    fn write(&mut self, event: &Event) -> Result<(), FileError>;

    /// Whether it wants to see the frames in which events begin.
    fn wants_pictures(&self) -> bool {
        false
    }

    /// Takes the frame in which the event that was written last began.
    fn picture(&mut self, _: &Event, _: &Arc<EventPicture>) {}

    /// Whether it keeps more about events than what is written.
    fn wants_files(&self) -> bool {
        false
    }

    /// Takes a file that belongs to an event that was written, made by whoever writes it; one of the same name goes.
    fn attach(&mut self, _: &Event, _name: &'static str, _make: &MakeFile) {}

    /// Sees to it that what was written survives.
    ///
    /// # Errors
    /// If the disk does not take it.
    fn finish(&mut self) -> Result<(), FileError>;
}

/// The frame in which an event began.
pub struct EventPicture {
    /// As it was judged.
    pub plain: Frame,
    /// With what was found.
    pub marked: Frame,
}

/// Several places that events go to.
pub struct EventSinks(Vec<Box<dyn EventSink>>);

impl EventSinks {
    /// All of these; nothing if there are none.
    pub fn of(sinks: Vec<Box<dyn EventSink>>) -> Option<Box<dyn EventSink>> {
        (!sinks.is_empty()).then(|| Box::new(EventSinks(sinks)) as Box<dyn EventSink>)
    }
}

impl EventSink for EventSinks {
    fn write(&mut self, event: &Event) -> Result<(), FileError> {
        // One that fails keeps nothing from the others.
        self.0.iter_mut().map(|sink| sink.write(event)).fold(Ok(()), Result::and)
    }

    fn wants_pictures(&self) -> bool {
        self.0.iter().any(|sink| sink.wants_pictures())
    }

    fn picture(&mut self, event: &Event, picture: &Arc<EventPicture>) {
        let takers = self.0.iter_mut().filter(|sink| sink.wants_pictures());
        takers.for_each(|sink| sink.picture(event, picture));
    }

    fn wants_files(&self) -> bool {
        self.0.iter().any(|sink| sink.wants_files())
    }

    fn attach(&mut self, event: &Event, name: &'static str, make: &MakeFile) {
        let takers = self.0.iter_mut().filter(|sink| sink.wants_files());
        takers.for_each(|sink| sink.attach(event, name, make));
    }

    fn finish(&mut self) -> Result<(), FileError> {
        self.0.iter_mut().map(|sink| sink.finish()).fold(Ok(()), Result::and)
    }
}

/// A growing file of events, or standard output.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    /// `None` is standard output.
    file: Option<File>,
    line: Vec<u8>,
    /// Standard output's reader has gone.
    unread: bool,
    stop: Option<Stop>,
}

impl EventLog {
    /// Starts an empty log at `path`; `-` is standard output. For recordings: the same input
    /// gives the same file. A folder that is absent is made.
    ///
    /// # Errors
    /// [`FileError::Log`] if it cannot be opened.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        Self::open(path, |path| File::create(path))
    }

    /// Goes on with the log at `path`, or starts one; `-` is standard output. For live
    /// streams. An event cut off by a crash of the machine is removed from the end.
    ///
    /// # Errors
    /// [`FileError::Log`] if it cannot be opened.
    pub fn append(path: &Path) -> Result<Self, FileError> {
        Self::open(path, |path| {
            let mut options = OpenOptions::new();
            let mut file = options.read(true).append(true).create(true).open(path)?;
            mend(&mut file)?;
            Ok(file)
        })
    }

    fn open(path: &Path, open: impl Fn(&Path) -> io::Result<File>) -> Result<Self, FileError> {
        let make_and_open = || {
            if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)?;
            }
            open(path)
        };
        let file = match path.as_os_str() == "-" {
            true => None,
            false => Some(make_and_open().map_err(|source| log_error(path, source))?),
        };
        Ok(EventLog { path: path.to_owned(), file, line: Vec::new(), unread: false, stop: None })
    }

    /// Asks `stop` once nobody reads the events on standard output any more.
    pub fn while_read(self, stop: Stop) -> Self {
        EventLog { stop: Some(stop), ..self }
    }
}

impl EventSink for EventLog {
    /// Writes one event as one line, with one call to the system. What a full disk cuts off
    /// is taken back. Once standard output's reader has gone, that is said, and nothing is written any more.
    ///
    /// # Errors
    /// [`FileError::Log`]; the log is then as it was before.
    fn write(&mut self, event: &Event) -> Result<(), FileError> {
        if self.unread {
            return Ok(());
        }
        self.line.clear();
        let written = serde_json::to_writer(&mut self.line, event).map_err(io::Error::from);
        let written = written.and_then(|()| {
            self.line.push(b'\n');
            match &mut self.file {
                Some(file) => write_line(file, &self.line),
                None => {
                    let mut out = io::stdout().lock();
                    out.write_all(&self.line).and_then(|()| out.flush())
                }
            }
        });
        if self.file.is_none() && written.as_ref().is_err_and(|why| why.kind() == io::ErrorKind::BrokenPipe) {
            tracing::info!("standard output was closed: events are no longer written");
            self.unread = true;
            self.stop.iter().for_each(Stop::ask);
            return Ok(());
        }
        written.map_err(|source| log_error(&self.path, source))
    }

    /// Makes what was written survive a loss of power; does nothing for pipes.
    ///
    /// # Errors
    /// [`FileError::Log`] if the disk does not take it.
    fn finish(&mut self) -> Result<(), FileError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        match file.metadata().and_then(|m| if m.is_file() { file.sync_all() } else { Ok(()) }) {
            Ok(()) => Ok(()),
            Err(source) => Err(log_error(&self.path, source)),
        }
    }
}

fn log_error(path: &Path, source: io::Error) -> FileError {
    FileError::Log { path: path.to_owned(), source }
}

/// Adds a line; takes a part of it back if the rest found no room.
fn write_line(file: &mut File, line: &[u8]) -> io::Result<()> {
    // A device or pipe has no length to go back to.
    let before = file.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
    file.write_all(line).inspect_err(|_| {
        if let Some(length) = before {
            // If this fails too, the next `append` mends it; the first error is the one to tell.
            let _ = file.set_len(length).and_then(|()| file.seek(SeekFrom::End(0)));
        }
    })
}

/// Sees to it that the file ends with a whole line: a torn JSON object is removed, anything
/// else gets the line break that it lacks.
fn mend(file: &mut File) -> io::Result<()> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(());
    }
    let start = metadata.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|&c| c == b'\n').map_or(0, |at| at + 1);
    let last = &tail[whole..];
    if last.is_empty() {
        return Ok(());
    }
    let complete = serde_json::from_slice::<serde_json::Value>(last).is_ok();
    if last[0] == b'{' && !complete {
        return file.set_len(start + whole as u64);
    }
    file.write_all(b"\n")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::region::{EventKind, Rect};

    pub fn event(number: u64) -> Event {
        Event {
            kind: EventKind::Start,
            stream: None,
            event: number,
            frame: 30,
            time_secs: 1.2,
            utc: None,
            first_frame: 28,
            last_frame: 30,
            rect: Rect { x: 1, y: 2, width: 3, height: 4 },
            area: 12,
            peak: 17.25,
        }
    }

    fn numbers(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let events = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        events.map(|e| e["event"].as_u64().unwrap()).collect()
    }

    #[test]
    fn every_event_is_a_line_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/events.jsonl");
        let mut log = EventLog::create(&path).unwrap();
        assert!(numbers(&path).is_empty());
        for number in 1..=3 {
            log.write(&event(number)).unwrap();
            assert_eq!(numbers(&path), (1..=number).collect::<Vec<_>>());
        }
        log.finish().unwrap();
        let first = std::fs::read_to_string(&path).unwrap();
        let line = first.lines().next().unwrap();
        assert!(line.starts_with(r#"{"kind":"start","event":1,"frame":30,"time_secs":1.2,"#));
        assert!(line.contains(r#""box":{"x":1,"y":2,"width":3,"height":4}"#), "{line}");
    }

    #[test]
    fn create_begins_anew_and_append_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        for (append, expected) in [(false, vec![1]), (true, vec![1, 1]), (false, vec![1])] {
            let open = if append { EventLog::append } else { EventLog::create };
            open(&path).unwrap().write(&event(1)).unwrap();
            assert_eq!(numbers(&path), expected);
        }
    }

    #[test]
    fn a_torn_last_line_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        for (before, kept) in [
            ("", ""),
            ("{\"event\":1}\n", "{\"event\":1}\n"),
            ("{\"event\":1}\n{\"eve", "{\"event\":1}\n"),
            ("{\"event\":1}\n{\"event\":2}", "{\"event\":1}\n{\"event\":2}\n"),
            ("{\"e", ""),
            ("someone's notes", "someone's notes\n"),
        ] {
            std::fs::write(&path, before).unwrap();
            EventLog::append(&path).unwrap().write(&event(9)).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let rest = text.strip_prefix(kept).unwrap();
            assert!(rest.starts_with("{\"kind\"") && rest.lines().count() == 1, "{before:?}: {text}");
        }
    }

    #[test]
    fn places_that_take_no_log_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = EventLog::append(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&*dir.path().to_string_lossy()), "{error}");
        assert!(error.contains("give the name of a file"), "{error}");
        assert!(EventLog::create(Path::new("/proc/farout/events.jsonl")).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_a_clear_error() {
        let mut log = EventLog::create(Path::new("/dev/full")).unwrap();
        let error = log.write(&event(1)).unwrap_err().to_string();
        assert!(error.contains("/dev/full") && error.contains("free some space"), "{error}");
    }
}
