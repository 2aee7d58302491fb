//! The road as a second, small model sees it: looked at on every n-th judged frame of each stream, and carried along the
//! motion of the picture between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::alarms::Alarms;
use super::classes::ClassNames;
use super::fallbacks;
use super::items::{Measured, RoadSeen};
use crate::causes::in_one_line;
use crate::config::Config;
use crate::features::{IoBinding, ModelInput, Preprocessor, RuntimeConfig, Session};
use crate::flow::Stage;
use crate::frame::{Frame, StreamId};
use crate::grid::{Features, Grid, Logits};
use crate::health::Health;
use crate::identity::ModelIdentity;
use crate::luma::Luma;
use crate::model::for_classes;
use crate::motion::Reduced;
use crate::nearest;
use crate::pool::Pooled;
use crate::region::Rect;

/// How often a model that fails is complained about.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// Most columns of the class scores that are kept: finer than this, no alarm differs.
const COLUMNS: usize = 512;

/// What tells the road of a frame.
pub(super) struct RoadModel {
    session: Session,
    preprocessor: Preprocessor,
    input: ModelInput,
    features: Features,
    /// Class scores as the model gives them.
    whole: Logits,
    /// Which of its classes are road.
    classes: Vec<usize>,
}

/// Opens the model that `[roi]` names, and tells which of its classes are road. It shares nothing with the main model but the
/// configuration of the runtime.
///
/// # Errors
/// As [`Session::open`]; no class scores; classes that it does not give or name.
pub fn open_road_session(config: &Config) -> Result<(Session, Vec<usize>)> {
    let opened = || -> Result<(Session, Vec<usize>)> {
        // A stream of its own on a GPU would wait for that of the main model anyway.
        let runtime =
            RuntimeConfig { io_binding: IoBinding::Off, cuda_graph: false, ..config.runtime.clone() };
        let model = for_classes(&config.roi.model_config())?;
        let session = Session::open_on(&model, &runtime, &nearest::cuda::Driver)?;
        let numbers = known(&session).numbers("roi.classes", &config.roi.classes)?;
        Ok((session, numbers))
    };
    opened().context("roi.model")
}

/// The classes of a model.
fn known(session: &Session) -> ClassNames {
    ClassNames { classes: session.classes(), names: session.class_names().to_vec() }
}

impl RoadModel {
    /// Opens the model that `[roi]` names and says what runs it.
    ///
    /// # Errors
    /// As [`open_road_session`].
    pub fn open(config: &Config) -> Result<RoadModel> {
        let (session, numbers) = open_road_session(config)?;
        fallbacks::of_model("road model", &session);
        tracing::info!(
            classes = known(&session).told(&numbers),
            every = config.roi.every,
            "road model {} ({} classes), input {}, on {}",
            session.identity().name,
            session.classes().unwrap_or_default(),
            session.identity().input_size,
            session.attempt()
        );
        Ok(RoadModel {
            preprocessor: Preprocessor::silent(session.input_spec()),
            session,
            input: ModelInput::default(),
            features: Features::default(),
            whole: Logits::default(),
            classes: numbers,
        })
    }

    /// Which of its classes are road.
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// Which model it is.
    pub fn identity(&self) -> &ModelIdentity {
        self.session.identity()
    }

    /// Class scores of `frame`, in at most 512 columns.
    ///
    /// # Errors
    /// If the model fails, or gives scores that are no numbers.
    pub fn look(&mut self, frame: &Frame) -> Result<Logits> {
        self.session.settle();
        self.preprocessor.step(frame, &mut self.input)?;
        self.session.run(&self.input, &mut self.features, Some(&mut self.whole))?;
        ensure!(!self.whole.grid.is_empty(), "it gives no class scores");
        let bad = self.whole.data.iter().filter(|score| !score.is_finite()).count();
        ensure!(bad == 0, "{bad} of its {} class scores are NaN or infinite", self.whole.data.len());
        Ok(thinned(&self.whole))
    }
}

