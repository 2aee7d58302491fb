//! What would be written, and where.

use std::path::{Path, PathBuf};

use crate::config::{Config, StreamConfig};
use crate::file::{free_space, try_place};
use crate::finding::{Finding, Standing};

const TOPIC: &str = "files";

/// Each file and folder that would be written, whether that is possible, and the room on its disk.
pub(super) fn findings(config: &Config, streams: &[StreamConfig]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut logs: Vec<&PathBuf> = Vec::new();
    for stream in streams {
        found.extend(stream.output.record.as_deref().map(|path| file("recording", path)));
        logs.extend(stream.output.events.as_ref().filter(|path| path.as_os_str() != "-"));
    }
    logs.sort();
    logs.dedup();
    found.extend(logs.into_iter().map(|path| log("event log", path)));
    found.extend(config.foxglove.record.as_deref().map(|path| file("foxglove.record", path)));
    found.extend(config.events.folder.as_deref().map(|path| folder("events.folder", path)));
    found.extend(config.supplement.folder.as_deref().map(|path| folder("supplement.folder", path)));
    found
}

/// A file that would be made, or appended to.
fn file(name: &str, path: &Path) -> Finding {
    match try_place(path) {
        Ok(()) => {
            let there = if path.exists() { ", which is there" } else { "" };
            Finding::new(TOPIC, name, Standing::Good, format!("{}{there}; {}", path.display(), room(path)))
        }
        Err(why) => Finding::new(TOPIC, name, Standing::Bad, why.to_string())
            .remedy("make the folder, and let the user that farout runs as write there"),
    }
}

/// A file that would be appended to, or made with its folder.
fn log(name: &str, path: &Path) -> Finding {
    if !path.exists() {
        return folder(name, path);
    }
    match std::fs::OpenOptions::new().append(true).open(path) {
        Ok(_) => {
            let detail = format!("{}, which is there, would grow; {}", path.display(), room(path));
            Finding::new(TOPIC, name, Standing::Good, detail)
        }
        Err(why) => Finding::new(TOPIC, name, Standing::Bad, format!("{}: {why}", path.display()))
            .remedy("let the user that farout runs as write there"),
    }
}

/// A folder that would be made if it is not there.
fn folder(name: &str, path: &Path) -> Finding {
    let existing = path.ancestors().find(|one| one.exists()).unwrap_or(Path::new("."));
    let tried = match existing.is_dir() {
        true => tempfile::Builder::new().prefix(".farout-").tempfile_in(existing).map(drop),
        false => Err(std::io::ErrorKind::NotADirectory.into()),
    };
    match tried {
        Ok(()) => {
            let made = if existing == path { "" } else { " would be made" };
            Finding::new(TOPIC, name, Standing::Good, format!("{}{made}; {}", path.display(), room(existing)))
        }
        Err(why) => Finding::new(TOPIC, name, Standing::Bad, format!("{}: {why}", existing.display()))
            .remedy("let the user that farout runs as write there"),
    }
}

/// What is free where a file lies.
fn room(path: &Path) -> String {
    let folder = path.ancestors().find(|one| one.is_dir()).unwrap_or(Path::new("."));
    free_space(folder).map_or_else(
        || "room unknown".into(),
        |free| format!("{:.1} GiB free", free as f64 / f64::from(1 << 30)),
    )
}
