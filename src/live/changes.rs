//! Changes while pictures and verdicts come: each takes hold between two frames, and no viewer is let go.

use std::sync::{Arc, PoisonError};

use anyhow::{Context, Result};

use super::opened::Opened;
use super::shared::{Next, Running};
use super::streams::Live;
use crate::causes::in_one_line;
use crate::config::{Config, StreamConfig};
use crate::frame::StreamId;
use crate::sink::EventSink;
use crate::source::Source;
use crate::stop::Stop;

/// A detector that is open, and has been found to fit all streams.
pub struct OpenDetector {
    config: Arc<Config>,
    detector: Opened,
}

impl Live {
    /// What holds for a stream.
    ///
    /// # Errors
    /// If there is no such stream, or it has ended.
    pub fn stream_config(&self, stream: StreamId) -> Result<StreamConfig> {
        self.with_running(stream, |running| Ok(running.config.clone()))
    }

    /// Frames of a stream are judged by other rules from the next verdict on. `swapped`: by a detector that
    /// [`Live::judge_with`] has got, which knows them already.
    ///
    /// # Errors
    /// What the rules ask for and model and bank do not give; all is then as before.
    pub fn judge_anew(&self, stream: StreamId, config: &StreamConfig, swapped: bool) -> Result<()> {
        let alarms = self.shared().streams().alarms.clone();
        self.with_running(stream, |running| {
            let before = std::mem::replace(&mut running.config.score, config.score.clone());
            if let Some(alarms) = alarms.as_ref().filter(|_| !swapped)
                && let Err(why) = running.judge_by(alarms, stream)
            {
                running.config.score = before;
                return Err(why);
            }
            running.standing.pictures.problem("detection", None);
            Ok(())
        })?;
        if let Err(why) = self.shared().recorders.follow_anew(stream, &config.score) {
            tracing::error!("events: {}", in_one_line(&why));
        }
        Ok(())
    }

    /// Pictures of a stream are drawn otherwise from the next one on.
    ///
    /// # Errors
    /// If there is no such stream, or it has ended.
    pub fn draw_anew(&self, stream: StreamId, config: &StreamConfig) -> Result<()> {
        self.with_running(stream, |running| {
            running.config.overlay = config.overlay.clone();
            running.restyled.put(config.overlay.clone());
            Ok(())
        })
    }

    /// The video of a stream is encoded and recorded otherwise from the next picture on; its events go to `events`, if
    /// that is another place.
    ///
    /// # Errors
    /// A file that cannot be written; all is then as before.
    pub fn encode_anew(
        &self,
        stream: StreamId,
        config: &StreamConfig,
        events: Option<Option<Box<dyn EventSink>>>,
    ) -> Result<()> {
        let reencode = self.with_running(stream, |running| Ok(running.reencode.clone()))?;
        let reencode = reencode.context("this video cannot be changed while it is made: restart farout")?;
        // Not under the lock of the streams: the disk may not answer.
        reencode(&config.output)?;
        self.with_running(stream, |running| {
            running.config.output = config.output.clone();
            Ok(())
        })?;
        match events {
            Some(events) => self.record_events(stream, config, events),
            None => Ok(()),
        }
    }

    /// A stream's source ends, for another that cannot be opened beside it ([`Live::watch_anew`]); meanwhile there is no
    /// signal.
    ///
    /// # Errors
    /// If there is no such stream, or it has ended.
    pub fn let_go(&self, stream: StreamId) -> Result<()> {
        self.with_running(stream, |running| {
            running.switch.expect();
            running.source_stop.ask();
            Ok(())
        })
    }

    /// A stream shows the pictures of another source from now on; `stop` ends that.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn watch_anew(
        &self,
        stream: StreamId,
        config: &StreamConfig,
        source: Box<dyn Source>,
        stop: Stop,
    ) -> Result<()> {
        let status = source.status();
        self.with_running(stream, |running| {
            running.switch.to(source).context("cannot start a thread")?;
            status.iter().for_each(|status| running.standing.pictures.watch(Arc::clone(status)));
            std::mem::replace(&mut running.source_stop, stop).ask();
            running.config.source = config.source.clone();
            Ok(())
        })
    }

    /// Opens the detector that `config` describes, beside the one that judges, and sees whether it fits all streams.
    ///
    /// # Errors
    /// What does not open or does not fit, with the remedy.
    pub fn open_detector(&self, config: &Config) -> Result<OpenDetector> {
        let detector = self.opener()(config)?;
        let known = config.each_stream()?;
        for (id, running) in &self.shared().streams().running {
            let name = &running.standing.name;
            // Those that the configuration does not have any more are about to go.
            let rules = known.iter().find(|stream| stream.name == *name);
            if let Some(rules) = rules.filter(|_| !running.standing.ended) {
                let fits = detector.alarms.add(*id, &rules.score);
                fits.with_context(|| format!("stream {:?}", rules.called()))?;
            }
        }
        Ok(OpenDetector { config: Arc::new(config.clone()), detector })
    }

    /// From the next verdict on this detector judges.
    pub fn judge_with(&self, OpenDetector { config, detector }: OpenDetector) {
        let shared = self.shared();
        shared.next.put(Next { config, detector });
        if let Some(chain) = &*shared.chain.lock().unwrap_or_else(PoisonError::into_inner) {
            chain.ask();
        }
    }

    fn with_running<T>(&self, stream: StreamId, work: impl FnOnce(&mut Running) -> Result<T>) -> Result<T> {
        let mut streams = self.shared().streams();
        let running = streams.running.get_mut(&stream).filter(|running| !running.standing.ended);
        work(running.with_context(|| format!("there is no stream number {stream}, or it has ended"))?)
    }

    /// Events of a stream go to `events` from now on.
    fn record_events(
        &self,
        stream: StreamId,
        config: &StreamConfig,
        events: Option<Box<dyn EventSink>>,
    ) -> Result<()> {
        let recorders = &self.shared().recorders;
        if let Err(why) = recorders.remove(stream) {
            tracing::error!("events: {}", in_one_line(&why));
        }
        if let (Some(events), true) = (events, self.detection().is_some()) {
            let recorder = crate::detector::EventRecorder::new(&config.score, config.name.clone(), events);
            recorders.add(stream, recorder);
        }
        Ok(())
    }
}
