//! The keys of two configurations that differ, and who has to do something about each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::called;
use super::outcome::{Change, Outcome};
use crate::config::Config;
use crate::score::ScoreConfig;
use crate::sink::OutputConfig;
use crate::source::SourceConfig;

/// Who has to do something about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    /// Model, bank, search and score maps: another detector is opened.
    Detector,
    /// The source of a stream.
    Source,
    /// By what a stream is judged.
    Score,
    /// How it is drawn.
    Overlay,
    /// How it is encoded and recorded.
    Output,
    /// Nobody: it takes a restart.
    Restart,
}

impl Section {
    /// Whether each stream does it by itself.
    fn is_of_stream(self) -> bool {
        matches!(self, Section::Score | Section::Overlay | Section::Output)
    }

    /// A stream's own keys of it.
    fn table(self, stream: &mut SourceConfig) -> Option<&mut toml::Table> {
        match self {
            Section::Score => Some(&mut stream.score),
            Section::Overlay => Some(&mut stream.overlay),
            Section::Output => Some(&mut stream.output),
            _ => None,
        }
    }

    /// Makes it what it was.
    fn restore(self, stream: &mut SourceConfig, before: &SourceConfig) {
        let mut old = before.clone();
        match (self.table(stream), self.table(&mut old)) {
            (Some(now), Some(then)) => now.clone_from(then),
            _ => {
                let SourceConfig { score, overlay, output, .. } = stream.clone();
                *stream = SourceConfig { score, overlay, output, ..old };
            }
        }
    }
}

/// Why nobody does.
const RESTART: &str = "this takes a restart of farout";

/// A key that differs.
struct Differs {
    change: Change,
    /// The stream that it is of; none for all.
    stream: Option<String>,
    section: Section,
}

/// What differs.
pub(super) struct Keys(Vec<Differs>);

/// What failed, by stream (none for all) and section, and why.
pub(super) type Failed = BTreeMap<(Option<String>, Section), String>;

impl Keys {
    pub(super) fn between(before: &Config, after: &Config) -> Keys {
        let (old, new) = (flat(before), flat(after));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let differs = names.into_iter().filter(|key| old.get(*key) != new.get(*key));
        let mut found: Vec<Differs> = differs
            .map(|key| {
                let (stream, section) = section(key);
                let (before, after) = (old.get(key).cloned(), new.get(key).cloned());
                Differs { change: Change { key: key.clone(), before, after, why: None }, stream, section }
            })
            .collect();
        // A password alone: it is not shown, so that both look the same.
        for stream in &after.streams {
            let known = before.streams.iter().find(|other| other.name == stream.name);
            if known.is_some_and(|known| {
                known.source != stream.source && known.source.to_string() == stream.source.to_string()
            }) {
                let shown = Some(Value::String(stream.source.to_string()));
                let key = format!("stream.{}.source", called(stream));
                let change = Change { key, before: shown.clone(), after: shown, why: None };
                let (stream, section) = (Some(called(stream).to_owned()), Section::Source);
                found.push(Differs { change, stream, section });
            }
        }
        Keys(found)
    }

