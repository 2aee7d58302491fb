//! Stages on named threads joined by bounded channels: one way to run them, live or offline.
//!
//! Queues block. Only the queue behind a live source drops, keeps the newest frame and counts
//! what it drops; how many frames are under way behind it is limited, so that latency stays
//! bounded when a stage is too slow. Every stage's time and its queue's wait are measured here.

mod parcel;
mod reading;

use std::any::Any;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::causes::in_one_line;
use crate::frame::{Frame, FrameId};
use crate::health::{Health, SOURCE_STAGE, StageHealth};
use crate::source::{Source, SourceError};
use crate::stop::Stop;
use parcel::{Over, Parcel};
use reading::{Reading, Unread};

/// One step of the way. It runs on a thread of its own and sees every item in order.
pub trait Stage: Send + 'static {
    /// What it takes.
    type In: Send + 'static;
    /// What it gives.
    type Out: Send + 'static;

    /// Turns one item into the next.
    ///
    /// # Errors
    /// Offline, an error ends the flow and names the frame; live, it is counted, told now
    /// and then, and the stream goes on with the next frame, unless every frame fails for 10 seconds.
    fn step(&mut self, item: Self::In) -> anyhow::Result<Self::Out>;

    /// Called once after the last item, also when the flow ends early: files are closed here.
    ///
    /// # Errors
    /// Ends the flow with this error.
    fn finish(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// What a flow does when it is behind, and when one frame fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Keep only the newest frame, at most `in_flight` frames under way, fewer where more would only wait
    /// before the slowest stage ([`Health::useful_in_flight`]); go on after faults.
    Live {
        /// Most frames between the source and the end of the flow.
        in_flight: usize,
    },
    /// As `Live`, from a source that holds its newest frame itself: it is asked only when there is room for one more.
    Pulled {
        /// Most frames between the source and the end of the flow.
        in_flight: usize,
    },
    /// Wait; stop at the first fault.
    Offline,
}

/// Why a flow ended early.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The source failed, or ended in the middle of a recording.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A stage failed on a frame, or while finishing.
    #[error("{stage}{at}: {why}", why = in_one_line(why), at = match frame { Some(f) => format!(", frame {f}"), None => String::new() })]
    Stage {
        /// The stage's name.
        stage: String,
        /// The frame it worked on, if any.
        frame: Option<FrameId>,
        /// What happened.
        why: anyhow::Error,
    },
    /// A stage has a bug: it panicked.
    #[error("{stage} panicked: {message}; this is a bug in farout, please report it")]
    Panic {
        /// The stage's name.
        stage: String,
        /// What it said.
        message: String,
    },
    /// The flow did not drain in time after it was asked to stop.
    #[error("{stage} did not finish within {secs:.0} s")]
    Stuck {
        /// The stage's name.
        stage: String,
        /// How long it was waited for.
        secs: f64,
    },
}

type Worker = (String, JoinHandle<Result<(), FlowError>>);

/// A chain of stages that run already; `T` is what comes out at its end.
pub struct Flow<T> {
    output: Receiver<Parcel<T>>,
    workers: Vec<Worker>,
    pace: Pace,
    health: Arc<Health>,
    stop: Stop,
    over: Over,
}

/// Depth of the queue in front of each stage.
const DEPTH: usize = 1;
/// A live stage that has failed on every frame for so long, and on so many, is given up.
const GIVEN_UP: (Duration, u32) = (Duration::from_secs(10), 10);
/// How often a faulty live stage may complain.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

fn spawn(
    name: &str,
    body: impl FnOnce() -> Result<(), FlowError> + Send + 'static,
) -> Result<Worker, FlowError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(|handle| (name.to_owned(), handle))
        .map_err(|e| FlowError::Stage { stage: name.to_owned(), frame: None, why: e.into() })
}

impl Flow<Frame> {
    /// Starts reading `source`.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn from_source(
        source: Box<dyn Source>,
        pace: Pace,
        health: Arc<Health>,
        stop: Stop,
    ) -> Result<Self, FlowError> {
        let (sender, output) = bounded(DEPTH);
        if let Some(status) = source.status() {
            health.watch(status);
        }
        let over = Over::default();
        let reading = Reading::new(source, sender, Arc::clone(&health), stop.clone(), over.clone());
        let body = move || match pace {
            Pace::Offline => reading.all(),
            Pace::Live { in_flight } => reading.newest(in_flight),
            Pace::Pulled { in_flight } => reading.pulled(in_flight),
        };
        let body = move || {
            body().map_err(|failed| match failed {
                Unread::Source(why) => FlowError::Source(why),
                Unread::Thread(why) => {
                    FlowError::Stage { stage: SOURCE_STAGE.into(), frame: None, why: why.into() }
                }
                Unread::Panic(panic) => {
                    FlowError::Panic { stage: SOURCE_STAGE.into(), message: panic_message(&*panic) }
                }
            })
        };
        let workers = vec![spawn("source", body)?];
        Ok(Flow { output, workers, pace, health, stop, over })
    }
}

