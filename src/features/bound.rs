//! A session whose inputs and outputs have fixed places: when they are made, when they are not trusted any more.

use std::sync::Arc;

use anyhow::anyhow;

use super::binding::Binding;
use super::preprocess::ModelInput;
use super::session::{NO_LOGITS, Names, Session, output, take_features, take_logits};
use super::shortcut::{Shortcut, Withheld, close};
use crate::gpu_stream::GpuStream;
use crate::grid::{Features, Logits};

/// Places for a new size of input are made so many times; a source whose sizes go on changing runs without them.
const MOST_SIZES: usize = 8;

/// The places of a session, and what is needed to make them anew. Fields are dropped in their order: the stream last.
#[derive(Debug)]
pub(super) struct Bound {
    places: Option<Binding>,
    /// Dimensions of the outputs in the last run without places: features, logits.
    shapes: Vec<Vec<i64>>,
    sizes: usize,
    given_up: bool,
    /// Runs are captured as a CUDA graph: the session must not run without its places.
    graph: bool,
    /// Whether features shall stay on the GPU where they can.
    keep: bool,
    tolerance: f32,
    check: Features,
    stream: Arc<dyn GpuStream>,
}

impl Bound {
    /// Notes the dimensions of a run's outputs.
    ///
    /// # Errors
    /// If one is missing.
    pub(super) fn seen(
        &mut self,
        outputs: &ort::session::SessionOutputs<'_>,
        model: &Names,
    ) -> anyhow::Result<()> {
        self.shapes.clear();
        for name in model.outputs() {
            self.shapes.push(output(outputs, name)?.0.to_vec());
        }
        Ok(())
    }
}

impl Names {
    /// The outputs that are read: features, logits.
    fn outputs(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.features.as_str()).chain(self.logits.as_deref())
    }
}

impl Session {
    /// From now on the model runs on inputs and outputs at fixed places in the memory of `stream`'s GPU; on the CPU, these
    /// are places in memory of the host. They are made after the first run on each size of input, and used from then on
    /// if features then differ by at most `tolerance` of their length. Where anything goes wrong, the session runs as
    /// before, and [`Session::withheld`] tells why.
    ///
    /// `stream` must be one of the GPU that the session runs on, best the one that it was opened with.
    pub fn bind(&mut self, stream: Arc<dyn GpuStream>, tolerance: f32) {
        self.bound = Some(Bound {
            places: None,
            shapes: Vec::new(),
            sizes: 0,
            given_up: false,
            graph: false,
            keep: false,
            tolerance,
            check: Features::default(),
            stream,
        });
    }

    /// As [`Session::bind`], for a session that captures its runs as a CUDA graph: it has the places that `other` has, a
    /// session of the same model that is bound and has run on the one size of input.
    ///
    /// # Errors
    /// If there are none, or they cannot be made.
    pub(super) fn bind_as(&mut self, other: &Session) -> Result<(), String> {
        let known = other.bound.as_ref().and_then(|bound| Some((bound, bound.places.as_ref()?)));
        let (bound, places) = known.ok_or("the session before it has no fixed places")?;
        self.bind(Arc::clone(&bound.stream), bound.tolerance);
        let made = self.places(places.size(), &bound.shapes)?;
        if let Some(own) = &mut self.bound {
            (own.graph, own.places) = (true, Some(made));
        }
        Ok(())
    }

    /// Whether features shall stay in the GPU's memory where they can: if there are fixed places and nothing of them is
    /// padding. They are then in [`Features::on_gpu`] only.
    pub fn keep_on_gpu(&mut self, keep: bool) {
        if let Some(bound) = &mut self.bound {
            bound.keep = keep;
        }
    }

    /// The stream of its fixed places, if it has or will have any.
    pub fn stream(&self) -> Option<&Arc<dyn GpuStream>> {
        self.bound.as_ref().filter(|bound| !bound.given_up).map(|bound| &bound.stream)
    }

