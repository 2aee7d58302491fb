//! What the lanes of a live run share.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use super::gave_up::GaveUp;
use super::handover::Handovers;
use super::opened::Opened;
use super::verdicts::{DetectionStatus, LaneState, TimedVerdict, VerdictHook, Verdicts};
use crate::causes::in_one_line;
use crate::config::{Config, StreamConfig};
use crate::detector::{Alarms, EventRecorders, Looks, Verdict};
use crate::frame::{Frame, StreamId};
use crate::health::Health;
use crate::overlay::OverlayConfig;
use crate::pending::Pending;
use crate::sink::OutputConfig;
use crate::source::Switch;
use crate::stop::Stop;

/// How a stream stands.
#[derive(Clone)]
pub struct Standing {
    /// Its number.
    pub id: StreamId,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// Its pictures.
    pub pictures: Arc<Health>,
    /// Its verdicts, if pictures are judged.
    pub verdicts: Option<Arc<Verdicts>>,
    /// Whether its pictures have ended.
    pub ended: bool,
}

impl Standing {
    /// What it is called where it has no name.
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(StreamConfig::UNNAMED)
    }
}

/// Whether each stream's first picture has left the encoder and the detector is open.
pub fn is_ready(streams: &[Standing], detection: Option<&DetectionStatus>) -> bool {
    let opening = detection.is_some_and(|one| one.lane() == LaneState::Opening);
    !opening && streams.iter().all(|stream| stream.pictures.frames_done() > 0)
}

/// What the lanes share.
pub(super) struct Shared {
    config: Mutex<Arc<Config>>,
    /// A detector that is to judge instead of the one that does.
    pub next: Pending<Next>,
    /// Ends the chain that judges now, and it alone.
    pub chain: Mutex<Option<Stop>>,
    pub stop: Stop,
    pub handovers: Handovers,
    pub recorders: EventRecorders,
    pub looks: Looks,
    pub detection: Option<Arc<DetectionStatus>>,
    streams: Mutex<Streams>,
    /// A picture lane has ended.
    pub changed: Condvar,
    /// Told of each verdict.
    pub verdict_hook: OnceLock<VerdictHook>,
}

#[derive(Default)]
pub(super) struct Streams {
    pub running: BTreeMap<StreamId, Running>,
    pub next: StreamId,
    /// Streams are being exchanged: a moment without any is not the end.
    pub exchanged: u32,
    /// What streams are judged by, while the detector is open.
    pub alarms: Option<Alarms>,
    /// What failed first in a picture lane.
    pub failure: Option<anyhow::Error>,
}

/// Encodes and records as the configuration says from the next picture on, or says why not.
pub type Reencode = Arc<dyn Fn(&OutputConfig) -> Result<()> + Send + Sync>;

/// A detector that is open and has not judged yet, with what holds from then on.
pub(super) struct Next {
    pub config: Arc<Config>,
    pub detector: Opened,
}

pub(super) struct Running {
    pub config: StreamConfig,
    pub standing: Standing,
    /// Ends the stream.
    pub stop: Stop,
    /// Ends its source, for another.
    pub source_stop: Stop,
    pub switch: Switch,
    pub restyled: Pending<OverlayConfig>,
    pub reencode: Option<Reencode>,
    pub scene_out: bool,
    pub thread: Option<JoinHandle<()>>,
}

impl Shared {
    /// Without streams yet.
    pub fn new(config: Config, judged: bool, stop: Stop) -> Shared {
        Shared {
            config: Mutex::new(Arc::new(config)),
            next: Pending::default(),
            chain: Mutex::default(),
            stop,
            handovers: Handovers::default(),
            recorders: EventRecorders::default(),
            looks: Looks::default(),
            detection: judged.then(Arc::<DetectionStatus>::default),
            streams: Mutex::default(),
            changed: Condvar::new(),
            verdict_hook: OnceLock::new(),
        }
    }

