//! What a live run opens: at its start, and when it is changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use super::apart::real;
use super::limited::limited;
use super::outputs::{self, Beside, Broker, Clips, Servers};
use super::run_settings;
use crate::bank::Supplements;
use crate::cli::RunArgs;
use crate::config::{Config, StreamConfig};
use crate::foxglove::Foxglove;
use crate::health::Health;
use crate::live;
use crate::sink::{EventLog, EventQueue, EventSink, EventSinks, EventStore, OutputConfig, StateHook};
use crate::source::{self, Purpose, Source};
use crate::steer::{self, Parts as _};
use crate::stop::Stop;

/// Opens the parts of a live run.
pub(super) struct Parts {
    pub args: RunArgs,
    pub servers: Servers,
    /// Told of what is wrong with event logs; none where nothing is judged.
    pub detection: Option<Arc<Health>>,
    pub stop: Stop,
    pub logs: Logs,
    /// What was marked as normal.
    pub supplements: Supplements,
    /// Where events are kept; none where nothing is judged.
    pub store: Option<EventStore>,
    /// A broker that is told of events, too.
    pub broker: Option<Broker>,
    /// Topics for the tools of robotics.
    pub foxglove: Option<Foxglove>,
    /// Of each stream.
    #[cfg_attr(not(feature = "media"), expect(dead_code, reason = "there are no clips without video"))]
    pub clips: Mutex<BTreeMap<String, Clips>>,
}

/// The event logs, which streams may share.
#[derive(Default)]
pub(super) struct Logs(Mutex<BTreeMap<PathBuf, EventQueue>>);

impl Logs {
    /// Where events of this path go; `health` is told of what is wrong with it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn at(&self, path: &Path, health: &Arc<Health>) -> Result<Box<dyn EventSink>> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One that nobody writes to any more is closed, and opened anew when it is wanted again.
        logs.retain(|_, queue| queue.users() > 1);
        let place = real(path);
        if let Some(known) = logs.get(&place) {
            return Ok(Box::new(known.clone()));
        }
        let told = Arc::clone(health);
        let state: StateHook = Arc::new(move |part, problem| told.problem(part, problem));
        let queue = EventQueue::start(EventLog::append(path)?, state).context("cannot start a thread")?;
        logs.insert(place, queue.clone());
        Ok(Box::new(queue))
    }
}

impl Parts {
    /// A stream whose source is open already and ends with `stop`.
    ///
    /// # Errors
    /// Outputs that cannot be opened.
    pub fn with_source(
        &self,
        config: StreamConfig,
        output: &OutputConfig,
        source: Box<dyn Source>,
        stop: Stop,
    ) -> Result<live::Stream> {
        let pictures = Arc::new(Health::new());
        // The servers and the encoder are those of all, the rest may be the stream's own.
        let OutputConfig { rtsp, http, encoder, picture, .. } = output.clone();
        let output = OutputConfig { rtsp, http, encoder, picture, ..config.output.clone() };
        let at = (&self.servers, config.name.as_deref());
        let log = self.foxglove.as_ref().map(|topics| topics.pictures(config.called()));
        let beside = Beside { clips: self.clips(config.called()), log };
        let (video, reencode) = outputs::live(&output, at, true, source.rate(), &pictures, beside)?;
        let events = self.events(&config)?;
        let source = limited(source, self.args.detect.frames);
        Ok(live::Stream { config, source, video, events, pictures, stop, reencode, judged_later: false })
    }
}

impl Parts {
    /// Says which files of the supplement cannot be read.
    pub fn tell_of_supplements(&self) {
        let damaged = Some(self.supplements.damaged().join("; ")).filter(|why| !why.is_empty());
        self.detection.iter().for_each(|health| health.problem("supplement", damaged.clone()));
    }

    /// What makes the clips of a stream, if they are kept.
    #[cfg(feature = "media")]
    fn clips(&self, stream: &str) -> Option<Clips> {
        let store = self.store.as_ref().filter(|store| store.folder().is_some())?;
        let mut clips = self.clips.lock().unwrap_or_else(PoisonError::into_inner);
        Some(clips.entry(stream.to_owned()).or_insert_with(|| Clips::new(store.config())).clone())
    }

    #[cfg(not(feature = "media"))]
    fn clips(&self, _: &str) -> Option<Clips> {
        None
    }

    /// What tells the broker of the events of a stream.
    #[cfg(feature = "media")]
    fn told(&self, stream: &str) -> Option<Box<dyn EventSink>> {
        self.broker.as_ref().map(|broker| broker.sink(stream))
    }

    #[cfg(not(feature = "media"))]
    fn told(&self, _: &str) -> Option<Box<dyn EventSink>> {
        None
    }

    /// What keeps the events of a stream.
    fn keeper(&self, store: &EventStore, stream: &str) -> Box<dyn EventSink> {
        #[cfg(feature = "media")]
        return store.sink(stream, self.clips(stream));
        #[cfg(not(feature = "media"))]
        store.sink(stream)
    }
}

impl steer::Parts for Parts {
    fn reread(&self) -> Result<Config> {
        // Others may have put something there.
        let read = self.supplements.reread();
        self.tell_of_supplements();
        if let (Err(why), Some(health)) = (read, &self.detection) {
            tracing::error!("{why}");
            health.problem("supplement", Some(why.to_string()));
        }
        Ok(run_settings::read(&self.args)?)
    }

    fn check(&self, config: &Config, streams: &[StreamConfig]) -> Result<()> {
        Ok(run_settings::refuse_overwriting(config, streams)?)
    }

    fn stream(&self, config: StreamConfig, output: &OutputConfig) -> Result<live::Stream> {
        let stop = self.stop.of_part();
        let source = self.source(&config, &stop)?;
        self.with_source(config, output, source, stop)
    }

    fn source(&self, config: &StreamConfig, stop: &Stop) -> Result<Box<dyn Source>> {
        let location = config.source.source.secret();
        let source = source::open(location, &config.source, Purpose::Live, stop.clone())?;
        tracing::info!(stream = config.name.as_deref(), "{}", source.describe());
        Ok(source)
    }

    fn events(&self, config: &StreamConfig) -> Result<Option<Box<dyn EventSink>>> {
        let Some(health) = &self.detection else { return Ok(None) };
        let log = config.output.events.as_deref().map(|path| self.logs.at(path, health)).transpose()?;
        let kept = self.store.as_ref().map(|store| self.keeper(store, config.called()));
        let told = self.told(config.called());
        let shown = self.foxglove.as_ref().map(|topics| topics.events(config.called()));
        Ok(EventSinks::of(log.into_iter().chain(kept).chain(told).chain(shown).collect()))
    }
}
