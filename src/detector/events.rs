//! Regions that last, followed in each stream and logged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::event_looks::EventLooks;
use super::items::Verdict;
use super::looks::Seen;
use crate::frame::{Frame, StreamId};
use crate::luma::Luma;
use crate::motion::Reduced;
use crate::overlay::{Overlay, OverlayConfig};
use crate::pool::Pooled;
use crate::region::{Event, EventKind, Region};
use crate::score::{EventRules, ScoreConfig, Tracker};
use crate::sink::{EventPicture, EventSink, FEATURES};

/// Follows the regions of one stream and logs those that last.
pub struct EventRecorder {
    name: Option<Arc<str>>,
    tracker: Tracker,
    evidence: Vec<Region>,
    luma: Luma,
    look: Reduced,
    log: Box<dyn EventSink>,
    /// Draws the pictures of events, where they are wanted.
    marks: Option<Overlay>,
    found: Vec<Event>,
    /// What they look like, where that is kept.
    looks: Option<EventLooks>,
    /// When the last frame was captured, if that is known.
    utc: Option<jiff::Timestamp>,
}

impl EventRecorder {
    /// Events by the rules of `config`, into `log`; they name the stream, if it has a name.
    pub fn new(config: &ScoreConfig, name: Option<Arc<str>>, log: Box<dyn EventSink>) -> Self {
        EventRecorder {
            name,
            tracker: Tracker::new(EventRules::of(config)),
            evidence: Vec::new(),
            luma: Luma::default(),
            look: Reduced::default(),
            marks: log
                .wants_pictures()
                .then(|| Overlay::new(&OverlayConfig { status: false, ..OverlayConfig::default() })),
            looks: log.wants_files().then(EventLooks::default),
            log,
            found: Vec::new(),
            utc: None,
        }
    }

    /// Follows by other rules from now on; what was open ends.
    fn follow_anew(&mut self, config: &ScoreConfig) -> Result<()> {
        self.tracker.follow_by(EventRules::of(config), &mut self.found);
        self.write()
    }

    fn step(&mut self, frame: &Frame, verdict: &Verdict, seen: Option<&Seen>) -> Result<()> {
        self.utc = frame.utc;
        self.luma.take(frame);
        self.look.take(&self.luma.pixels, self.luma.width, self.luma.height);
        self.tracker.see(&self.look);
        self.evidence.clear();
        self.evidence.extend(verdict.regions.iter().chain(verdict.weak.iter()));
        let at = (frame.id, frame.pts.as_secs_f64());
        self.tracker.step(at, (&self.evidence, verdict.scale.threshold), &mut self.found);
        if let (Some(looks), Some(seen)) = (&mut self.looks, seen) {
            looks.see(seen, self.tracker.followed());
        }
        let begun: Vec<Event> =
            self.found.iter().filter(|event| event.kind == EventKind::Start).cloned().collect();
        self.write()?;
        if let (Some(marks), false) = (&mut self.marks, begun.is_empty()) {
            let picture =
                Arc::new(EventPicture { marked: marked(marks, frame, verdict)?, plain: copy(frame) });
            begun.iter().for_each(|event| self.log.picture(event, &picture));
        }
        Ok(())
    }

    /// Logs what was found.
    fn write(&mut self) -> Result<()> {
        for mut event in self.found.drain(..) {
            event.utc = self.utc.map(|utc| format!("{utc:.3}"));
            event.stream.clone_from(&self.name);
            self.log.write(&event)?;
            if let Some(make) = self.looks.as_mut().and_then(|looks| looks.file_of(&event)) {
                self.log.attach(&event, FEATURES, &make);
            }
        }
        Ok(())
    }

    /// Ends what is open, and sees to it that all is written.
    fn finish(&mut self) -> Result<()> {
        self.tracker.finish(&mut self.found);
        self.write()?;
        Ok(self.log.finish()?)
    }
}

/// A frame of its own, without its truth.
fn copy(frame: &Frame) -> Frame {
    let pixels = Pooled::unpooled(frame.pixels.to_vec());
    Frame { pixels, name: Arc::clone(&frame.name), truth: None, no_signal: None, ..*frame }
}

/// A copy with what was found.
fn marked(marks: &mut Overlay, frame: &Frame, verdict: &Verdict) -> Result<Frame> {
    let mut marked = copy(frame);
    marks.count_only(&verdict.counted);
    marks.draw(&mut marked, &verdict.scores, &verdict.regions, verdict.scale, "")?;
    Ok(marked)
}

/// The recorders of all streams whose events are wanted; cloning shares them. They may come and go.
#[derive(Clone, Default)]
pub struct EventRecorders(Arc<Mutex<BTreeMap<StreamId, EventRecorder>>>);

impl EventRecorders {
    /// That of the only stream.
    pub fn one(recorder: EventRecorder) -> EventRecorders {
        let all = EventRecorders::default();
        all.add(0, recorder);
        all
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<StreamId, EventRecorder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events of `stream` are recorded from now on.
    pub fn add(&self, stream: StreamId, recorder: EventRecorder) {
        self.list().insert(stream, recorder);
    }

    /// Events of `stream` end here.
    ///
    /// # Errors
    /// If what is left cannot be written.
    pub fn remove(&self, stream: StreamId) -> Result<()> {
        let removed = self.list().remove(&stream);
        removed.map_or(Ok(()), |mut recorder| recorder.finish())
    }

    /// Events of `stream` follow the rules of `config` from now on.
    ///
    /// # Errors
    /// If what ends cannot be written.
    pub fn follow_anew(&self, stream: StreamId, config: &ScoreConfig) -> Result<()> {
        self.list().get_mut(&stream).map_or(Ok(()), |recorder| recorder.follow_anew(config))
    }

    /// Follows the regions of a frame.
    pub(super) fn step(&self, frame: &Frame, verdict: &Verdict, seen: Option<&Seen>) -> Result<()> {
        self.list().get_mut(&frame.stream).map_or(Ok(()), |recorder| recorder.step(frame, verdict, seen))
    }

    /// Ends what is open in all streams.
    pub(super) fn finish(&self) -> Result<()> {
        self.list().values_mut().map(EventRecorder::finish).fold(Ok(()), Result::and)
    }
}
