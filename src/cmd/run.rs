//! `farout run`: a live stream or a recording in, the overlay out over RTSP and HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::apart::apart;
use super::limited::limited;
use super::watch::{Watch, Watched};
use super::{answer, outputs, settings, signals, unread};
use crate::cli::RunArgs;
use crate::config::Config;
use crate::detector::{Deliver, Detector, Draw, EventRecorder, Record, Status, VideoEnd, detect};
use crate::flow::{Flow, Pace};
use crate::health::{Health, Report};
use crate::live::{self, Lanes, Verdicts};
use crate::overlay::Overlay;
use crate::sink::{EventLog, ShownPictures};
use crate::source::{self, Purpose, Source, Steady};
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
    let video = {
        // They end with the video.
        let servers = outputs::servers(&config.output)?;
        outputs::live(&config.output, (&servers, None), source.is_live(), source.rate(), &health)?
    };
    let lanes = source.is_live() && config.output.picture == ShownPictures::Live;
    let verdicts = (lanes && !args.detect.bypass).then(Arc::<Verdicts>::default);
    let watched = Watched { pictures: Arc::clone(&health), verdicts: verdicts.clone(), steady: lanes };
    let watch = Watch::start(watched, stop.clone(), args.seconds).context("cannot start a thread")?;
    let source = match lanes {
        true => {
            let size = (config.output.width, config.output.height);
            Box::new(Steady::new(source, size, stop.clone()).context("cannot start a thread")?)
        }
        false => source,
    };
    let source = limited(source, args.detect.frames);
    let result = match lanes {
        true => {
            let pictures = Arc::clone(&health);
            live::run(&Lanes { config: &config, pictures, verdicts: verdicts.clone(), stop }, source, video)
        }
        false => scored(args, &config, &health, &stop, source, video),
    };
    let stuck = watch.end();
    let report = Reported { pictures: health.report(), verdicts: verdicts.map(|one| one.health.report()) };
    if args.detect.json {
        answer::print_json_line(&report)?;
    } else {
        let judged = report.verdicts.iter().flat_map(|verdicts| &verdicts.stages);
        for stage in report.pictures.stages.iter().chain(judged) {
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
    // What stands still is the cause of what comes of stopping it.
    stuck.map_or(result, Err)
}

/// Judged frames only, each shown with its own verdict: one chain.
///
/// # Errors
/// As [`run`].
fn scored(
    args: &RunArgs,
    config: &Config,
    health: &Arc<Health>,
    stop: &Stop,
    source: Box<dyn Source>,
    video: Box<dyn VideoEnd>,
) -> Result<()> {
    let detector = match args.detect.bypass {
        true => None,
        false => Some(Detector::open(config)?),
    };
    let mut record = Record::default();
    if let (Some(path), Some(_)) = (&config.output.events, &detector) {
        record.events = Some(EventRecorder::new(&config.score, EventLog::append(path)?).live());
    }
    let draw = detector.as_ref().map(|detector| Draw {
        overlay: Overlay::new(&config.overlay),
        scale: detector.scale,
        status: Status::new(detector.summary.clone(), detector.scale.threshold, Some(Arc::clone(health))),
    });
    // A recording played as fast as possible is not live: nothing is dropped.
    let pace = match source.is_live() {
        true => Pace::Live { in_flight: config.flow.in_flight },
        false => Pace::Offline,
    };
    let frames = Flow::from_source(source, pace, Arc::clone(health), stop.clone())?;
    let deliver = Deliver { pictures: None, video: Some(video), health: Arc::clone(health) };
    let patience = Duration::from_secs_f64(config.flow.drain_secs);
    Ok(detect(frames, detector, record, draw, deliver, patience)?)
}

/// What a run tells at its end.
#[derive(Serialize)]
struct Reported {
    #[serde(flatten)]
    pictures: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdicts: Option<Report>,
}

impl fmt::Display for Reported {
    /// The line of the verdicts, if they go their own way, and the last one, which programs may read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Report { frames, fps, p50_ms, p95_ms, .. }) = &self.verdicts {
            writeln!(
                f,
                "verdicts: {frames}, {fps:.1} per second, age p50 {p50_ms:.0} ms, p95 {p95_ms:.0} ms"
            )?;
        }
        write!(f, "{}", self.pictures)
    }
}

/// The configuration with the flags of `run`.
fn configured(args: &RunArgs) -> Result<Config, crate::config::ConfigError> {
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