    /// What holds for model, search and flow.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this holds.
    pub fn set_config(&self, config: Arc<Config>) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a lane may take to drain.
    pub fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.config().flow.drain_secs)
    }

    /// From now on all streams are judged by `alarms`; by nobody without. A stream that asks for what model and bank do
    /// not give is an error if `strict`; else it alone goes unjudged, and says why.
    ///
    /// # Errors
    /// See above.
    pub fn judge_by(&self, alarms: Option<&Alarms>, strict: bool) -> Result<()> {
        let mut streams = self.streams();
        for (id, stream) in &streams.running {
            let Some(alarms) = alarms.filter(|_| !stream.standing.ended) else { continue };
            let judged = stream.judge_by(alarms, *id);
            let why = judged.as_ref().err().map(in_one_line);
            stream.standing.pictures.problem("detection", why);
            if strict {
                judged?;
            }
        }
        streams.alarms = alarms.cloned();
        Ok(())
    }

    /// The verdicts of a stream that is there.
    pub fn verdicts(&self, stream: StreamId) -> Option<Arc<Verdicts>> {
        self.streams().running.get(&stream)?.standing.verdicts.clone()
    }

    /// Says whether a stream's scene as a whole is unlike the bank.
    pub fn tell_of_scene(&self, stream: StreamId, out: bool) {
        let mut streams = self.streams();
        let Some(running) = streams.running.get_mut(&stream).filter(|one| one.scene_out != out) else {
            return;
        };
        running.scene_out = out;
        let called = running.standing.called();
        let why = out.then(|| {
            tracing::warn!(stream = called, "the scene as a whole is unlike the bank");
            "all of it is unlike what the detector knows: is the lens covered, is it night, glare or a tunnel?".to_owned()
        });
        if !out {
            tracing::info!(stream = called, "the scene is like the bank again");
        }
        running.standing.pictures.problem("scene", why);
    }

    /// Tells whoever wants to know what was found in a frame.
    pub fn tell_of_verdict(&self, frame: &Frame, verdict: &Verdict) {
        let Some(hook) = self.verdict_hook.get() else { return };
        let standing = self.streams().running.get(&frame.stream).map(|running| running.standing.clone());
        if let Some(standing) = standing {
            let (captured, utc) = (frame.captured, frame.utc);
            hook(TimedVerdict { stream: standing.called(), captured, utc, verdict });
        }
    }

    /// What was known holds no more.
    pub fn forget_verdicts(&self) {
        for stream in self.streams().running.values() {
            stream.standing.verdicts.iter().for_each(|verdicts| verdicts.publish(None));
        }
    }

    /// A picture lane has ended. A part that failed ends the run; a source that failed ends its own stream only, and is
    /// told at the end of the run.
    pub fn ended(&self, stream: StreamId, result: Result<()>) {
        let mut streams = self.streams();
        let Some(running) = streams.running.get_mut(&stream) else { return };
        running.standing.ended = true;
        let verdicts = running.standing.verdicts.clone();
        if let Err(why) = result {
            let why = match &running.standing.name {
                Some(name) => why.context(format!("stream {name:?}")),
                None => why,
            };
            tracing::error!("{}", in_one_line(&why));
            if why.downcast_ref::<GaveUp>().is_some() {
                self.stop.ask();
            }
            streams.failure.get_or_insert(why);
        }
        // The last stream's last frames are judged to the end; of others nothing is left behind.
        let others = streams.running.values().any(|other| !other.standing.ended);
        drop(streams);
        if others {
            verdicts.iter().for_each(|verdicts| verdicts.publish(None));
            if let Err(why) = self.judge_no_more(stream) {
                tracing::error!("events: {}", in_one_line(&why));
            }
        }
        self.changed.notify_all();
    }

    /// A stream is judged no more, and its events end.
    ///
    /// # Errors
    /// If what is left of its events cannot be written.
    pub fn judge_no_more(&self, stream: StreamId) -> Result<()> {
        self.streams().alarms.iter().for_each(|alarms| alarms.remove(stream));
        self.looks.forget(stream);
        self.recorders.remove(stream)
    }
}

impl Running {
    /// From now on it is judged by `alarms`.
    ///
    /// # Errors
    /// What it asks for and model and bank do not give.
    pub fn judge_by(&self, alarms: &Alarms, id: StreamId) -> Result<()> {
        let added = alarms.add(id, &self.config.score);
        let added = added
            .map(|level| self.standing.verdicts.iter().for_each(|one| one.scores.judge_by(level.clone())));
        match &self.standing.name {
            Some(name) => added.with_context(|| format!("stream {name:?}")),
            None => added,
        }
    }
}
