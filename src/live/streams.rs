//! The streams of a live run: each with a picture lane of its own, all before one detection lane. They may come and go
//! while it runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::detection;
use super::gave_up::GaveUp;
use super::opened;
use super::shared::{Reencode, Running, Shared, Standing};
use super::show::Show;
use super::verdicts::{DetectionStatus, VerdictHook, Verdicts};
use crate::bank::{Bank, Supplements};
use crate::causes::in_one_line;
use crate::config::{Config, ConfigError, StreamConfig};
use crate::detector::{Deliver, EventRecorder, Looks, VideoEnd};
use crate::flow::{Flow, FlowError, Pace};
use crate::frame::StreamId;
use crate::health::Health;
use crate::pending::Pending;
use crate::sink::EventSink;
use crate::source::{Source, Steady, Switch};
use crate::stop::Stop;

/// Pictures between the camera and the encoder.
const PICTURES_IN_FLIGHT: usize = 2;
/// How often a run that waits for its streams looks at its stop token.
const TICK: Duration = Duration::from_millis(100);

/// A stream that is to be watched.
pub struct Stream {
    /// What holds for it.
    pub config: StreamConfig,
    /// Where its pictures come from.
    pub source: Box<dyn Source>,
    /// Where they go.
    pub video: Box<dyn VideoEnd>,
    /// Where its events go, if anywhere.
    pub events: Option<Box<dyn EventSink>>,
    /// Counts its pictures: told by `video` as well.
    pub pictures: Arc<Health>,
    /// Ends its source: a part of the run's token.
    pub stop: Stop,
    /// Changes how its video is encoded and recorded while it is made, where that can be.
    pub reencode: Option<Reencode>,
    /// Another detector is about to judge: what the one of now does not give is no error.
    pub judged_later: bool,
}

/// Streams are being exchanged ([`Live::exchange`]).
pub struct Exchange(Live);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.shared.streams().exchanged -= 1;
        self.0.shared.changed.notify_all();
    }
}

/// A live run; cloning shares it.
#[derive(Clone)]
pub struct Live {
    shared: Arc<Shared>,
    opener: Arc<opened::Opener>,
}

impl Live {
    /// Without streams yet. Unless pictures pass unjudged, [`Live::run`] opens the detector, which judges by `supplements`,
    /// too. `stop` ends all.
    pub fn new(config: Config, judged: bool, supplements: Supplements, stop: Stop) -> Live {
        let open = move |config: &Config| opened::open(config, &supplements);
        Live::with(config, judged, stop, Arc::new(open))
    }

    /// From now on `hook` is told of each verdict; the first one that is given stays.
    pub fn tell_of_verdicts(&self, hook: VerdictHook) {
        // There is one who asks for it, at the start.
        let _ = self.shared.verdict_hook.set(hook);
    }