/// The scores of cells in equal steps, so that there are at most [`COLUMNS`].
fn thinned(logits: &Logits) -> Logits {
    let whole = logits.grid;
    let step = whole.cols.div_ceil(COLUMNS).max(1);
    let grid = Grid { rows: whole.rows.div_ceil(step), cols: whole.cols.div_ceil(step) };
    let middle = |at: usize, of: usize, cells: usize| (2 * at + 1) * cells / (2 * of);
    let mut data = Vec::with_capacity(logits.classes * grid.len());
    for class in logits.data.chunks_exact(whole.len()) {
        for row in 0..grid.rows {
            let line = &class[middle(row, grid.rows, whole.rows) * whole.cols..][..whole.cols];
            data.extend((0..grid.cols).map(|col| line[middle(col, grid.cols, whole.cols)]));
        }
    }
    Logits { classes: logits.classes, grid, data: Pooled::unpooled(data) }
}

/// What is known of the road in a stream.
#[derive(Default)]
struct Past {
    /// Frames judged so far.
    frames: u64,
    /// The last class scores, and the picture they are of.
    seen: Option<Arc<Logits>>,
    size: (usize, usize),
    then: Reduced,
}

/// What sees class scores in a frame.
pub(super) type Look = Box<dyn FnMut(&Frame) -> Result<Logits> + Send>;

/// Gives frames of the streams that `alarms` knows their road.
pub(super) struct Road {
    /// What looks at a frame.
    look: Look,
    every: u64,
    alarms: Alarms,
    pasts: BTreeMap<StreamId, Past>,
    luma: Luma,
    now: Reduced,
    /// Where faults are told.
    pub health: Option<Arc<Health>>,
    faults: u64,
    told: Option<Instant>,
}

impl Road {
    /// With what `look` sees in every n-th frame, n being `every`.
    pub fn new(look: Look, every: u32, alarms: Alarms) -> Road {
        Road {
            look,
            every: u64::from(every.max(1)),
            alarms,
            pasts: BTreeMap::new(),
            luma: Luma::default(),
            now: Reduced::default(),
            health: None,
            faults: 0,
            told: None,
        }
    }

    /// The road in `frame`: what is there already, as far as it is known.
    fn seen(&mut self, frame: &Frame) -> Option<RoadSeen> {
        let past = self.pasts.entry(frame.stream).or_default();
        let (size, number) = ((frame.width, frame.height), past.frames);
        past.frames += 1;
        // The first one of a kind is wanted at once, and again as long as there is none.
        let due = number.is_multiple_of(self.every) || past.seen.is_none() || past.size != size;
        if self.every > 1 {
            self.luma.take(frame);
            self.now.take(&self.luma.pixels, frame.width, frame.height);
        }
        if due {
            match (self.look)(frame) {
                Ok(logits) => {
                    (past.seen, past.size) = (Some(Arc::new(logits)), size);
                    std::mem::swap(&mut past.then, &mut self.now);
                    if let (true, Some(health)) = (self.faults > 0, &self.health) {
                        health.problem("road model", None);
                    }
                    return past.seen.clone().map(|logits| RoadSeen { logits, moved: [0.0, 0.0] });
                }
                Err(why) => {
                    let why = in_one_line(&why);
                    self.faults += 1;
                    if self.told.is_none_or(|told| told.elapsed() > COMPLAINT_INTERVAL) {
                        self.told = Some(Instant::now());
                        tracing::warn!(
                            why,
                            faults = self.faults,
                            "the road model fails; the last road stays"
                        );
                    }
                    if let Some(health) = &self.health {
                        let told = format!("failed on {} frames, the last road stays: {why}", self.faults);
                        health.problem("road model", Some(told));
                    }
                }
            }
        }
        let logits = past.seen.clone()?;
        let whole = Rect { x: 0, y: 0, width: frame.width as u32, height: frame.height as u32 };
        let moved = match past.then.fits(&self.now) {
            true => past.then.moved_to(&self.now, &whole, None).unwrap_or_default(),
            false => (0, 0),
        };
        let scale = past.then.scale();
        Some(RoadSeen { logits, moved: [-(moved.0 as f32) * scale, -(moved.1 as f32) * scale] })
    }
}

impl Stage for Road {
    type In = Measured;
    type Out = Measured;

    fn step(&mut self, mut measured: Measured) -> Result<Measured> {
        let known = {
            let streams = self.alarms.streams();
            if self.pasts.len() > streams.len() {
                self.pasts.retain(|stream, _| streams.contains_key(stream));
            }
            streams.contains_key(&measured.frame.stream)
        };
        if known {
            measured.road = self.seen(&measured.frame);
        }
        Ok(measured)
    }
}

#[cfg(test)]
mod tests;
