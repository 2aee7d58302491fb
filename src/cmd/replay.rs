//! `farout replay`: a recording from end to end, nothing dropped; video, score maps, events out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::apart::{Output, apart};
use super::limited::limited;
use super::progress::Progress;
use super::{answer, outputs, settings, signals, unread};
use crate::cli::{ReplayArgs, ScoresFormat};
use crate::config::{Config, StreamConfig};
use crate::detector::{Deliver, Detector, Draw, EventRecorder, EventRecorders, Record, Status, detect};
use crate::flow::{Flow, Pace};
use crate::health::{Health, Report};
use crate::overlay::{Overlay, ScoreScale};
use crate::sink::{EventLog, Naming, PictureFormat, PictureWriter, ScoreFormat, ScoreMapWriter, TruthWriter};
use crate::source::{self, Purpose};
use crate::stop::Stop;

/// What `--json` prints.
#[derive(Serialize)]
struct Replayed<'a> {
    source: String,
    /// `null` if detection was bypassed.
    threshold: Option<f32>,
    threshold_basis: Option<&'a str>,
    #[serde(flatten)]
    report: Report,
}

/// Processes the source to its end.
///
/// # Errors
/// The first fault, naming the frame; a recording that is cut off, after all its frames.
pub fn replay(args: &ReplayArgs) -> Result<()> {
    let source = args.input.as_deref().or(args.source.as_deref());
    let config = settings::read_detect(&args.detect, source, ("replay", unread::REPLAY))?;
    let StreamConfig { source: stream, score, overlay, output, .. } = config.one_stream("replay")?;
    let config = Config { score, overlay, output, ..config };
    apart(stream.source.secret(), &outputs_of(args, &config))?;
    let stop = Stop::new();
    signals::listen(&stop)?;
    let health = Arc::new(Health::new());
    let source = source::open(stream.source.secret(), &stream, Purpose::Offline, stop.clone())?;
    let source = limited(source, args.detect.frames);
    let described = source.describe();
    tracing::info!("{described}");
    // Still images keep their names, frames of video are numbered.
    let naming = if source.has_names() { Naming::Name } else { Naming::Number };
    let detector = match args.detect.bypass {
        true => None,
        false => Some(Detector::open(&config)?),
    };
    let level = detector.as_ref().map(|detector| detector.alarms.add(0, &config.score)).transpose()?;
    let record = recorders(args, &config, level.as_ref().map(|level| level.scale), naming, &stop)?;
    let pictures = pictures(args.pictures.as_deref(), naming)?;
    // Only now: what is wrong with the rest must not cost a video of the same name.
    let video = match &args.video {
        Some(path) => Some(outputs::file(&config, path, source.rate(), &health)?),
        None => None,
    };
    // Nothing is drawn that nobody looks at.
    let looked_at = video.is_some() || pictures.is_some();
    let draw = detector.as_ref().filter(|_| looked_at).map(|detector| Draw {
        overlay: Overlay::new(&config.overlay),
        status: Status::new(detector.summary.clone(), None),
    });
    let progress = Progress::of_frames(source.frames(), &health);
    let frames = Flow::from_source(source, Pace::Offline, Arc::clone(&health), stop)?;
    let deliver = Deliver { pictures, video, health: Arc::clone(&health) };
    let patience = Duration::from_secs_f64(config.flow.drain_secs);
    let result = detect(frames, detector, record, draw, deliver, patience);
    progress.finish();
    let report = health.report();
    if args.detect.json {
        let threshold = level.as_ref().map(|level| level.scale.threshold);
        let threshold_basis = level.as_ref().map(|level| level.basis.as_str());
        let replayed = Replayed { source: described, threshold, threshold_basis, report };
        answer::print_json_line(&replayed)?;
    } else if args.detect.events.as_deref() != Some(Path::new("-")) {
        let rate = report.frames as f64 / report.seconds.max(1e-9);
        answer::print(format!("{} frames in {:.1} s, {rate:.1} fps\n", report.frames, report.seconds))?;
    }
    Ok(result?)
}

/// Everything that is written, and may therefore not be anything that is read. The truth's files have
/// names of their own and may lie beside the frames.
fn outputs_of<'a>(args: &'a ReplayArgs, config: &'a Config) -> Vec<Output<'a>> {
    let scores = args.scores.as_deref().filter(|_| args.scores_format == ScoresFormat::Png16);
    [
        ("--frames-out", args.frames_out.as_deref()),
        ("--pictures", args.pictures.as_deref()),
        ("--scores (as png16)", scores),
        ("--video", args.video.as_deref()),
        ("the event log", config.output.events.as_deref()),
    ]
    .into_iter()
    .filter_map(|(name, path)| Some((name, path?)))
    .collect()
}

fn pictures(folder: Option<&Path>, naming: Naming) -> Result<Option<PictureWriter>> {
    Ok(folder.map(|folder| PictureWriter::new(folder, PictureFormat::Png, naming)).transpose()?)
}

/// Everything that is written before the overlay is drawn.
fn recorders(
    args: &ReplayArgs,
    config: &Config,
    scale: Option<ScoreScale>,
    naming: Naming,
    stop: &Stop,
) -> Result<Record> {
    let mut record = Record { frames: pictures(args.frames_out.as_deref(), naming)?, ..Record::default() };
    if let Some(folder) = &args.truth {
        record.truth = Some(TruthWriter::new(folder, naming)?);
    }
    let Some(scale) = scale else {
        anyhow::ensure!(
            args.scores.is_none() && config.output.events.is_none(),
            "--bypass switches detection off, so there are no --scores and no --events"
        );
        return Ok(record);
    };
    if let Some(folder) = &args.scores {
        let format = match args.scores_format {
            ScoresFormat::Npy => ScoreFormat::Npy,
            // Wide enough for what is normal and for what is far from it; beyond, it saturates.
            ScoresFormat::Png16 => ScoreFormat::Png16 {
                lo: scale.threshold - 16.0 * scale.spread,
                hi: scale.threshold + 48.0 * scale.spread,
            },
        };
        record.scores = Some(ScoreMapWriter::new(folder, format, naming)?);
    }
    if let Some(path) = &config.output.events {
        let mut log = EventLog::create(path).context("events")?;
        // Where events are all that is asked for, a reader that has gone has all that it wanted.
        if outputs_of(args, config).len() == 1 && args.scores.is_none() && args.truth.is_none() {
            log = log.while_read(stop.clone());
        }
        let name = config.streams.first().and_then(|stream| stream.name.as_deref().map(Arc::from));
        record.events = EventRecorders::one(EventRecorder::new(&config.score, name, Box::new(log)));
    }
    Ok(record)
}