    /// Whether this key differs.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|one| one.change.key == key)
    }

    /// A key that differs and makes farout read a secret, write a file, load code or run a pipeline, if there is one.
    pub(super) fn delicate(&self) -> Option<String> {
        let delicate = |one: &&Differs| {
            let key = one.change.key.as_str();
            let source = || {
                one.change.after.as_ref().and_then(Value::as_str).is_some_and(|text| text.starts_with("gst:"))
            };
            key.ends_with("output.record")
                || key.ends_with("password_file")
                || key.ends_with("output.events")
                || (key.ends_with(".source") && source())
                || ["runtime.library", "runtime.engines", "runtime.provider", "search.kernels"]
                    .iter()
                    .any(|start| key.starts_with(start))
        };
        self.0.iter().find(delicate).map(|one| one.change.key.clone())
    }

    /// Whether anything of a stream's own differs.
    pub(super) fn touch_stream(&self, name: &str) -> bool {
        self.0.iter().any(|one| one.stream.as_deref() == Some(name))
    }

    /// Whether anything of `section` differs.
    pub(super) fn touch(&self, section: Section) -> bool {
        self.0.iter().any(|one| one.section == section)
    }

    /// Why a key does not hold, if it does not.
    fn why(one: &Differs, failed: &Failed) -> Option<String> {
        if one.section == Section::Restart {
            return Some(RESTART.to_owned());
        }
        let of = |stream: &Option<String>, section| failed.get(&(stream.clone(), section));
        // A stream that could not be added has no other part either.
        let own = of(&one.stream, one.section)
            .or_else(|| of(&one.stream, Section::Source).filter(|_| one.change.before.is_none()));
        let common = || {
            let all =
                failed.iter().filter(|((stream, section), _)| stream.is_some() && *section == one.section);
            let told: Vec<_> = all
                .map(|((stream, _), why)| {
                    format!("stream {:?}: {why}", stream.as_deref().unwrap_or_default())
                })
                .collect();
            (one.stream.is_none() && !told.is_empty()).then(|| told.join("; "))
        };
        own.cloned().or_else(common)
    }

    /// What became of each key.
    pub(super) fn judged(&self, failed: &Failed) -> Outcome {
        let judged = |one: &Differs| Change { why: Self::why(one, failed), ..one.change.clone() };
        Outcome { changes: self.0.iter().map(judged).collect() }
    }

    /// The configuration that holds: `wanted`, but for what failed.
    pub(super) fn in_force(&self, current: &Config, wanted: &Config, failed: &Failed) -> Config {
        let stays: Vec<&Differs> = self.0.iter().filter(|one| Self::why(one, failed).is_some()).collect();
        if stays.is_empty() {
            return wanted.clone();
        }
        let mut shown = as_json(wanted);
        let mut streams = wanted.streams.clone();
        for one in &stays {
            let (_, last) = one.change.key.rsplit_once('.').unwrap_or(("", &one.change.key));
            match &one.stream {
                // A common key that holds for some of the streams: the others have the old value of their own.
                None if one.section.is_of_stream() && streams.len() > 1 => {
                    let old = one.change.before.as_ref().and_then(|value| toml::Value::try_from(value).ok());
                    for stream in &mut streams {
                        let missed = failed.contains_key(&(Some(called(stream).to_owned()), one.section));
                        if let (true, Some(old), Some(table)) = (missed, &old, one.section.table(stream)) {
                            table.entry(last).or_insert_with(|| old.clone());
                        }
                    }
                }
                None => set(&mut shown, &one.change.key, one.change.before.clone()),
                Some(name) => {
                    let known = current.streams.iter().find(|stream| called(stream) == name);
                    let place = streams.iter().position(|stream| called(stream) == name);
                    match (known, place) {
                        // It could not be added, or not be taken away.
                        (None, Some(at)) => drop(streams.remove(at)),
                        (Some(known), None) => streams.push(known.clone()),
                        (Some(known), Some(at)) => one.section.restore(&mut streams[at], known),
                        (None, None) => {}
                    }
                }
            }
        }
        let mut held = from_json(shown).unwrap_or_else(|_| current.clone());
        held.streams = streams;
        held.detector = match stays.iter().any(|one| one.section == Section::Detector) {
            true => current.detector.clone(),
            false => wanted.detector.clone(),
        };
        held
    }
}

/// Who has to do something about a key, and for which stream.
fn section(key: &str) -> (Option<String>, Section) {
    let of = |first: &str, second: &str| match first {
        "score" if ScoreConfig::OF_STREAM.contains(&second) => Section::Score,
        "overlay" => Section::Overlay,
        "output" if OutputConfig::OF_STREAM.contains(&second) => Section::Output,
        "output" | "access" | "events" | "supplement" | "mqtt" | "foxglove" => Section::Restart,
        _ => Section::Detector,
    };
    let mut parts = key.splitn(4, '.');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if first != "stream" {
        return (None, of(first, second));
    }
    let section = match (parts.next(), parts.next()) {
        (Some(table @ ("score" | "overlay" | "output")), Some(key)) => of(table, key),
        _ => Section::Source,
    };
    (Some(second.to_owned()), section)
}

/// All keys with their values.
fn flat(config: &Config) -> BTreeMap<String, Value> {
    fn add(found: &mut BTreeMap<String, Value>, at: &str, value: Value) {
        match value {
            Value::Object(keys) => {
                for (key, value) in keys {
                    add(found, &if at.is_empty() { key } else { format!("{at}.{key}") }, value);
                }
            }
            other => drop(found.insert(at.to_owned(), other)),
        }
    }
    let mut found = BTreeMap::new();
    add(&mut found, "", as_json(config));
    found
}

