//! The detection lane: one model, one bank and one search judge the newest pictures of all streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::priority;
use super::shared::Shared;
use super::verdicts::{DetectionStatus, Scored};
use crate::causes::in_one_line;
use crate::detector::{Detector, Judged, Record};
use crate::flow::{Flow, Pace, Stage};

/// A detector that fails more often than this in [`WINDOW`] is given up.
const MOST_RESTARTS: usize = 3;
/// See [`MOST_RESTARTS`].
const WINDOW: Duration = Duration::from_secs(600);
/// How long the lane waits before it is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the detector and lets it judge; opens it again where it fails, but not for ever.
///
/// # Errors
/// A detector that cannot be opened at the start, or fails again and again.
pub(super) fn run(shared: &Arc<Shared>, status: &Arc<DetectionStatus>) -> Result<()> {
    priority::lower(shared.config.flow.detection_nice);
    let mut failures: Vec<Instant> = Vec::new();
    let mut detector = Some(Detector::open(&shared.config)?);
    loop {
        let opened = match detector.take() {
            Some(detector) => Ok(detector),
            None => Detector::open(&shared.config),
        };
        let ended = opened.and_then(|detector| judge(shared, status, detector));
        shared.judge_by(None)?;
        let Err(why) = ended else { return Ok(()) };
        if shared.stop.asked() {
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
        status.failed(told);
        shared.forget_verdicts();
        std::thread::sleep(PAUSE);
    }
}

/// Judges the newest pictures until there are no more.
fn judge(shared: &Arc<Shared>, status: &Arc<DetectionStatus>, detector: Detector) -> Result<()> {
    shared.judge_by(Some(detector.alarms.clone()))?;
    status.opened(detector.summary.clone());
    let record = Record { events: shared.recorders.clone(), ..Record::default() };
    // Its own token: a lane that ends must not end the pictures.
    let stop = shared.stop.of_part();
    let source = shared.handovers.source(shared.stop.clone());
    let pace = Pace::Pulled { in_flight: shared.config.flow.in_flight };
    let frames = Flow::from_source(source, pace, Arc::clone(&status.health), stop)?;
    let publish = Publish { shared: Arc::clone(shared) };
    Ok(detector.chain(frames)?.stage("record", record)?.run("publish", publish, shared.patience())?)
}

/// The end of the detection lane.
struct Publish {
    shared: Arc<Shared>,
}

impl Stage for Publish {
    type In = Judged;
    type Out = ();

    fn step(&mut self, Judged { frame, verdict }: Judged) -> Result<()> {
        // A stream that was taken away meanwhile has no verdict, or nobody who shows it.
        if let (Some(verdict), Some(verdicts)) = (verdict, self.shared.verdicts(frame.stream)) {
            verdicts.publish(Some(Scored { frame: frame.id, captured: frame.captured, verdict }));
        }
        Ok(())
    }
}
