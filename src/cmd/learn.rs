//! `farout learn`: from footage of normal driving to a detector.

use std::path::PathBuf;

use anyhow::Result;
use indicatif::ProgressBar;

use super::answer::answer;
use super::{progress, settings, signals, unread};
use crate::cli::LearnArgs;
use crate::collect;
use crate::config::ConfigError;
use crate::learn::{self, DEFAULT_RECIPE, Progress, Recipe, Request};
use crate::stop::Stop;

/// Learns a detector and tells what came of it.
///
/// # Errors
/// Footage, model or recipe that cannot be used, by name; being stopped.
pub fn learn(args: &LearnArgs) -> Result<()> {
    let (footage, output) = footage_and_output(args)?;
    let named = args.recipe.as_deref().unwrap_or(DEFAULT_RECIPE);
    let recipe = Recipe::find(named)?.with_horizon(named, args.horizon)?;
    let (config, says_k) = settings::read_own_and_k(&args.config, ("learn", unread::LEARN))?;
    let stop = Stop::new();
    signals::listen(&stop)?;
    let request = Request {
        footage,
        labels: args.labels.labels.clone().map(|folder| (folder, args.labels.void.clone())),
        objects: args.objects.clone(),
        more: args.more,
        output,
        recipe: (named.to_owned(), recipe),
        pictures: args.pictures,
        k: says_k.then_some(config.search.k),
        config,
    };
    let mut shown = Steps { bar: None };
    let learnt = learn::learn(&request, &mut shown, &stop);
    shown.end();
    answer(args.json, &learnt?)
}

/// The footage, and the folder of the detector: the last argument where footage is added.
fn footage_and_output(args: &LearnArgs) -> Result<(Vec<String>, PathBuf), ConfigError> {
    match (&args.output, args.footage.split_last()) {
        (Some(output), _) => Ok((args.footage.clone(), output.clone())),
        (None, Some((detector, footage))) if !footage.is_empty() => Ok((footage.to_vec(), detector.into())),
        _ => Err(ConfigError::Invalid(
            "--more needs footage, then the detector: farout learn --more drives/ DETECTOR".into(),
        )),
    }
}

/// One bar after another; a line in the log at each step's end where there is no terminal.
struct Steps {
    bar: Option<ProgressBar>,
}

impl Steps {
    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Steps {
    fn step(&mut self, name: &'static str, units: Option<u64>, unit: &'static str) {
        self.end();
        tracing::info!("{name}");
        let bar = progress::bar(units, unit);
        bar.set_message(name);
        self.bar = Some(bar);
    }

    fn done(&mut self, units: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(units);
        }
    }
}

impl collect::Progress for Steps {
    fn begin(&mut self, frames: u64) {
        self.step("bank", Some(frames), "parts");
    }

    fn frames(&mut self, done: u64) {
        self.done(done);
    }

    fn compared(&mut self, done: usize, of: usize) {
        self.within("reference distances", done, of);
    }

    fn calibrated(&mut self, done: usize, of: usize) {
        self.within("calibration", done, of);
    }

    fn warn(&mut self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tracing::warn!("{message}")),
            None => tracing::warn!("{message}"),
        }
    }
}

impl Steps {
    fn within(&mut self, name: &'static str, done: usize, of: usize) {
        if self.bar.as_ref().is_none_or(|bar| bar.message() != name) {
            self.step(name, Some(of as u64), "");
        }
        self.done(done as u64);
    }
}
