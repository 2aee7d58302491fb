//! A model that runs: what is understood of it, where it runs, and each run checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::attempt::Attempt;
use super::bound::{Bound, Runs};
use super::choose::PassedOver;
use super::device::Provider;
use super::outputs::{infer, output};
use super::placement::InputSpec;
use super::preprocess::ModelInput;
use super::runtime::Runtime;
use super::shortcut::{Shortcut, Withheld};
use super::spoiled::{is_of_capture, tried_again};
use super::understood::Understood;
use crate::gpu_stream::GpuStream;
use crate::grid::{Features, Logits, LogitsKind};
use crate::identity::ModelIdentity;
use crate::model::Loaded;

/// A model ready to run. Runs are exclusive: a thread of its own, or one session per thread.
#[derive(Debug)]
pub struct Session {
    inner: ort::session::Session,
    model: Arc<Understood>,
    pub(super) origin: Origin,
    /// Its places in a GPU's memory; dropped after what uses them.
    bound: Option<Bound>,
    /// What takes over in the thread that runs it.
    pub(super) pending: Option<Pending>,
}

/// A session that captures its runs as a CUDA graph, opened and not run yet: kept beside the one that runs until it is known
/// in which thread.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) session: Box<Session>,
    /// What it is compared on with the one that runs, and how far it may be off.
    pub(super) inputs: Vec<ModelInput>,
    pub(super) tolerance: f32,
}

/// How a session came about.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    attempt: Attempt,
    runtime: Runtime,
    threads: usize,
    /// How far it is off on the golden frame, if it was compared.
    pub(super) parity: Option<f32>,
    /// Where its engines lie, and whether they were built just now.
    pub(super) engines: Option<(PathBuf, bool)>,
    pub(super) passed_over: Vec<PassedOver>,
    /// What was to make it faster and does not work.
    pub(super) withheld: Vec<Withheld>,
}

impl Session {
    /// The session of a model that ONNX Runtime has opened.
    ///
    /// # Errors
    /// If its outputs are no features.
    pub(super) fn of(
        mut inner: ort::session::Session,
        loaded: &Loaded,
        attempt: Attempt,
        runtime: &Runtime,
        threads: usize,
    ) -> anyhow::Result<Session> {
        let model = Understood::of(&mut inner, loaded)
            .with_context(|| format!("cannot use the model {}", loaded.config.path.display()))?;
        let origin = Origin {
            attempt,
            runtime: runtime.clone(),
            threads,
            parity: None,
            engines: None,
            passed_over: Vec::new(),
            withheld: Vec::new(),
        };
        Ok(Session { inner, model: Arc::new(model), origin, bound: None, pending: None })
    }

    /// The same model opened once more, with all that is known of it.
    pub(super) fn reopened(&self, inner: ort::session::Session) -> Session {
        let origin = Origin { withheld: Vec::new(), ..self.origin.clone() };
        Session { inner, model: Arc::clone(&self.model), origin, bound: None, pending: None }
    }

    /// Runs the model. `features` and, if asked for, `logits` are overwritten; they cover the
    /// picture only, never the padding.
    ///
    /// # Errors
    /// If the model fails on this input, or gives other shapes than before. The session stays usable.
    pub fn run(
        &mut self,
        input: &ModelInput,
        features: &mut Features,
        mut logits: Option<&mut Logits>,
    ) -> anyhow::Result<()> {
        features.on_gpu = None;
        let (mut runs, bound) = self.runs();
        if let Some(bound) = bound.filter(|bound| bound.is_for(input)) {
            let mut run = || bound.run(&mut runs, input, features, logits.as_deref_mut());
            let ran = tried_again(|| run().map_err(|why| (format!("{why:#}"), why)), |(told, _)| told);
            let Err((told, why)) = ran else { return Ok(()) };
            // What a capture elsewhere has spoiled is not the places' fault.
            if bound.is_needed() || is_of_capture(&told) {
                return Err(why);
            }
            // What fails both ways is the input's fault.
            self.run_plain(input, features, logits)?;
            self.give_up(told);
            return Ok(());
        }
        self.run_plain(input, features, logits)?;
        let (mut runs, bound) = self.runs();
        if let Some(Err(why)) = bound.map(|bound| bound.make(&mut runs, input, features)) {
            self.give_up(why);
        }
        Ok(())
    }

    /// Runs the model on an input that ONNX Runtime copies to where it computes, and outputs that it copies back.
    fn run_plain(
        &mut self,
        input: &ModelInput,
        features: &mut Features,
        logits: Option<&mut Logits>,
    ) -> anyhow::Result<()> {
        let outputs = infer(&mut self.inner, &self.model.names.input, input)?;
        let place = &input.placement;
        self.model.take_features(output(&outputs, &self.model.names.features)?, place, features)?;
        if let Some(bound) = self.bound.as_mut() {
            bound.seen(&outputs, &self.model)?;
        }
        if let Some(logits) = logits {
            let (_, name) = self.model.logits_output()?;
            self.model.take_logits(output(&outputs, name)?, place, logits)?;
        }
        Ok(())
    }

