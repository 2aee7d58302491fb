//! Changes to a run while it runs: the file read again, or what the API asks for. What changed is found key by key and put
//! in force between two frames; what cannot be done is said, and the old stays.

mod keys;
mod outcome;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};

use crate::causes::in_one_line;
use crate::config::{Config, StreamConfig};
use crate::frame::StreamId;
use crate::live::{Live, Standing, Stream};
use crate::sink::{EventSink, OutputConfig};
use crate::source::{Pace, Source, SourceConfig};
use crate::stop::Stop;
use keys::{Keys, Section};
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
    fn check(&self, streams: &[StreamConfig]) -> Result<()>;

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

/// Why a change was refused as a whole: nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    /// The configuration cannot be.
    #[error("{0}; nothing was changed")]
    Refused(String),
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
    /// [`SteerError::Refused`] if it cannot be; nothing has changed then.
    pub fn patch(&self, patch: &serde_json::Value) -> Result<Outcome, SteerError> {
        let _one = self.changing();
        let wanted = keys::patched(&self.current(), patch).map_err(SteerError::Refused)?;
        self.apply(wanted)
    }

    /// Watches one more stream.
    ///
    /// # Errors
    /// [`SteerError::Refused`] if it cannot be, or cannot be opened.
    pub fn add(&self, stream: SourceConfig) -> Result<Outcome, SteerError> {
        let _one = self.changing();
        let mut wanted = self.current().clone();
        wanted.streams.push(stream);
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
        if wanted.streams.is_empty() {
            return Err(SteerError::Last(name.to_owned()));
        }
        self.apply(wanted)
    }

    /// Puts `wanted` in force as far as that can be, and notes what then holds.
    fn apply(&self, wanted: Config) -> Result<Outcome, SteerError> {
        let current = &self.current().clone();
        let streams = checked(&wanted).and_then(|streams| self.parts.check(&streams).map(|()| streams));
        let streams = streams.map_err(|why| refused(&why))?;
        let before = current.each_stream().map_err(|why| refused(&why.into()))?;
        let keys = Keys::between(current, &wanted);
        let mut failed = BTreeMap::new();
        let mut detector = None;
        if keys.touch(Section::Detector) && self.live.detection().is_some() {
            match room_for(&wanted).and_then(|()| self.live.open_detector(&wanted)) {
                Ok(open) => detector = Some(open),
                Err(why) => drop(failed.insert((None, Section::Detector), in_one_line(&why))),
            }
        }
        let names: BTreeMap<_, _> = self.standing();
        for stream in &before {
            if !streams.iter().any(|other| other.name == stream.name)
                && let Some(id) = names.get(stream.called())
                && let Err(why) = self.live.remove(*id)
            {
                tracing::error!("stream {:?}: {}", stream.called(), in_one_line(&why));
            }
        }
        for stream in &streams {
            let known = before.iter().find(|other| other.name == stream.name);
            let running = names.get(stream.called());
            let mut fail = |section, result: Result<()>| {
                if let Err(why) = result {
                    failed.insert((Some(stream.called().to_owned()), section), in_one_line(&why));
                }
            };
            match (known, running) {
                (Some(known), Some(id)) => self.change(*id, (known, stream), detector.is_some(), &mut fail),
                _ => {
                    let added = self.parts.stream(stream.clone(), &wanted.output);
                    fail(Section::Source, added.and_then(|stream| self.live.add(stream).map(drop)));
                }
            }
        }
        // It judges by what holds for the streams from now on.
        detector.into_iter().for_each(|open| self.live.judge_with(open));
        let outcome = keys.judged(&failed);
        *self.current() = keys.in_force(current, &wanted, &failed);
        outcome.log();
        Ok(outcome)
    }

    /// Changes a stream that is there. `swapped`: another detector is about to judge.
    fn change(
        &self,
        id: StreamId,
        (before, after): (&StreamConfig, &StreamConfig),
        swapped: bool,
        fail: &mut dyn FnMut(Section, Result<()>),
    ) {
        if keys::source_of(&before.source) != keys::source_of(&after.source) {
            let stop = self.stop.of_part();
            let source = self.parts.source(after, &stop);
            fail(Section::Source, source.and_then(|source| self.live.watch_anew(id, after, source, stop)));
        }
        if before.score != after.score {
            fail(Section::Score, self.live.judge_anew(id, after, swapped));
        }
        if before.overlay != after.overlay {
            fail(Section::Overlay, self.live.draw_anew(id, after));
        }
        if keys::of_stream(&before.output) != keys::of_stream(&after.output) {
            let events = || -> Result<_> {
                let moved = before.output.events != after.output.events;
                moved.then(|| self.parts.events(after)).transpose()
            };
            fail(Section::Output, events().and_then(|events| self.live.encode_anew(id, after, events)));
        }
    }

    /// The numbers of the streams that are shown, by what they are called.
    fn standing(&self) -> BTreeMap<String, StreamId> {
        let all = self.live.streams();
        all.iter().filter(|one| !one.ended).map(|one: &Standing| (one.called().to_owned(), one.id)).collect()
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

/// Whether another model and bank fit into memory beside those that are there: twice the model's file, whose weights are
/// laid out anew, and the bank's.
///
/// # Errors
/// If they do not.
fn room_for(config: &Config) -> Result<()> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let needed = 2 * size(&config.model.path) + size(&config.bank.path);
    let told = std::fs::read_to_string("/proc/meminfo").context("how much memory is free is not known");
    // Where the system does not tell, it is tried.
    let Some(free) = told.ok().as_deref().and_then(available) else { return Ok(()) };
    let mib = |bytes: u64| bytes / (1 << 20);
    match needed > free {
        true => Err(anyhow!(
            "model and bank need about {} MiB beside those that are in use, and {} MiB are free: restart farout",
            mib(needed),
            mib(free)
        )),
        false => Ok(()),
    }
}

/// Bytes that can be had without swapping, by what `/proc/meminfo` tells.
fn available(told: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