    /// With detectors that `opener` opens.
    pub(super) fn with(config: Config, judged: bool, stop: Stop, opener: Arc<opened::Opener>) -> Live {
        Live { shared: Arc::new(Shared::new(config, judged, stop)), opener }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn opener(&self) -> &opened::Opener {
        &*self.opener
    }

    /// The detection lane, if pictures are judged.
    pub fn detection(&self) -> Option<&Arc<DetectionStatus>> {
        self.shared.detection.as_ref()
    }

    /// The bank that judges now, while the detector is open.
    pub fn bank(&self) -> Option<Arc<Bank>> {
        self.shared.streams().alarms.as_ref()?.bank()
    }

    /// What regions of the last verdicts look like to the model.
    pub fn looks(&self) -> Looks {
        self.shared.looks.clone()
    }

    /// How all streams stand, in the order in which they came.
    pub fn streams(&self) -> Vec<Standing> {
        self.shared.streams().running.values().map(|stream| stream.standing.clone()).collect()
    }

    /// Watches one more stream from now on. Its number.
    ///
    /// # Errors
    /// A name that is taken; a threshold or region of interest that model and bank do not give; a thread that the
    /// system refuses. The others do not notice.
    pub fn add(&self, stream: Stream) -> Result<StreamId> {
        let Stream { config, source, video, events, pictures, stop: source_stop, reencode, judged_later } =
            stream;
        let shared = &self.shared;
        let mut streams = shared.streams();
        let alike = |other: &Running| !other.standing.ended && other.standing.name == config.name;
        if streams.running.values().any(alike) {
            let name = config.called();
            let why = format!("there is a stream {name:?} already; give this one another name");
            return Err(ConfigError::Invalid(why).into());
        }
        let id = streams.next;
        // Not given twice, whatever comes of it.
        streams.next += 1;
        shared.looks.keep(id);
        let verdicts = shared.detection.as_ref().map(|detection| Arc::new(Verdicts::of(detection)));
        let standing = Standing {
            id,
            name: config.name.clone(),
            pictures: Arc::clone(&pictures),
            verdicts: verdicts.clone(),
            ended: false,
        };
        let stop = shared.stop.of_part();
        let restyled = Pending::default();
        let mut running = Running {
            config,
            standing,
            stop: stop.clone(),
            source_stop,
            switch: Switch::default(),
            restyled: restyled.clone(),
            reencode,
            scene_out: false,
            thread: None,
        };
        if let Some(alarms) = &streams.alarms {
            match running.judge_by(alarms, id) {
                Err(why) if judged_later => tracing::debug!("judged later: {}", in_one_line(&why)),
                judged => judged?,
            }
        }
        let config = &running.config;
        let size = (config.output.width, config.output.height);
        let source = Steady::new(source, size, stop.clone())
            .inspect_err(|_| streams.alarms.iter().for_each(|alarms| alarms.remove(id)))
            .context("cannot start a thread")?;
        running.switch = source.switch();
        let config = &running.config;
        let show = Show::new(
            &config.overlay,
            restyled,
            verdicts.map(|verdicts| (shared.handovers.join(id), verdicts)),
            Arc::clone(&pictures),
        );
        if let (Some(events), true) = (events, shared.detection.is_some()) {
            let recorder = EventRecorder::new(&config.score, config.name.clone(), events);
            shared.recorders.add(id, recorder);
        }
        let deliver = Deliver { pictures: None, video: Some(video), health: Arc::clone(&pictures) };
        let patience = shared.patience();
        let told = Arc::clone(shared);
        let body = move || {
            let lane = || -> Result<()> {
                let pace = Pace::Live { in_flight: PICTURES_IN_FLIGHT };
                let frames = Flow::from_source(Box::new(source), pace, pictures, stop)?;
                frames.stage("overlay", show)?.run("encode", deliver, patience).map_err(|why| match why {
                    FlowError::Source(_) => why.into(),
                    _ => anyhow::Error::from(why).context(GaveUp),
                })
            };
            let ended = catch_unwind(AssertUnwindSafe(lane)).unwrap_or_else(|_| {
                let why = "the picture lane panicked; this is a bug in farout, please report it";
                Err(anyhow!(why).context(GaveUp))
            });
            told.ended(id, ended);
        };
        let thread = std::thread::Builder::new().name("pictures".into()).spawn(body);
        match thread {
            Ok(thread) => running.thread = Some(thread),
            Err(why) => {
                drop(streams);
                shared.judge_no_more(id)?;
                return Err(why).context("cannot start a thread");
            }
        }
        streams.running.insert(id, running);
        Ok(id)
    }

    /// While it lives, a moment without any stream does not end the run.
    pub fn exchange(&self) -> Exchange {
        self.shared.streams().exchanged += 1;
        Exchange(self.clone())
    }

    /// Watches a stream no more: its viewers see its end, files are finished. The others do not notice.
    ///
    /// # Errors
    /// If there is no such stream, or what its events left cannot be written.
    pub fn remove(&self, stream: StreamId) -> Result<()> {
        let shared = &self.shared;
        let mut streams = shared.streams();
        let running = streams.running.get_mut(&stream);
        let running = running.with_context(|| format!("there is no stream number {stream}"))?;
        running.stop.ask();
        running.source_stop.ask();
        let thread = running.thread.take();
        drop(streams);
        // Bounded: a lane that does not drain is given up.
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(stream, "a picture lane panicked");
        }
        shared.streams().running.remove(&stream);
        shared.judge_no_more(stream)
    }

    /// Runs until all streams have ended or stopping is asked, and everything is drained.
    ///
    /// # Errors
    /// A detector that cannot be opened, or fails again and again; a picture lane that fails for good.
    pub fn run(&self) -> Result<()> {
        let shared = &self.shared;
        let lane = self.detection().map(|status| {
            let (shared, status, opener) = (Arc::clone(shared), Arc::clone(status), Arc::clone(&self.opener));
            let body = move || {
                let ended = catch_unwind(AssertUnwindSafe(|| detection::run(&shared, &status, &*opener)));
                if !matches!(ended, Ok(Ok(()))) {
                    // Pictures without detection are no detector.
                    shared.stop.ask();
                }
                ended.unwrap_or_else(|_| {
                    let why = "the detection lane panicked; this is a bug in farout, please report it";
                    Err(anyhow!(why).context(GaveUp))
                })
            };
            std::thread::Builder::new().name("detection".into()).spawn(body)
        });
        let lane = lane.transpose().inspect_err(|_| shared.stop.ask());
        let mut streams = shared.streams();
        while streams.exchanged > 0 && !shared.stop.asked()
            || streams.running.values().any(|stream| !stream.standing.ended)
        {
            streams = shared.changed.wait_timeout(streams, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        let threads: Vec<_> = streams.running.values_mut().filter_map(|one| one.thread.take()).collect();
        drop(streams);
        // They have nothing left to do.
        threads.into_iter().for_each(|thread| drop(thread.join()));
        shared.handovers.close();
        let judged = match lane.context("cannot start the detection lane's thread")?.map(JoinHandle::join) {
            None => Ok(()),
            Some(ended) => ended.unwrap_or_else(|_| Err(anyhow!("the detection lane's thread panicked"))),
        };
        let shown = shared.streams().failure.take().map_or(Ok(()), Err);
        // What failed first ended the other.
        judged.and(shown)
    }
}
