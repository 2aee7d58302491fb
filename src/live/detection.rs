//! The detection lane: one model, one bank and one search judge the newest pictures of all streams.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::gave_up::GaveUp;
use super::ladder::{Finding, Ladder};
use super::opened::{Opened, Opener};
use super::priority;
use super::shared::{Next, Shared};
use super::verdicts::{DetectionStatus, Scored};
use crate::causes::in_one_line;
use crate::detector::{Judged, Record};
use crate::flow::{Flow, Pace, Stage};
use crate::stop::Stop;

/// A detector that fails more often than this in [`WINDOW`] is given up.
const MOST_RESTARTS: usize = 3;
/// See [`MOST_RESTARTS`].
const WINDOW: Duration = Duration::from_secs(600);
/// How long the lane waits before it is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the detector and lets it judge; opens it again where it fails, but not for ever, or where it is too slow and the
/// configuration has a ladder.
///
/// # Errors
/// A detector that cannot be opened at the start, or fails again and again.
pub(super) fn run(shared: &Arc<Shared>, status: &Arc<DetectionStatus>, open: &Opener) -> Result<()> {
    priority::lower(shared.config().flow.detection_nice);
    let mut failures: Vec<Instant> = Vec::new();
    let ladder = |shared: &Shared| {
        let flow = &shared.config().flow;
        Arc::new(Mutex::new(Ladder::new(flow.least_verdicts, flow.ladder.len(), Instant::now())))
    };
    let mut climbed = ladder(shared);
    let opened = |rung, strict| -> Result<Opened> {
        let detector = open(&shared.config().at_rung(rung))?;
        shared.judge_by(Some(&detector.alarms), strict)?;
        Ok(detector)
    };
    // At the start, a stream that asks for what is not there is a wrong setting, no failure.
    let mut first = Some(opened(0, true)?);
    loop {
        if let Some(Next { config, detector }) = shared.next.take() {
            shared.set_config(config);
            climbed = ladder(shared);
            status.health.problem("overload", None);
            shared.judge_by(Some(&detector.alarms), false)?;
            first = Some(detector);
        }
        let ladder = &climbed;
        let rung = lock(ladder).at();
        let opened = first.take().map_or_else(|| opened(rung, rung > 0), Ok);
        let could = opened.is_ok();
        lock(ladder).begin();
        let ended = opened.and_then(|detector| judge(shared, status, detector, ladder));
        shared.judge_by(None, false)?;
        let Err(why) = ended else {
            if shared.next.waits() && !shared.stop.asked() {
                continue;
            }
            if lock(ladder).at() == rung || shared.stop.asked() {
                return Ok(());
            }
            status.reopens();
            continue;
        };
        if shared.stop.asked() {
            return Err(why);
        }
        let told = in_one_line(&why);
        if !could && lock(ladder).refuse(Instant::now()) {
            tracing::error!(why = told, rung, "flow.ladder: this step cannot be taken now");
            let why = format!("step {rung} of the ladder cannot be taken: {told}");
            status.health.problem("overload", Some(why));
            continue;
        }
        let now = Instant::now();
        failures.retain(|then| now.duration_since(*then) < WINDOW);
        failures.push(now);
        if failures.len() > MOST_RESTARTS {
            return Err(why
                .context(format!(
                    "the detector failed {} times in {} minutes",
                    failures.len(),
                    WINDOW.as_secs() / 60
                ))
                .context(GaveUp));
        }
        tracing::error!(why = told, attempt = failures.len(), "detection failed; it is opened again");
        status.failed(told);
        shared.forget_verdicts();
        std::thread::sleep(PAUSE);
    }
}

fn lock(ladder: &Mutex<Ladder>) -> MutexGuard<'_, Ladder> {
    ladder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Judges the newest pictures until there are no more, or another rung of the ladder is to be taken.
fn judge(
    shared: &Arc<Shared>,
    status: &Arc<DetectionStatus>,
    detector: Opened,
    ladder: &Arc<Mutex<Ladder>>,
) -> Result<()> {
    status.opened(detector.facts);
    let record =
        Record { events: shared.recorders.clone(), looks: Some(shared.looks.clone()), ..Record::default() };
    // Its own token: a lane that ends must not end the pictures.
    let stop = shared.stop.of_part();
    *shared.chain.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop.clone());
    // One that came meanwhile ends this chain at once.
    if shared.next.waits() {
        stop.ask();
    }
    let source = shared.handovers.source(stop.clone());
    let pace = Pace::Pulled { in_flight: shared.config().flow.in_flight };
    let frames = Flow::from_source(source, pace, Arc::clone(&status.health), stop.clone())?;
    let (shared, status, ladder) = (Arc::clone(shared), Arc::clone(status), Arc::clone(ladder));
    let patience = shared.patience();
    let publish = Publish { shared, status, ladder, stop };
    Ok((detector.chain)(frames)?.stage("record", record)?.run("publish", publish, patience)?)
}

/// The end of the detection lane.
struct Publish {
    shared: Arc<Shared>,
    status: Arc<DetectionStatus>,
    ladder: Arc<Mutex<Ladder>>,
    /// Ends the lane, for another rung.
    stop: Stop,
}

impl Publish {
    /// What came of one more verdict.
    fn find(&self, found: Finding) {
        let config = self.shared.config();
        let least = config.flow.least_verdicts;
        let on = |rung: usize| match config.flow.ladder.get(rung.wrapping_sub(1)) {
            Some(step) => step.to_string(),
            None => "as configured".to_owned(),
        };
        let at = lock(&self.ladder).at();
        let state = match found {
            Finding::Enough if at == 0 => None,
            Finding::Enough => return,
            Finding::TooFew(rate) => Some(format!("{rate:.1} verdicts/s are fewer than {least}, {}", on(at))),
            Finding::Down(rung, rate) => {
                let why = format!("{} since {rate:.1} verdicts/s were fewer than {least}", on(rung));
                tracing::warn!("overload: {why}");
                self.stop.ask();
                Some(why)
            }
            Finding::Up(rung) => {
                tracing::info!("overload: {} is tried again", on(rung));
                self.stop.ask();
                (rung > 0).then(|| format!("{} for now", on(rung)))
            }
        };
        self.status.health.problem("overload", state);
    }
}

impl Stage for Publish {
    type In = Judged;
    type Out = ();

    fn step(&mut self, Judged { frame, verdict, .. }: Judged) -> Result<()> {
        // A stream that was taken away meanwhile has no verdict, or nobody who shows it. What was under way when another
        // rung was chosen says nothing about that.
        if let (Some(verdict), Some(verdicts)) = (verdict, self.shared.verdicts(frame.stream)) {
            self.shared.tell_of_scene(frame.stream, verdict.scene_out);
            self.shared.tell_of_verdict(&frame, &verdict);
            verdicts.publish(Some(Scored { frame: frame.id, captured: frame.captured, verdict }));
            if !self.stop.asked() {
                let waited = self.status.health.waited_for_source();
                let found = lock(&self.ladder).verdict(frame.stream, waited, Instant::now());
                found.into_iter().for_each(|found| self.find(found));
            }
        }
        Ok(())
    }
}
