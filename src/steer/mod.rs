//! Changes to a run while it runs: the file read again, or what the API asks for. What changed is found key by key and put
//! in force between two frames; what cannot be done is said, and the old stays.

pub mod fuzzed;
mod keys;
mod marks;
mod memory;
mod outcome;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};

use crate::causes::in_one_line;
use crate::config::{Config, StreamConfig};
use crate::file::unused;
use crate::frame::StreamId;
use crate::live::{Live, Standing, Stream};
use crate::sink::{EventSink, OutputConfig};
use crate::source::{Pace, Source, SourceConfig};
use crate::stop::Stop;
use keys::{Keys, Section};
pub use marks::{MarkError, Marks, Spot};
pub use outcome::{Change, Outcome};

/// Opens what a changed configuration asks for, as it was opened at the start.
pub trait Parts: Send + Sync {
    /// The configuration as file and flags have it now.
    ///
    /// # Errors
    /// As at the start.
    fn reread(&self) -> Result<Config>;

    /// Whether these streams can be together: nothing is written over.
    ///
    /// # Errors
    /// The two that meet.
    fn check(&self, config: &Config, streams: &[StreamConfig]) -> Result<()>;

    /// A stream that can be added: source, servers, recording, events.
    ///
    /// # Errors
    /// What cannot be opened.
    fn stream(&self, config: StreamConfig, output: &OutputConfig) -> Result<Stream>;

    /// A source, ended by `stop`.
    ///
    /// # Errors
    /// If it cannot be opened.
    fn source(&self, config: &StreamConfig, stop: &Stop) -> Result<Box<dyn Source>>;

    /// Where the events of a stream go, if anywhere.
    ///
    /// # Errors
    /// If the log cannot be written.
    fn events(&self, config: &StreamConfig) -> Result<Option<Box<dyn EventSink>>>;
}

/// Changes a live run, one change at a time.
pub struct Steering {
    live: Live,
    parts: Box<dyn Parts>,
    /// Held while something is changed, which may take seconds.
    changing: Mutex<()>,
    /// What holds now.
    current: Mutex<Config>,
    stop: Stop,
}

/// Who asks for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Somebody who has shown a token or a password.
    Known,
    /// Whoever reaches this machine's own address, or the broker: they may not have farout write where they want, load code,
    /// or run pipelines.
    Anyone,
}

/// Why a change was refused as a whole: nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// The configuration cannot be.
    #[error("{0}; nothing was changed")]
    Refused(String),
    /// Only those may who have shown who they are.
    #[error(
        "{0} makes farout write a file, load code or run a pipeline: only those may change it who show a token or a password; set \
         access.token_file, or change it in the file and reload"
    )]
    Forbidden(String),
    /// There is no such stream.
    #[error("there is no stream {name:?}; there are: {known}")]
    NoStream {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// It is the only stream.
    #[error("{0:?} is the only stream, and farout ends with it: stop farout, or add another one first")]
    Last(String),
}