/// Written and read again: 0.4 stays 0.4, which as a 32-bit float is no short 64-bit one.
fn json(of: &impl serde::Serialize) -> Value {
    serde_json::to_string(of).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// A configuration as JSON: passwords are hidden, streams are an object by name.
pub(super) fn as_json(config: &Config) -> Value {
    let mut all = json(config);
    if let Value::Object(keys) = &mut all {
        let streams = config.streams.iter().map(|stream| (called(stream).to_owned(), json(stream)));
        keys.insert("stream".into(), Value::Object(streams.collect::<Map<_, _>>()));
    }
    all
}

/// The reverse of [`as_json`]; passwords are still hidden.
fn from_json(mut all: Value) -> Result<Config, String> {
    if let Some(Value::Object(streams)) = all.get_mut("stream").map(Value::take) {
        let streams = streams.into_iter().map(|(name, mut stream)| {
            let nameless = name == crate::config::StreamConfig::UNNAMED && stream.get("name").is_none();
            if let (Value::Object(keys), false) = (&mut stream, nameless) {
                keys.entry("name").or_insert(Value::String(name));
            }
            stream
        });
        let streams = Value::Array(streams.collect());
        if let Value::Object(keys) = &mut all {
            keys.insert("stream".into(), streams);
        }
    }
    serde_path_to_error::deserialize(all).map_err(|why| match why.path().to_string().as_str() {
        "." => why.inner().to_string(),
        path => format!("{path}: {}", why.inner()),
    })
}

/// `current` with what `patch` changes.
///
/// # Errors
/// What cannot be, with the key.
pub(super) fn patched(current: &Config, patch: &Value) -> Result<Config, String> {
    if !patch.is_object() {
        return Err(
            "a change is an object of the keys that change, such as {\"score\": {\"threshold\": 4}}".into()
        );
    }
    if patch.get("detector").is_some() {
        return Err("detector is a key of the file: write it there and reload".to_owned());
    }
    if let Some(Value::Object(streams)) = patch.get("stream") {
        let is_known = |name: &String| current.streams.iter().any(|stream| called(stream) == name);
        let unknown = |(name, keys): &(&String, &Value)| !is_known(name) && keys.get("source").is_none();
        if let Some((name, _)) = streams.iter().find(unknown) {
            let known: Vec<_> = current.streams.iter().map(called).collect();
            return Err(format!(
                "there is no stream {name:?}; there are: {}. A new one needs at least a source",
                known.join(", ")
            ));
        }
    }
    let mut all = as_json(current);
    merge(&mut all, patch);
    let mut wanted = from_json(all)?;
    for stream in &mut wanted.streams {
        // What was shown was shown without its password; it may have another name now.
        let same = |known: &&SourceConfig| known.source.to_string() == stream.source.secret();
        let named = current.streams.iter().filter(|other| other.name == stream.name).find(same);
        if let Some(known) = named.or_else(|| current.streams.iter().find(same)) {
            stream.source = known.source.clone();
        }
    }
    // Streams keep their order; new ones come last.
    let place = |stream: &SourceConfig| current.streams.iter().position(|other| other.name == stream.name);
    wanted.streams.sort_by_key(|stream| place(stream).unwrap_or(usize::MAX));
    let own = Keys::between(current, &wanted).touch(Section::Detector);
    wanted.detector = if own { None } else { current.detector.clone() };
    Ok(wanted)
}

/// JSON merge patch (RFC 7396).
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(keys) = into else { return };
    for (key, change) in changes {
        match change {
            Value::Null => drop(keys.remove(key)),
            change => merge(keys.entry(key.clone()).or_insert(Value::Null), change),
        }
    }
}

/// Sets a key, or takes it away.
fn set(all: &mut Value, key: &str, value: Option<Value>) {
    let (table, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut tables = table.split('.').filter(|name| !name.is_empty());
    let found = tables.try_fold(all, |at, name| at.get_mut(name));
    if let Some(Value::Object(keys)) = found {
        match value {
            Some(value) => drop(keys.insert(last.to_owned(), value)),
            None => drop(keys.remove(last)),
        }
    }
}

/// What is read, without what is done with it.
pub(super) fn source_of(stream: &SourceConfig) -> SourceConfig {
    let empty = toml::Table::new;
    SourceConfig { name: None, score: empty(), overlay: empty(), output: empty(), ..stream.clone() }
}

/// The part of `[output]` that a stream has of its own.
pub(super) fn of_stream(output: &OutputConfig) -> OutputConfig {
    let common = OutputConfig::default();
    let OutputConfig { rtsp, http, encoder, picture, .. } = common;
    OutputConfig { rtsp, http, encoder, picture, ..output.clone() }
}

#[cfg(test)]
mod tests;
