//! `farout bank add`: marks events that were kept as normal, without a running farout.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::answer;
use crate::bank::{Mark, Supplement, SupplementConfig, Supplements};
use crate::cli::AddArgs;
use crate::config::{Config, ConfigError};
use crate::sink::{FEATURES, is_event_id};

/// What was marked.
#[derive(Serialize)]
struct Added {
    /// The supplement's folder.
    folder: PathBuf,
    /// Features in all.
    features: usize,
    /// What is new.
    marks: Vec<Mark>,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mark in &self.marks {
            writeln!(f, "marked as normal: {}, {} features", mark.id, mark.rows)?;
        }
        writeln!(
            f,
            "{} holds {} features; a running farout takes them when it reads its configuration again (systemctl reload farout)",
            self.folder.display(),
            self.features
        )
    }
}

/// Marks events as normal.
///
/// # Errors
/// An event that is not there or has no features; a supplement that is full or cannot be written. Events before it are
/// marked.
pub fn add(args: &AddArgs) -> Result<()> {
    let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let missing = |flag: &str, key: &str| {
        let why = format!("give {flag} DIR, or -c FILE with {key}");
        ConfigError::Invalid(why)
    };
    let events = args.events.clone().or(config.events.folder);
    let events = events.ok_or_else(|| missing("--events", "events.folder"))?;
    let folder = args.supplement.clone().or(config.supplement.folder);
    let folder = folder.ok_or_else(|| missing("--supplement", "supplement.folder"))?;
    let to = SupplementConfig { folder: Some(folder.clone()), ..config.supplement };
    let supplements = Supplements::open(&to)?;
    let mut marks = Vec::new();
    for id in &args.event {
        let path = events.join(id).join(FEATURES);
        if !is_event_id(id) || !path.is_file() {
            let why = "the folders there are the events; those of runs before features were kept have none";
            anyhow::bail!("there is no event {id} with {FEATURES} in {}; {why}", events.display());
        }
        let one = Supplement::read_unnamed(&path).with_context(|| format!("event {id}"))?;
        let one = one.named(id).marked_at(&format!("{:.3}", Timestamp::now()));
        marks.extend(one.marks().iter().cloned());
        supplements.add(one)?;
    }
    let features = supplements.all().1.iter().map(|one| one.rows()).sum();
    answer::answer(args.json, &Added { folder, features, marks })
}
