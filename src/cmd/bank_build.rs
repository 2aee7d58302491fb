//! `farout bank build`: from images of normal driving to a bank.

use std::io::Write;

use anyhow::Result;
use indicatif::ProgressBar;

use super::{progress, settings, signals};
use crate::bank::{Bank, DataType, summary};
use crate::cli::{BuildArgs, Dtype};
use crate::collect::{self, BuildConfig, Input, Progress};
use crate::detector::FeatureExtractor;
use crate::file;
use crate::source::{self, Purpose, SourceConfig};
use crate::stop::Stop;

/// Builds a bank and writes it whole.
///
/// # Errors
/// The first image, label or model that cannot be used, by name.
pub fn build(args: &BuildArgs) -> Result<()> {
    let config = settings::read(&args.config)?;
    settings::named(&config.model.path, "model", "--model FILE", "model.path")?;
    file::try_place(&args.output)?;
    let stop = Stop::new();
    signals::listen(&stop)?;
    let mut inputs = collect::list(&args.images)?;
    if let Some(folder) = &args.labels {
        collect::attach_labels(&mut inputs, folder)?;
    }
    let mut extractor = FeatureExtractor::open(&config)?;
    let build = BuildConfig {
        size: args.size,
        seed: args.seed,
        data_type: match args.dtype {
            Dtype::F16 => DataType::F16,
            Dtype::F32 => DataType::F32,
        },
        void: if args.labels.is_some() {
            args.void.iter().map(|&v| u16::from(v)).collect()
        } else {
            Vec::new()
        },
        video_step: args.every,
        k: args.k,
        threads: config.search.threads,
        min_region_px: config.score.min_region_px,
        ..BuildConfig::default()
    };
    let token = stop.clone();
    let mut open = |input: &Input| {
        let location = input.path.to_string_lossy();
        Ok(source::open(&location, &SourceConfig::default(), Purpose::Offline, token.clone())?)
    };
    let mut shown = Shown { bar: progress::bar(Some(0), "frames"), calibrating: false };
    let contents = collect::build(&inputs, &build, &mut open, &mut extractor, &mut shown, &stop);
    shown.bar.finish_and_clear();
    let contents = contents?;
    contents.write(&args.output)?;
    let bank = Bank::open(&args.output, args.k)?;
    let summary = summary(&bank);
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        write!(out, "{summary}")?;
    }
    Ok(())
}

/// The build's progress as a bar.
struct Shown {
    bar: ProgressBar,
    calibrating: bool,
}

impl Progress for Shown {
    fn begin(&mut self, frames: u64) {
        self.bar.set_message("features");
        self.bar.set_length(frames);
    }

    fn frames(&mut self, done: u64) {
        self.bar.set_position(done);
    }

    fn calibrated(&mut self, done: usize, of: usize) {
        if !self.calibrating {
            self.calibrating = true;
            self.bar.reset();
            self.bar.set_message("calibration");
            self.bar.set_length(of as u64);
        }
        self.bar.set_position(done as u64);
    }

    fn warn(&mut self, message: &str) {
        self.bar.suspend(|| tracing::warn!("{message}"));
    }
}
