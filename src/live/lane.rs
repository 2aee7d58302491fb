//! Both lanes set up and run side by side, from a source to the video output.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::carry::Carrier;
use super::handover::Handover;
use super::priority;
use super::show::{LiveStatus, Show};
use super::verdicts::{Scored, Verdicts};
use crate::causes::in_one_line;
use crate::config::Config;
use crate::detector::{Deliver, Detector, EventRecorder, Judged, Record, VideoEnd};
use crate::flow::{Flow, Pace, Stage};
use crate::grid::PixelScores;
use crate::health::Health;
use crate::luma::Luma;
use crate::overlay::Overlay;
use crate::sink::EventLog;
use crate::source::Source;
use crate::stop::Stop;

/// A detector that fails more often than this in [`WINDOW`] is given up.
const MOST_RESTARTS: usize = 3;
/// See [`MOST_RESTARTS`].
const WINDOW: Duration = Duration::from_secs(600);
/// How long the lane waits before it is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// What is said of a bug.
const PANICKED: &str = "the detection lane panicked; this is a bug in farout, please report it";
/// Pictures between the camera and the encoder.
const PICTURES_IN_FLIGHT: usize = 2;

/// What the lanes work with.
pub struct Lanes<'a> {
    /// All settings.
    pub config: &'a Config,
    /// Counts pictures.
    pub pictures: Arc<Health>,
    /// The newest verdict, and figures on all, if pictures are judged.
    pub verdicts: Option<Arc<Verdicts>>,
    /// Ends both lanes.
    pub stop: Stop,
}

/// Runs both lanes until the source ends or stopping is asked, and everything is drained.
///
/// # Errors
/// A detector that cannot be opened, or fails again and again; a picture lane that fails for good.
pub fn run(lanes: &Lanes<'_>, source: Box<dyn Source>, video: Box<dyn VideoEnd>) -> Result<()> {
    let Lanes { config, pictures, verdicts, stop } = lanes;
    let patience = Duration::from_secs_f64(config.flow.drain_secs);
    let detection = verdicts.as_ref().map(|verdicts| Detection {
        config,
        handover: Handover::default(),
        verdicts,
        stop,
        rate: source.rate(),
        patience,
    });
    let handover = detection.as_ref().map(|detection| detection.handover.clone());
    let frames = Flow::from_source(
        source,
        Pace::Live { in_flight: PICTURES_IN_FLIGHT },
        Arc::clone(pictures),
        stop.clone(),
    )?;
    let show = Show {
        handover: handover.clone(),
        verdicts: verdicts.clone().unwrap_or_default(),
        pictures: Arc::clone(pictures),
        overlay: Overlay::new(&config.overlay),
        max_age: Duration::from_secs_f64(config.overlay.max_age_secs),
        carrier: Carrier::default(),
        luma: Luma::default(),
        scores: PixelScores::default(),
        regions: Vec::new(),
        shown: None,
        status: LiveStatus::default(),
    };
    let deliver = Deliver { pictures: None, video: Some(video), health: Arc::clone(pictures) };
    std::thread::scope(|scope| {
        let lane = detection.map(|detection| {
            let body = move || {
                let ended = catch_unwind(AssertUnwindSafe(|| detection.run()));
                if !matches!(ended, Ok(Ok(()))) {
                    // Pictures without detection are no detector.
                    stop.ask();
                }
                ended.unwrap_or_else(|_| Err(anyhow!(PANICKED)))
            };
            std::thread::Builder::new().name("detection".into()).spawn_scoped(scope, body)
        });
        let lane = lane.transpose().context("cannot start the detection lane's thread");
        let shown = match &lane {
            Ok(_) => frames.stage("overlay", show).and_then(|drawn| drawn.run("encode", deliver, patience)),
            Err(_) => Ok(()),
        };
        handover.iter().for_each(Handover::close);
        let judged = match lane?.map(std::thread::ScopedJoinHandle::join) {
            None => Ok(()),
            Some(Ok(ended)) => ended,
            Some(Err(_)) => Err(anyhow!(PANICKED)),
        };
        // What failed first ended the other.
        judged.and(shown.map_err(Into::into))
    })
}

/// What the detection lane's thread works with.
struct Detection<'a> {
    config: &'a Config,
    handover: Handover,
    verdicts: &'a Arc<Verdicts>,
    stop: &'a Stop,
    rate: Option<f64>,
    patience: Duration,
}

impl Detection<'_> {
    /// Opens the detector and lets it judge; opens it again where it fails, but not for ever.
    fn run(&self) -> Result<()> {
        priority::lower(self.config.flow.detection_nice);
        let mut failures: Vec<Instant> = Vec::new();
        let mut detector = Some(Detector::open(self.config)?);
        loop {
            let opened = match detector.take() {
                Some(detector) => Ok(detector),
                None => Detector::open(self.config),
            };
            let Err(why) = opened.and_then(|detector| self.judge(detector)) else { return Ok(()) };
            if self.stop.asked() {
                return Err(why);
            }
            let now = Instant::now();
            failures.retain(|then| now.duration_since(*then) < WINDOW);
            failures.push(now);
            let told = in_one_line(&why);
            if failures.len() > MOST_RESTARTS {
                return Err(why.context(format!(
                    "the detector failed {} times in {} minutes",
                    failures.len(),
                    WINDOW.as_secs() / 60
                )));
            }
            tracing::error!(why = told, attempt = failures.len(), "detection failed; it is opened again");
            self.verdicts.failed(told);
            std::thread::sleep(PAUSE);
        }
    }

    /// Judges the newest pictures until there are no more.
    fn judge(&self, detector: Detector) -> Result<()> {
        let config = self.config;
        let mut record = Record::default();
        if let Some(path) = &config.output.events {
            let log = EventLog::append(path)?;
            record.events = Some(EventRecorder::new(&config.score, log));
        }
        self.verdicts.opened(detector.scale, detector.summary.clone());
        // Its own token: a lane that ends must not end the pictures.
        let stop = self.stop.of_part();
        let source = self.handover.source(self.rate, self.stop.clone());
        let pace = Pace::Live { in_flight: config.flow.in_flight };
        let frames = Flow::from_source(source, pace, Arc::clone(&self.verdicts.health), stop)?;
        let publish = Publish { verdicts: Arc::clone(self.verdicts) };
        Ok(detector.chain(frames)?.stage("record", record)?.run("publish", publish, self.patience)?)
    }
}

/// The end of the detection lane.
struct Publish {
    verdicts: Arc<Verdicts>,
}

impl Stage for Publish {
    type In = Judged;
    type Out = ();

    fn step(&mut self, Judged { frame, verdict }: Judged) -> Result<()> {
        let verdict = verdict.context("a frame without a verdict; this is a bug in farout")?;
        self.verdicts.publish(Scored { frame: frame.id, captured: frame.captured, verdict });
        Ok(())
    }
}
