//! The parts as stages: each takes an item, lets its part work, and passes the item on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::alarms::Alarms;
use super::items::{Featured, FrameFeatures, Judged, Mapped, Measured, Prepared, Verdict};
use super::road_map::RoadMap;
use super::scoring::Scoring;
use super::views::Views;
use crate::features::{ModelInput, Preprocessor, Session};
use crate::flow::Stage;
use crate::frame::Frame;
use crate::grid::{Distances, Features, Logits, PixelScores, ScoreMap};
use crate::identity::ModelIdentity;
use crate::nearest::Gauge;
use crate::pool::Pool;
use crate::region::Region;
use crate::score::{Enlarger, EventRules};

/// How often a model that gives no numbers is complained about.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Frame -> model input.
pub struct Preprocess {
    pub(crate) preprocessor: Preprocessor,
    /// Of each view and tile beside the whole picture.
    pub(crate) views: Vec<Preprocessor>,
    pub(super) inputs: Pool<ModelInput>,
}

impl Stage for Preprocess {
    type In = Frame;
    type Out = Prepared;

    fn step(&mut self, frame: Frame) -> Result<Prepared> {
        let mut input = self.inputs.take();
        self.preprocessor.step(&frame, &mut input)?;
        let view = |view: &mut Preprocessor| {
            let mut input = self.inputs.take();
            view.step(&frame, &mut input).map(|()| input)
        };
        let views = self.views.iter_mut().map(view).collect::<Result<_>>()?;
        Ok(Prepared { frame, input, views })
    }
}

/// Model input -> features and logits.
pub struct Extract {
    pub(crate) session: Session,
    pub(super) numbers: Pool<Vec<f32>>,
    /// Whether anybody wants the logits.
    pub(super) with_logits: Arc<AtomicBool>,
}

impl Stage for Extract {
    type In = Prepared;
    type Out = Featured;

    fn step(&mut self, Prepared { frame, input, views }: Prepared) -> Result<Featured> {
        // The flow runs a stage in one thread, and this is it.
        self.session.settle();
        let mut features = Features { data: self.numbers.take(), ..Default::default() };
        let mut logits = self
            .with_logits
            .load(Relaxed)
            .then(|| Logits { data: self.numbers.take(), ..Default::default() });
        self.session.run(&input, &mut features, logits.as_mut())?;
        let view = |input: crate::pool::Pooled<ModelInput>| {
            let mut features = Features { data: self.numbers.take(), ..Default::default() };
            self.session.run(&input, &mut features, None).map(|()| features)
        };
        let views = views.into_iter().map(view).collect::<Result<_>>()?;
        Ok(Featured { frame, features, views, logits })
    }
}

/// Features -> distances.
pub struct Search {
    /// Absent if the score method needs no distances.
    pub(super) engine: Option<Gauge>,
    pub(super) numbers: Pool<Vec<f32>>,
    /// The class of each patch, where the engine wants to know.
    pub(super) classes: Vec<u16>,
    /// The views beside the whole picture, if there are any.
    pub(super) views: Option<Views>,
    /// How many patches had features that are not finite, for the health of the flow.
    pub(super) faulty: Arc<AtomicU64>,
    /// The model, where features are looked at later.
    pub(super) keep: Option<Arc<ModelIdentity>>,
    /// Those that are counted there already.
    counted: u64,
    told: Option<Instant>,
}

impl Search {
    pub(super) fn new(engine: Option<Gauge>, numbers: Pool<Vec<f32>>, views: Option<Views>) -> Search {
        Search {
            engine,
            numbers,
            classes: Vec::new(),
            views,
            faulty: Arc::default(),
            keep: None,
            counted: 0,
            told: None,
        }
    }

    /// The features of a frame, for whoever looks at them later, if anybody does.
    ///
    /// # Errors
    /// If a GPU does not give them back.
    fn kept(&self, features: Features) -> Result<Option<FrameFeatures>> {
        let (Some(engine), Some(model)) = (&self.engine, &self.keep) else { return Ok(None) };
        let features = match features.on_gpu {
            None => features,
            // The memory there is the next frame's.
            Some(_) => {
                let mut copy = Features { data: self.numbers.take(), ..Default::default() };
                features.on_host(&mut copy).map_err(anyhow::Error::msg)?;
                copy
            }
        };
        let mut mean = self.numbers.take();
        engine.mean_of(&features, &mut mean);
        Ok(Some(FrameFeatures { features, mean, model: Arc::clone(model) }))
    }

    fn count_faulty(&mut self) {
        let patches = self.engine.as_ref().map_or(0, Gauge::faulty);
        // The flow's count goes on where another detector takes over.
        let new = patches.saturating_sub(std::mem::replace(&mut self.counted, patches));
        self.faulty.fetch_add(new, Relaxed);
        if new > 0 && self.told.is_none_or(|told| told.elapsed() > COMPLAINT_INTERVAL) {
            self.told = Some(Instant::now());
            tracing::warn!(
                patches,
                "the model gives NaN or infinite features; such patches count as anomalous"
            );
        }
    }
}

impl Stage for Search {
    type In = Featured;
    type Out = Measured;