impl Steering {
    /// Changes `live`, which runs by `config`; all ends with `stop`.
    pub fn new(live: Live, parts: Box<dyn Parts>, config: Config, stop: Stop) -> Steering {
        Steering { live, parts, changing: Mutex::new(()), current: Mutex::new(config), stop }
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> MutexGuard<'_, Config> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds now, as JSON: passwords are hidden, streams are an object by name.
    pub fn config(&self) -> serde_json::Value {
        keys::as_json(&self.current())
    }

    /// Reads the file again and puts in force what has changed.
    ///
    /// # Errors
    /// [`SteerError::Refused`] if the file cannot be read or be used; nothing has changed then.
    pub fn reload(&self) -> Result<Outcome, SteerError> {
        let _one = self.changing();
        let wanted = self.parts.reread().map_err(|why| refused(&why))?;
        self.apply(wanted)
    }

    /// Puts in force what `patch` changes (JSON merge patch, RFC 7396, of [`Steering::config`]).
    ///
    /// # Errors
    /// [`SteerError::Refused`] if it cannot be, and [`SteerError::Forbidden`]; nothing has changed then.
    pub fn patch(&self, patch: &serde_json::Value, who: Who) -> Result<Outcome, SteerError> {
        let _one = self.changing();
        let wanted = keys::patched(&self.current(), patch).map_err(SteerError::Refused)?;
        self.permits(&wanted, who)?;
        self.apply(wanted)
    }

    /// Watches one more stream.
    ///
    /// # Errors
    /// [`SteerError::Refused`] if it cannot be, or cannot be opened, and [`SteerError::Forbidden`].
    pub fn add(&self, stream: SourceConfig, who: Who) -> Result<Outcome, SteerError> {
        let _one = self.changing();
        let mut wanted = self.current().clone();
        if wanted.streams.iter().any(|one| one.name.is_none()) {
            return Err(SteerError::Refused(
                "of several streams each needs a name, and the one that runs has none: write name = \"front\" into its [[stream]] \
                 and reload, or send {\"stream\": {\"stream\": {\"name\": \"front\"}}} as a change; it is then served at /front"
                    .into(),
            ));
        }
        wanted.streams.push(stream);
        self.permits(&wanted, who)?;
        let outcome = self.apply(wanted)?;
        match outcome.changes.iter().find_map(|change| change.why.clone()) {
            Some(why) => Err(SteerError::Refused(why)),
            None => Ok(outcome),
        }
    }

    /// Watches a stream no more.
    ///
    /// # Errors
    /// [`SteerError::NoStream`] and [`SteerError::Last`].
    pub fn remove(&self, name: &str) -> Result<Outcome, SteerError> {
        let _one = self.changing();
        let mut wanted = self.current().clone();
        let known: Vec<_> = wanted.streams.iter().map(|stream| called(stream).to_owned()).collect();
        wanted.streams.retain(|stream| called(stream) != name);
        if wanted.streams.len() == known.len() {
            return Err(SteerError::NoStream { name: name.to_owned(), known: known.join(", ") });
        }
        if !self.live.streams().iter().any(|one| !one.ended && one.called() != name) {
            return Err(SteerError::Last(name.to_owned()));
        }
        self.apply(wanted)
    }

    /// Whether whoever wants this may.
    fn permits(&self, wanted: &Config, who: Who) -> Result<(), SteerError> {
        let current = self.current();
        // A password in a file goes to no other host.
        let sent_elsewhere = || {
            let moved = |stream: &&SourceConfig| {
                let same =
                    |known: &&SourceConfig| (&known.name, &known.source) == (&stream.name, &stream.source);
                stream.password_file.is_some() && !current.streams.iter().any(|known| same(&known))
            };
            wanted.streams.iter().find(moved).map(|stream| format!("stream.{}.source", called(stream)))
        };
        let delicate = || Keys::between(&current, wanted).delicate().or_else(sent_elsewhere);
        let key = (who == Who::Anyone).then(delicate).flatten();
        key.map_or(Ok(()), |key| Err(SteerError::Forbidden(key)))
    }

    /// Puts `wanted` in force as far as that can be, and notes what then holds.
    fn apply(&self, wanted: Config) -> Result<Outcome, SteerError> {
        let current = &self.current().clone();
        let streams =
            checked(&wanted).and_then(|streams| self.parts.check(&wanted, &streams).map(|()| streams));
        let streams = streams.map_err(|why| refused(&why))?;
        let before = current.each_stream().map_err(|why| refused(&why.into()))?;
        let keys = Keys::between(current, &wanted);
        let mut failed = BTreeMap::new();
        let mut detector = None;
        if keys.touch(Section::Detector) && self.live.detection().is_some() {
            match memory::room_for(&wanted).and_then(|()| self.live.open_detector(&wanted)) {
                Ok(open) => detector = Some(open),
                Err(why) => drop(failed.insert((None, Section::Detector), in_one_line(&why))),
            }
        }
        // A moment without any stream is not the end.
        let _exchange = self.live.exchange();
        let swapped = detector.is_some();
        let go: Vec<_> =
            before.iter().filter(|one| !streams.iter().any(|other| other.name == one.name)).collect();
        let mut gone = BTreeSet::new();
        for stream in &streams {
            let mut fail = |section, result: Result<()>| {
                if let Err(why) = result {
                    failed.insert((Some(stream.called().to_owned()), section), in_one_line(&why));
                }
            };
            let known = before.iter().find(|other| other.name == stream.name);
            match (known, self.standing(stream.called())) {
                (Some(known), Some(Standing { id, ended: false, .. })) => {
                    self.change(id, (known, stream), &keys, swapped, &mut fail);
                }
                // One that has ended begins again if it is another now, and else stays ended.
                (Some(_), Some(ended)) if keys.touch_stream(stream.called()) => {
                    fail(
                        Section::Source,
                        self.live.remove(ended.id).and_then(|()| self.begin(stream, &wanted, swapped)),
                    );
                }
                (Some(_), Some(_)) => {}
                (_, None) | (None, Some(_)) => {
                    // A camera is let go before it is opened under another name.
                    for old in go.iter().filter(|old| old.source.source == stream.source.source) {
                        gone.extend(self.end(old));
                    }
                    fail(Section::Source, self.begin(stream, &wanted, swapped));
                }
            }
        }
        for old in go.iter().filter(|old| !gone.contains(old.called())) {
            let others = self.live.streams().iter().any(|one| !one.ended && one.called() != old.called());
            if others {
                drop(self.end(old));
            } else {
                let why = "no stream would be left, since no other could be opened".to_owned();
                failed.insert((Some(old.called().to_owned()), Section::Source), why);
            }
        }
        // It judges by what holds for the streams from now on.
        detector.into_iter().for_each(|open| self.live.judge_with(open));
        let outcome = keys.judged(&failed);
        *self.current() = keys.in_force(current, &wanted, &failed);
        outcome.log();
        Ok(outcome)
    }

    /// Begins to watch a stream.
    fn begin(&self, stream: &StreamConfig, wanted: &Config, swapped: bool) -> Result<()> {
        let mut stream = stream.clone();
        // What was recorded before stays.
        stream.output.record = stream.output.record.map(|path| unused(&path, |path| path.exists()));
        let opened = self.parts.stream(stream, &wanted.output)?;
        self.live.add(Stream { judged_later: swapped, ..opened }).map(drop)
    }

    /// Watches a stream no more. Its name, if it was there.
    fn end(&self, stream: &StreamConfig) -> Option<String> {
        let standing = self.standing(stream.called())?;
        if let Err(why) = self.live.remove(standing.id) {
            tracing::error!("stream {:?}: {}", stream.called(), in_one_line(&why));
        }
        Some(stream.called().to_owned())
    }

    /// Changes a stream that is there. `swapped`: another detector is about to judge.
    fn change(
        &self,
        id: StreamId,
        (before, after): (&StreamConfig, &StreamConfig),
        keys: &Keys,
        swapped: bool,
        fail: &mut dyn FnMut(Section, Result<()>),
    ) {
        if keys::source_of(&before.source) != keys::source_of(&after.source) {
            fail(Section::Source, self.change_source(id, (before, after)));
        }
        if before.score != after.score {
            fail(Section::Score, self.live.judge_anew(id, after, swapped));
        }
        if before.overlay != after.overlay {
            fail(Section::Overlay, self.live.draw_anew(id, after));
        }
        let mut after = after.clone();
        // Where the recording is follows from how many streams there are: one that runs goes on where it is.
        if !keys.has("output.record") && !keys.has(&format!("stream.{}.output.record", after.called())) {
            after.output.record = before.output.record.clone();
            if let Ok(now) = self.live.stream_config(id) {
                after.output.record = now.output.record;
            }
        }
        let before = self.live.stream_config(id).unwrap_or_else(|_| before.clone());
        if keys::of_stream(&before.output) != keys::of_stream(&after.output) {
            if before.output.record != after.output.record {
                after.output.record = after.output.record.map(|path| unused(&path, |path| path.exists()));
            }
            let events = || -> Result<_> {
                let moved = before.output.events != after.output.events;
                moved.then(|| self.parts.events(&after)).transpose()
            };
            fail(Section::Output, events().and_then(|events| self.live.encode_anew(id, &after, events)));
        }
    }

    /// Another source for a stream. A camera that both name is let go first; if it cannot be opened, it is opened as before.
    fn change_source(&self, id: StreamId, (before, after): (&StreamConfig, &StreamConfig)) -> Result<()> {
        let open = |config: &StreamConfig| -> Result<()> {
            let stop = self.stop.of_part();
            let source = self.parts.source(config, &stop)?;
            self.live.watch_anew(id, config, source, stop)
        };
        let location = after.source.source.secret();
        let device = ["v4l2:", "csi:"].iter().any(|scheme| location.starts_with(scheme));
        if !(device && before.source.source == after.source.source) {
            return open(after);
        }
        self.live.let_go(id)?;
        open(after).inspect_err(|_| {
            if let Err(why) = open(before) {
                tracing::error!("stream {:?}: {}", before.called(), in_one_line(&why));
            }
        })
    }

    /// How the stream stands that is called so.
    fn standing(&self, called: &str) -> Option<Standing> {
        self.live.streams().into_iter().rev().find(|one| one.called() == called)
    }
}

fn refused(why: &anyhow::Error) -> SteerError {
    SteerError::Refused(in_one_line(why))
}

/// What a stream is called.
fn called(stream: &SourceConfig) -> &str {
    stream.name.as_deref().unwrap_or(StreamConfig::UNNAMED)
}

/// The streams of a configuration that can be run live.
///
/// # Errors
/// The key and what it may be.
fn checked(wanted: &Config) -> Result<Vec<StreamConfig>> {
    wanted.check()?;
    if wanted.streams.is_empty() {
        bail!("nothing to watch: there is no [[stream]]");
    }
    let streams = wanted.each_stream()?;
    match streams.iter().find(|stream| stream.source.pace == Pace::Fast) {
        Some(fast) => {
            bail!("stream {:?}: pace = \"fast\" is for a run of its own: restart farout", fast.called())
        }
        None => Ok(streams),
    }
}
