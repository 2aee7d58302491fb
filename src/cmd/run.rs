//! `farout run`: a live stream or a recording in, the overlay out over RTSP and HTTP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::apart::apart;
use super::limited::limited;
use super::watch::Watch;
use super::{answer, outputs, settings, signals, unread};
use crate::cli::RunArgs;
use crate::detector::{Deliver, Detector, Draw, EventRecorder, Record, Status, detect};
use crate::flow::{Flow, Pace};
use crate::health::Health;
use crate::overlay::Overlay;
use crate::sink::EventLog;
use crate::source::{self, Purpose};
use crate::stop::Stop;

/// Runs until the source ends, time is over or a signal comes.
///
/// # Errors
/// What cannot be opened, and faults that no later frame can mend.
pub fn run(args: &RunArgs) -> Result<()> {
    let config = configured(args)?;
    let written = [("--record", &config.output.record), ("the event log", &config.output.events)];
    let written: Vec<_> = written.iter().filter_map(|(name, path)| Some((*name, path.as_deref()?))).collect();
    apart(config.streams[0].source.secret(), &written)?;
    let stop = Stop::new();
    signals::listen(&stop)?;
    let health = Arc::new(Health::new());
    // Cheap things first: a port in use or a missing camera should not wait for the model.
    let stream = &config.streams[0];
    let source = source::open(stream.source.secret(), stream, Purpose::Live, stop.clone())?;
    tracing::info!("{}", source.describe());
    let video = outputs::live(&config, source.is_live(), source.rate(), &health)?;
    let detector = match args.detect.bypass {
        true => None,
        false => Some(Detector::open(&config)?),
    };
    let mut record = Record::default();
    if let (Some(path), Some(_)) = (&config.output.events, &detector) {
        record.events = Some(EventRecorder::new(&config.score, EventLog::append(path)?));
    }
    let draw = detector.as_ref().map(|detector| Draw {
        overlay: Overlay::new(&config.overlay),
        scale: detector.scale,
        status: Status::new(detector.summary.clone(), detector.scale.threshold, Some(Arc::clone(&health))),
    });
    // A recording played as fast as possible is not live: nothing is dropped.
    let pace = match source.is_live() {
        true => Pace::Live { in_flight: config.flow.in_flight },
        false => Pace::Offline,
    };
    let watch =
        Watch::start(Arc::clone(&health), stop.clone(), args.seconds).context("cannot start a thread")?;
    let frames = Flow::from_source(limited(source, args.detect.frames), pace, Arc::clone(&health), stop)?;
    let deliver = Deliver { pictures: None, video: Some(video), health: Arc::clone(&health) };
    let patience = Duration::from_secs_f64(config.flow.drain_secs);
    let result = detect(frames, detector, record, draw, deliver, patience);
    drop(watch);
    let report = health.report();
    if args.detect.json {
        answer::print_json_line(&report)?;
    } else {
        for stage in &report.stages {
            tracing::info!(
                "{:<10} {:7.2} ms per frame, {:7.2} ms waiting, {} frames",
                stage.name,
                stage.busy_ms,
                stage.wait_ms,
                stage.frames
            );
        }
        answer::print(format!("{report}\n"))?;
    }
    Ok(result?)
}

/// The configuration with the flags of `run`.
fn configured(args: &RunArgs) -> Result<crate::config::Config, crate::config::ConfigError> {
    let mut config = settings::read_detect(&args.detect, args.source.as_deref(), ("run", unread::RUN))?;
    for stream in &mut config.streams {
        stream.repeat |= args.looped;
        if args.fast {
            stream.pace = source::Pace::Fast;
        }
    }
    for (flag, address) in [(&args.rtsp, &mut config.output.rtsp), (&args.http, &mut config.output.http)] {
        if let Some(flag) = flag {
            address.clone_from(flag);
        }
    }
    if let Some(path) = &args.record {
        config.output.record = Some(path.clone());
    }
    Ok(config)
}