    fn step(&mut self, Featured { frame, features, views, logits }: Featured) -> Result<Measured> {
        let mut distances = Distances::default();
        if let Some(engine) = &mut self.engine {
            distances.data = self.numbers.take();
            self.classes.clear();
            if let Some(logits) = logits.as_ref().filter(|_| engine.wants_classes()) {
                logits.patch_classes(features.grid, &mut self.classes);
            }
            engine.distances_by_class(&features, &self.classes, &mut distances)?;
            if let Some(further) = &mut self.views {
                let mut merged = Distances { data: self.numbers.take(), ..Default::default() };
                let picture = ((frame.width, frame.height), &features, logits.as_ref());
                further.step(engine, picture, (&distances, &views), &mut merged)?;
                distances = merged;
            }
        }
        self.count_faulty();
        let supplemented_by = self.engine.as_ref().map_or(0, Gauge::supplemented_by);
        let features = self.kept(features)?;
        Ok(Measured { frame, distances, logits, road: None, features, supplemented_by })
    }
}

/// Distances and logits -> one score map per method.
pub struct Map {
    pub(super) scoring: Scoring,
    /// Makes the map of the road, if that is wanted.
    pub(super) road: Option<RoadMap>,
}

impl Stage for Map {
    type In = Measured;
    type Out = Mapped;

    fn step(&mut self, Measured { frame, distances, logits, .. }: Measured) -> Result<Mapped> {
        let mut maps = Vec::new();
        self.scoring.step(&frame, &distances, logits.as_ref(), &mut maps)?;
        if let Some(road) = &mut self.road {
            maps.push(
                road.of(&frame, logits.as_ref()).with_context(|| format!("the road of {}", frame.name))?,
            );
        }
        Ok(Mapped { frame, maps })
    }
}

/// Distances and logits -> scores of pixels by one method, and regions. Frames of streams that `alarms` does not know get
/// no verdict.
pub struct Score {
    scoring: Scoring,
    enlarger: Enlarger,
    pub(super) alarms: Alarms,
    /// Whether the road is seen by a model of its own, never by the logits of the main one.
    pub(super) road_model: bool,
    /// The supplements that the last frame was measured by.
    supplemented_by: u64,
    maps: Vec<ScoreMap>,
    numbers: Pool<Vec<f32>>,
    masks: Pool<Vec<bool>>,
    region_lists: Pool<Vec<Region>>,
    spare: Vec<Region>,
}

impl Score {
    pub(super) fn new(
        scoring: Scoring,
        enlarger: Enlarger,
        alarms: Alarms,
        numbers: Pool<Vec<f32>>,
    ) -> Score {
        let (masks, region_lists) = (Pool::new(), Pool::new());
        Score {
            scoring,
            enlarger,
            alarms,
            road_model: false,
            supplemented_by: 0,
            maps: Vec::new(),
            numbers,
            masks,
            region_lists,
            spare: Vec::new(),
        }
    }
}

impl Stage for Score {
    type In = Measured;
    type Out = Judged;

    fn step(&mut self, measured: Measured) -> Result<Judged> {
        let Measured { frame, distances, logits, road, features, supplemented_by } = measured;
        if std::mem::replace(&mut self.supplemented_by, supplemented_by) != supplemented_by {
            // What was seen before is judged otherwise now.
            self.scoring.forget(|_| false);
        }
        self.scoring.step(&frame, &distances, logits.as_ref(), &mut self.maps)?;
        let size = (frame.width, frame.height);
        let mut scores = PixelScores { data: self.numbers.take(), ..Default::default() };
        for map in &self.maps {
            self.enlarger.step(map, self.scoring.luma(), size, &mut scores);
        }
        let mut streams = self.alarms.streams();
        if self.scoring.remembered() > streams.len() {
            self.scoring.forget(|stream| streams.contains_key(&stream));
        }
        let Some(alarm) = streams.get_mut(&frame.stream) else {
            return Ok(Judged { frame, verdict: None, features });
        };
        let mut counted = self.masks.take();
        counted.clear();
        if let Some(roi) = &mut alarm.roi {
            let (seen, moved) = match &road {
                Some(road) => (Some(&*road.logits), road.moved),
                None => (logits.as_ref().filter(|_| !self.road_model), [0.0, 0.0]),
            };
            counted.extend_from_slice(roi.step_moved(seen, moved, frame.width, frame.height));
        }
        let mut regions = self.region_lists.take();
        alarm.regions.step(&scores, &counted, &mut regions);
        let pixels = match counted.is_empty() {
            true => scores.data.len(),
            false => counted.iter().filter(|counts| **counts).count(),
        };
        let scene_out = alarm.scene.step(&mut regions, pixels as u64);
        let mut weak = self.region_lists.take();
        weak.clear();
        if let Some(finder) = alarm.weak.as_mut().filter(|_| !scene_out) {
            finder.step(&scores, &counted, &mut self.spare);
            weak.extend(EventRules::beside(&regions, &self.spare).map(|number| self.spare[number]));
        }
        let scale = alarm.scale;
        drop(streams);
        let verdict = Verdict { scores, counted, regions, weak, scene_out, scale };
        Ok(Judged { frame, verdict: Some(verdict), features })
    }
}

/// Frames pass unjudged.
pub struct Bypass;

impl Stage for Bypass {
    type In = Frame;
    type Out = Judged;

    fn step(&mut self, frame: Frame) -> Result<Judged> {
        Ok(Judged { frame, verdict: None, features: None })
    }
}