    /// Whether it has places for this input, or can only run with them.
    pub(super) fn is_bound_for(&self, input: &ModelInput) -> bool {
        self.bound.as_ref().is_some_and(|bound| {
            bound.graph || bound.places.as_ref().is_some_and(|places| places.fits(input))
        })
    }

    fn places(&self, size: (usize, usize), shapes: &[Vec<i64>]) -> Result<Binding, String> {
        let stream = self.stream().ok_or("there is no stream")?;
        let outputs: Vec<(&str, &[i64])> =
            self.model.outputs().zip(shapes.iter().map(Vec::as_slice)).collect();
        Binding::new(&self.inner, self.attempt.provider, (&self.model.input, size), &outputs, stream)
    }

    /// As [`Session::run`], at the fixed places.
    ///
    /// # Errors
    /// If it fails, or there are no places for this input.
    pub(super) fn run_bound(
        &mut self,
        input: &ModelInput,
        features: &mut Features,
        logits: Option<&mut Logits>,
    ) -> anyhow::Result<()> {
        let place = &input.placement;
        let width = self.identity.width;
        let bound = self.bound.as_mut().ok_or_else(|| anyhow!("it has no fixed places"))?;
        let kept = if bound.keep { self.features.in_place(width, place) } else { None };
        let places = bound.places.as_mut().filter(|places| places.fits(input));
        let places =
            places.ok_or_else(|| anyhow!("it has no places for a {}x{} input", place.width, place.height))?;
        let failed = |why: String| {
            anyhow!("the model fails on a {}x{} input at fixed places: {why}", place.width, place.height)
        };
        match places.run(&mut self.inner, input, kept).map_err(failed)? {
            Some(numbers) => {
                (features.grid, features.width) = (place.grid(self.features.patch), width);
                features.data.clear();
                features.on_gpu = Some(Arc::new(numbers));
            }
            None => {
                let read = places.read(0).map_err(failed)?;
                take_features(&self.features, &self.identity, read, place, features)?;
            }
        }
        if let Some(logits) = logits {
            let known = self.logits.as_ref().zip(self.model.logits.as_deref());
            let output = known.ok_or_else(|| anyhow!(NO_LOGITS))?;
            take_logits(output, places.read(1).map_err(failed)?, place, logits)?;
        }
        Ok(())
    }

    /// Whether it must not run without its places.
    pub(super) fn needs_places(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.graph)
    }

    /// Runs without fixed places from now on.
    pub(super) fn give_up(&mut self, why: String) {
        if let Some(bound) = &mut self.bound {
            (bound.places, bound.given_up) = (None, true);
        }
        let withheld = Withheld { shortcut: Shortcut::Binding, why };
        tracing::warn!("the model runs without {withheld}");
        self.withheld.push(withheld);
    }

    /// Makes places for the size of `input`, on which it just ran without and gave `features`, if there shall be any.
    pub(super) fn bind_for(&mut self, input: &ModelInput, features: &Features) {
        let Some(bound) = self.bound.as_mut().filter(|bound| !bound.given_up) else { return };
        bound.sizes += 1;
        if bound.sizes > MOST_SIZES {
            return self.give_up(format!("the size of its input has changed {MOST_SIZES} times"));
        }
        bound.places = None;
        let keep = std::mem::take(&mut bound.keep);
        let (shapes, mut check) = (std::mem::take(&mut bound.shapes), std::mem::take(&mut bound.check));
        let size = (input.placement.width, input.placement.height);
        let tried = self.places(size, &shapes).and_then(|places| {
            let tolerance = self.bound.as_mut().map_or(0.0, |bound| {
                bound.places = Some(places);
                bound.tolerance
            });
            self.run_bound(input, &mut check, None).map_err(|why| format!("{why:#}"))?;
            close(features, &check, tolerance)
        });
        if let Some(bound) = &mut self.bound {
            (bound.keep, bound.shapes, bound.check) = (keep, shapes, check);
        }
        if let Err(why) = tried {
            self.give_up(why);
        }
    }
}