    /// Runs twice on an empty frame of this size, so that the first real frame finds memory and
    /// kernels prepared. Returns the time of the second run.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn warm_up(
        &mut self,
        frame_width: usize,
        frame_height: usize,
        runs: u16,
    ) -> anyhow::Result<Duration> {
        let mut input = ModelInput::default();
        input.reset(self.model.spec.place(frame_width, frame_height));
        let mut features = Features::default();
        self.run(&input, &mut features, None)?;
        let mut took = Vec::with_capacity(usize::from(runs));
        for _ in 0..runs {
            let start = Instant::now();
            self.run(&input, &mut features, None)?;
            took.push(start.elapsed());
        }
        took.sort();
        Ok(took.get(took.len() / 2).copied().unwrap_or_default())
    }

    fn runs(&mut self) -> (Runs<'_>, Option<&mut Bound>) {
        let provider = self.origin.attempt.provider;
        (Runs { inner: &mut self.inner, provider, model: &self.model }, self.bound.as_mut())
    }

    /// Runs without fixed places from now on.
    fn give_up(&mut self, why: String) {
        self.bound.iter_mut().for_each(Bound::give_up);
        let withheld = Withheld { shortcut: Shortcut::Binding, why };
        tracing::warn!("the model runs without {withheld}");
        self.origin.withheld.push(withheld);
    }

    /// From now on the model runs on inputs and outputs at fixed places in the memory of `stream`'s GPU; on the CPU, these
    /// are places in memory of the host. They are made after the first run on each size of input, and used from then on
    /// if features then differ by at most `tolerance` of their length. Where anything goes wrong, the session runs as
    /// before, and [`Session::withheld`] tells why.
    ///
    /// `stream` must be one of the GPU that the session runs on, best the one that it was opened with.
    pub fn bind(&mut self, stream: Arc<dyn GpuStream>, tolerance: f32) {
        self.bound = Some(Bound::new(stream, tolerance));
    }

    /// As [`Session::bind`], for a session that captures its runs as a CUDA graph: it has the places that `other` has, a
    /// session of the same model that is bound and has run on the one size of input.
    ///
    /// # Errors
    /// If there are none, or they cannot be made.
    pub(super) fn bind_as(&mut self, other: &Session) -> Result<(), String> {
        let (runs, _) = self.runs();
        let bound = Bound::as_graph(other.bound.as_ref(), &runs)?;
        self.bound = Some(bound);
        Ok(())
    }

    /// Whether features shall stay in the GPU's memory where they can: if there are fixed places and nothing of them is
    /// padding. They are then in [`Features::on_gpu`] only. Gives what held before.
    pub fn keep_on_gpu(&mut self, keep: bool) -> bool {
        self.bound.as_mut().is_some_and(|bound| std::mem::replace(&mut bound.keep, keep))
    }

    /// The stream of its fixed places, if it has or will have any.
    pub fn stream(&self) -> Option<&Arc<dyn GpuStream>> {
        self.bound.as_ref().and_then(Bound::stream)
    }

    /// What a [`super::Preprocessor`] for this model has to know.
    pub fn input_spec(&self) -> &InputSpec {
        &self.model.spec
    }

    /// Which model and tensor the features come from.
    pub fn identity(&self) -> &ModelIdentity {
        &self.model.identity
    }

    /// Number of classes of the logits, if the configuration names a logits tensor.
    pub fn classes(&self) -> Option<usize> {
        self.model.classes
    }

    /// What these logits are, as far as the file or the configuration tells.
    pub fn logits_kind(&self) -> Option<LogitsKind> {
        self.model.classes.and(self.model.logits_kind)
    }

    /// Their names, if the file tells one for each.
    pub fn class_names(&self) -> &[String] {
        if self.model.classes == Some(self.model.class_names.len()) { &self.model.class_names } else { &[] }
    }

    /// The provider that runs the model: `tensorrt`, `cuda` or `cpu`.
    pub fn provider(&self) -> &'static str {
        self.origin.attempt.provider.name()
    }

    /// The provider, and the precision where there is a choice: `tensorrt (fp16)`.
    pub fn attempt(&self) -> Attempt {
        self.origin.attempt
    }

    /// How far the features of the golden frame are from the CPU's, as part of their length; nothing on the
    /// CPU itself.
    pub fn parity(&self) -> Option<f32> {
        self.origin.parity
    }

    /// The folder of TensorRT's engines, and whether they were built just now.
    pub fn engines(&self) -> Option<(&Path, bool)> {
        self.origin.engines.as_ref().map(|(folder, new)| (folder.as_path(), *new))
    }

    /// What was wanted more, and why it was passed over.
    pub fn fallbacks(&self) -> &[PassedOver] {
        &self.origin.passed_over
    }

    /// What was to make it faster on a GPU, and why it does not.
    pub fn withheld(&self) -> &[Withheld] {
        &self.origin.withheld
    }

    /// One line for logs and status.
    pub fn describe(&self) -> String {
        let more = match (self.origin.attempt.provider, self.origin.parity) {
            (Provider::Cpu, _) => format!(" ({} threads)", self.origin.threads),
            (_, Some(off)) => format!(", {:.2} % from the CPU", 100.0 * off),
            (_, None) => String::new(),
        };
        format!(
            "{}: {} ({} wide, patch {}), input {}, on {}{more}, ONNX Runtime {}",
            self.model.identity.name,
            self.model.identity.features,
            self.model.identity.width,
            self.model.identity.patch,
            self.model.identity.input_size,
            self.origin.attempt,
            self.origin.runtime.version
        )
    }
}
