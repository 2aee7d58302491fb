//! Fixed places for a session's inputs and outputs: when they are made, when they are not trusted any more.

use std::sync::Arc;

use anyhow::anyhow;

use super::binding::Binding;
use super::device::Provider;
use super::outputs::output;
use super::preprocess::ModelInput;
use super::shortcut::close;
use super::understood::Understood;
use crate::gpu_stream::GpuStream;
use crate::grid::{Features, Logits};

/// Places for a new size of input are made so many times; a source whose sizes go on changing runs without them.
const MOST_SIZES: usize = 8;

/// The session that runs, on its provider, and what is understood of its model.
pub(super) struct Runs<'a> {
    pub(super) inner: &'a mut ort::session::Session,
    pub(super) provider: Provider,
    pub(super) model: &'a Understood,
}

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
    pub(super) keep: bool,
    tolerance: f32,
    check: Features,
    stream: Arc<dyn GpuStream>,
}

impl Bound {
    /// No places so far: they are made after the first run on a size of input.
    pub(super) fn new(stream: Arc<dyn GpuStream>, tolerance: f32) -> Bound {
        Bound {
            places: None,
            shapes: Vec::new(),
            sizes: 0,
            given_up: false,
            graph: false,
            keep: false,
            tolerance,
            check: Features::default(),
            stream,
        }
    }

    /// For a session that captures its runs as a CUDA graph: the places that `other` has, made anew.
    ///
    /// # Errors
    /// If there are none, or they cannot be made.
    pub(super) fn as_graph(other: Option<&Bound>, runs: &Runs<'_>) -> Result<Bound, String> {
        let known = other.and_then(|bound| Some((bound, bound.places.as_ref()?)));
        let (bound, places) = known.ok_or("the session before it has no fixed places")?;
        let mut own = Bound::new(Arc::clone(&bound.stream), bound.tolerance);
        own.places = Some(own.made(runs, places.size(), &bound.shapes)?);
        own.graph = true;
        Ok(own)
    }

    /// The stream of its places, if it has or will have any.
    pub(super) fn stream(&self) -> Option<&Arc<dyn GpuStream>> {
        (!self.given_up).then_some(&self.stream)
    }

    /// Whether it has places for this input, or its session can only run with them.
    pub(super) fn is_for(&self, input: &ModelInput) -> bool {
        self.graph || self.places.as_ref().is_some_and(|places| places.fits(input))
    }

    /// Whether the session must not run without its places.
    pub(super) fn is_needed(&self) -> bool {
        self.graph
    }

    /// Notes the dimensions of a run's outputs.
    ///
    /// # Errors
    /// If one is missing.
    pub(super) fn seen(
        &mut self,
        outputs: &ort::session::SessionOutputs<'_>,
        model: &Understood,
    ) -> anyhow::Result<()> {
        self.shapes.clear();
        for name in model.names.outputs() {
            self.shapes.push(output(outputs, name)?.0.to_vec());
        }
        Ok(())
    }

    fn made(&self, runs: &Runs<'_>, size: (usize, usize), shapes: &[Vec<i64>]) -> Result<Binding, String> {
        let names = &runs.model.names;
        let outputs: Vec<(&str, &[i64])> = names.outputs().zip(shapes.iter().map(Vec::as_slice)).collect();
        Binding::new(runs.inner, runs.provider, (&names.input, size), &outputs, &self.stream)
    }

    /// Runs the model at the fixed places, as [`super::Session::run`] does without.
    ///
    /// # Errors
    /// If it fails, or there are no places for this input.
    pub(super) fn run(
        &mut self,
        runs: &mut Runs<'_>,
        input: &ModelInput,
        features: &mut Features,
        logits: Option<&mut Logits>,
    ) -> anyhow::Result<()> {
        let (place, model) = (&input.placement, runs.model);
        let width = model.identity.width;
        let kept = if self.keep { model.features.in_place(width, place) } else { None };
        let places = self.places.as_mut().filter(|places| places.fits(input));
        let places =
            places.ok_or_else(|| anyhow!("it has no places for a {}x{} input", place.width, place.height))?;
        let failed = |why: String| {
            anyhow!("the model fails on a {}x{} input at fixed places: {why}", place.width, place.height)
        };
        match places.run(runs.inner, input, kept).map_err(failed)? {
            Some(numbers) => {
                (features.grid, features.width) = (place.grid(model.features.patch), width);
                features.data.clear();
                features.on_gpu = Some(Arc::new(numbers));
            }
            None => model.take_features(places.read(0).map_err(failed)?, place, features)?,
        }
        if let Some(logits) = logits {
            model.logits_output()?;
            model.take_logits(places.read(1).map_err(failed)?, place, logits)?;
        }
        Ok(())
    }

    /// No places from now on.
    pub(super) fn give_up(&mut self) {
        (self.places, self.given_up) = (None, true);
    }

    /// Makes places for the size of `input`, on which the model just ran without and gave `features`.
    ///
    /// # Errors
    /// Why there are none from now on.
    pub(super) fn make(
        &mut self,
        runs: &mut Runs<'_>,
        input: &ModelInput,
        features: &Features,
    ) -> Result<(), String> {
        if self.given_up {
            return Ok(());
        }
        self.sizes += 1;
        if self.sizes > MOST_SIZES {
            return Err(format!("the size of its input has changed {MOST_SIZES} times"));
        }
        self.places = None;
        let size = (input.placement.width, input.placement.height);
        self.places = Some(self.made(runs, size, &self.shapes)?);
        let (keep, mut check) = (std::mem::take(&mut self.keep), std::mem::take(&mut self.check));
        let ran = self.run(runs, input, &mut check, None).map_err(|why| format!("{why:#}"));
        let close = ran.and_then(|()| close(features, &check, self.tolerance));
        (self.keep, self.check) = (keep, check);
        close
    }
}