impl<T: Send + 'static> Flow<T> {
    /// The counters of this flow.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Adds a stage on a thread called `name`.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn stage<S: Stage<In = T>>(self, name: &str, stage: S) -> Result<Flow<S::Out>, FlowError> {
        let Flow { output: input, mut workers, pace, health, stop, over } = self;
        let (sender, output) = bounded(DEPTH);
        let work =
            Work { name: name.to_owned(), pace, health: health.stage(name), faults: Arc::clone(&health) };
        let end = over.at_end();
        workers.push(spawn(name, move || {
            let _end = end;
            work.run(stage, &input, Some(&sender))
        })?);
        Ok(Flow { output, workers, pace, health, stop, over })
    }

    /// Runs the last stage on this thread until the flow ends, then waits for all threads.
    /// `patience` bounds how long the draining may take once stopping was asked.
    ///
    /// # Errors
    /// The first failure along the way, in the order of the stages.
    pub fn run<S: Stage<In = T>>(self, name: &str, stage: S, patience: Duration) -> Result<(), FlowError> {
        let Flow { output: input, mut workers, pace, health, stop, over } = self;
        let work = Work { name: name.to_owned(), pace, health: health.stage(name), faults: health };
        let end = over.at_end();
        workers.push(spawn(name, move || {
            let _end = end;
            work.run::<S>(stage, &input, None)
        })?);
        join_all(workers, &stop, patience)
    }
}

/// What a stage's thread knows besides the stage.
struct Work {
    name: String,
    pace: Pace,
    health: StageHealth,
    faults: Arc<Health>,
}

impl Work {
    fn run<S: Stage>(
        &self,
        mut stage: S,
        input: &Receiver<Parcel<S::In>>,
        output: Option<&Sender<Parcel<S::Out>>>,
    ) -> Result<(), FlowError> {
        let result = self.steps(&mut stage, input, output);
        let finished = stage.finish();
        result?;
        finished.map_err(|why| self.error(None, why))
    }

    fn steps<S: Stage>(
        &self,
        stage: &mut S,
        input: &Receiver<Parcel<S::In>>,
        output: Option<&Sender<Parcel<S::Out>>>,
    ) -> Result<(), FlowError> {
        let mut complained: Option<Instant> = None;
        let mut failing: Option<(Instant, u32)> = None;
        for Parcel { item, frame, sent, permit } in input {
            let begun = Instant::now();
            self.health.waited(begun.duration_since(sent));
            let result = stage.step(item);
            self.health.worked(begun.elapsed());
            match result {
                Ok(item) => {
                    failing = None;
                    let parcel = Parcel { item, frame, sent: Instant::now(), permit };
                    // A closed queue means that a later stage ended; it will say why.
                    if output.is_some_and(|output| output.send(parcel).is_err()) {
                        break;
                    }
                }
                Err(why) if self.pace == Pace::Offline => return Err(self.error(Some(frame), why)),
                Err(why) => {
                    let faults = self.faults.frame_failed();
                    let (since, times) = failing.get_or_insert((Instant::now(), 0));
                    *times += 1;
                    if since.elapsed() > GIVEN_UP.0 && *times >= GIVEN_UP.1 {
                        return Err(self.error(Some(frame), why));
                    }
                    if complained.is_none_or(|then| then.elapsed() > COMPLAINT_INTERVAL) {
                        complained = Some(Instant::now());
                        tracing::warn!(stage = self.name, frame, faults, "frame lost: {}", in_one_line(&why));
                    }
                }
            }
        }
        Ok(())
    }

    fn error(&self, frame: Option<FrameId>, why: anyhow::Error) -> FlowError {
        FlowError::Stage { stage: self.name.clone(), frame, why }
    }
}

/// Waits for all workers; the first failure in the order of the stages wins.
fn join_all(workers: Vec<Worker>, stop: &Stop, patience: Duration) -> Result<(), FlowError> {
    let mut result = Ok(());
    let mut asked_at: Option<Instant> = None;
    for (stage, handle) in workers {
        while !handle.is_finished() {
            if stop.asked() {
                let since = *asked_at.get_or_insert_with(Instant::now);
                if since.elapsed() > patience {
                    return result.and(Err(FlowError::Stuck { stage, secs: patience.as_secs_f64() }));
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = match handle.join() {
            Ok(ended) => ended,
            Err(panic) => Err(FlowError::Panic { stage, message: panic_message(&*panic) }),
        };
        // A stage that failed closes the queue before it: a cause further down the chain is the
        // later one in this list, so an earlier Ok is never in its way.
        result = result.and(ended);
    }
    result
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no message)".to_owned())
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
