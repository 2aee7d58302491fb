//! A model that runs: opened on the best provider that works, its outputs understood, each run checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use ort::value::TensorRef;

use super::attempt::Attempt;
use super::bound::Bound;
use super::choose::PassedOver;
use super::config::{Provider, RuntimeConfig};
use super::placement::{InputSpec, Placement};
use super::preprocess::ModelInput;
use super::readout::Readout;
use super::runtime::Runtime;
use super::shortcut::Withheld;
use crate::gpu_stream::GpuStream;
use crate::grid::{Features, Logits, LogitsKind};
use crate::identity::ModelIdentity;
use crate::model::{Loaded, ModelConfig};

/// Gives a stream of the GPU with this number, or says why there is none.
pub type Streams<'a> = dyn Fn(usize) -> Result<Arc<dyn GpuStream>, String> + 'a;

/// A model ready to run. Runs are exclusive: a thread of its own, or one session per thread.
#[derive(Debug)]
pub struct Session {
    pub(super) inner: ort::session::Session,
    pub(super) model: Names,
    pub(super) features: Readout,
    pub(super) logits: Option<Readout>,
    pub(super) classes: Option<usize>,
    logits_kind: Option<LogitsKind>,
    class_names: Vec<String>,
    pub(super) spec: InputSpec,
    pub(super) identity: ModelIdentity,
    pub(super) attempt: Attempt,
    /// How far it is off on the golden frame, if it was compared.
    pub(super) parity: Option<f32>,
    /// Where its engines lie, and whether they were built just now.
    pub(super) engines: Option<(PathBuf, bool)>,
    pub(super) passed_over: Vec<PassedOver>,
    /// What was to make it faster and does not work.
    pub(super) withheld: Vec<Withheld>,
    /// Its places in a GPU's memory; dropped after what uses them.
    pub(super) bound: Option<Bound>,
    runtime: Runtime,
    threads: usize,
}

/// Names of the graph's input and outputs.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) input: String,
    pub(super) features: String,
    pub(super) logits: Option<String>,
}

impl Session {
    /// Reads the model, opens it the first way that works, and runs it once or twice on small (or the fixed
    /// size's) empty pictures to understand its outputs. What runs on a GPU is compared with the CPU on the
    /// golden frame before. TensorRT may build for minutes; the log and systemd are told meanwhile.
    ///
    /// # Errors
    /// [`super::RuntimeError`] and [`crate::model::ModelError`] can be told apart by downcasting; else
    /// why no provider opens the model, or why its outputs are no features.
    pub fn open(config: &ModelConfig, runtime_config: &RuntimeConfig) -> anyhow::Result<Session> {
        super::opening::open(config, runtime_config, None)
    }

    /// As [`Session::open`]. On a GPU, inputs and outputs stay at fixed places in its memory, on a stream that `streams`
    /// gives, where the configuration allows that and it gives the same features.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn open_on(
        config: &ModelConfig,
        runtime_config: &RuntimeConfig,
        streams: &Streams<'_>,
    ) -> anyhow::Result<Session> {
        super::opening::open(config, runtime_config, Some(streams))
    }

    /// The same model, opened once more: all that is known of it, for another session of ONNX Runtime.
    pub(super) fn again(&self, inner: ort::session::Session) -> Session {
        Session {
            inner,
            model: self.model.clone(),
            features: self.features,
            logits: self.logits,
            classes: self.classes,
            logits_kind: self.logits_kind,
            class_names: self.class_names.clone(),
            spec: self.spec,
            identity: self.identity.clone(),
            attempt: self.attempt,
            parity: self.parity,
            engines: self.engines.clone(),
            passed_over: self.passed_over.clone(),
            withheld: Vec::new(),
            bound: None,
            runtime: self.runtime.clone(),
            threads: self.threads,
        }
    }

    /// The session of a model that ONNX Runtime has opened.
    ///
    /// # Errors
    /// If its outputs are no features.
    pub(super) fn of(
        inner: ort::session::Session,
        loaded: &Loaded,
        attempt: Attempt,
        runtime: &Runtime,
        threads: usize,
    ) -> anyhow::Result<Session> {
        let path = &loaded.config.path;
        let names = Names {
            input: loaded.input.clone(),
            features: loaded.features_output.clone(),
            logits: loaded.logits_output.clone(),
        };
        let mut session = Session {
            inner,
            model: names,
            features: Readout { patch: 1, padded: false, layout: super::readout::Layout::Map },
            logits: None,
            classes: None,
            logits_kind: loaded.config.logits_kind,
            class_names: loaded.classes.clone(),
            spec: InputSpec { size: loaded.size, unit: 1, normalisation: loaded.config.normalisation() },
            identity: ModelIdentity {
                name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
                sha256: loaded.sha256.clone(),
                features: loaded.features.clone(),
                width: 0,
                patch: 0,
                input_size: loaded.size.to_string(),
                normalisation: loaded.config.normalisation().to_string(),
                parts: loaded.config.parts.clone().unwrap_or_default(),
            },
            attempt,
            parity: None,
            engines: None,
            passed_over: Vec::new(),
            withheld: Vec::new(),
            bound: None,
            runtime: runtime.clone(),
            threads,
        };
        session.understand(loaded).with_context(|| format!("cannot use the model {}", path.display()))?;
        Ok(session)
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
        if self.is_bound_for(input) {
            let Err(why) = self.run_bound(input, features, logits.as_deref_mut()) else { return Ok(()) };
            if self.needs_places() {
                return Err(why);
            }
            // What fails both ways is the input's fault.
            self.run_plain(input, features, logits)?;
            self.give_up(format!("{why:#}"));
            return Ok(());
        }
        self.run_plain(input, features, logits)?;
        self.bind_for(input, features);
        Ok(())
    }

    /// Runs the model on an input that ONNX Runtime copies to where it computes, and outputs that it copies back.
    fn run_plain(
        &mut self,
        input: &ModelInput,
        features: &mut Features,
        logits: Option<&mut Logits>,
    ) -> anyhow::Result<()> {
        let outputs = infer(&mut self.inner, &self.model.input, input)?;
        let place = &input.placement;
        let (shape, data) = output(&outputs, &self.model.features)?;
        take_features(&self.features, &self.identity, (shape, data), place, features)?;
        if let Some(bound) = self.bound.as_mut() {
            bound.seen(&outputs, &self.model)?;
        }
        if let Some(logits) = logits {
            let Some((readout, name)) = self.logits.as_ref().zip(self.model.logits.as_ref()) else {
                bail!(NO_LOGITS);
            };
            take_logits((readout, name), output(&outputs, name)?, place, logits)?;
        }
        Ok(())
    }

    /// Runs twice on an empty frame of this size, so that the first real frame finds memory and
    /// kernels prepared. Returns the time of the second run.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn warm_up(&mut self, frame_width: usize, frame_height: usize) -> anyhow::Result<Duration> {
        let mut input = ModelInput::default();
        input.reset(self.spec.place(frame_width, frame_height));
        let mut features = Features::default();
        self.run(&input, &mut features, None)?;
        let start = Instant::now();
        self.run(&input, &mut features, None)?;
        Ok(start.elapsed())
    }

    /// What a [`super::Preprocessor`] for this model has to know.
    pub fn input_spec(&self) -> &InputSpec {
        &self.spec
    }

    /// Which model and tensor the features come from.
    pub fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    /// Number of classes of the logits, if the configuration names a logits tensor.
    pub fn classes(&self) -> Option<usize> {
        self.classes
    }

    /// What these logits are, as far as the file or the configuration tells.
    pub fn logits_kind(&self) -> Option<LogitsKind> {
        self.classes.and(self.logits_kind)
    }

    /// Their names, if the file tells one for each.
    pub fn class_names(&self) -> &[String] {
        if self.classes == Some(self.class_names.len()) { &self.class_names } else { &[] }
    }

    /// The provider that runs the model: `tensorrt`, `cuda` or `cpu`.
    pub fn provider(&self) -> &'static str {
        self.attempt.provider.name()
    }

    /// The provider, and the precision where there is a choice: `tensorrt (fp16)`.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// How far the features of the golden frame are from the CPU's, as part of their length; nothing on the
    /// CPU itself.
    pub fn parity(&self) -> Option<f32> {
        self.parity
    }

    /// The folder of TensorRT's engines, and whether they were built just now.
    pub fn engines(&self) -> Option<(&Path, bool)> {
        self.engines.as_ref().map(|(folder, new)| (folder.as_path(), *new))
    }

    /// What was wanted more, and why it was passed over.
    pub fn fallbacks(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// What was to make it faster on a GPU, and why it does not.
    pub fn withheld(&self) -> &[Withheld] {
        &self.withheld
    }

    /// One line for logs and status.
    pub fn describe(&self) -> String {
        let more = match (self.attempt.provider, self.parity) {
            (Provider::Cpu, _) => format!(" ({} threads)", self.threads),
            (_, Some(off)) => format!(", {:.2} % from the CPU", 100.0 * off),
            (_, None) => String::new(),
        };
        format!(
            "{}: {} ({} wide, patch {}), input {}, on {}{more}, ONNX Runtime {}",
            self.identity.name,
            self.identity.features,
            self.identity.width,
            self.identity.patch,
            self.identity.input_size,
            self.attempt,
            self.runtime.version
        )
    }
}

/// Why there are no logits.
pub(super) const NO_LOGITS: &str = "the model gives no logits: set `logits` in [model]";

/// Takes the features of the picture from an output's dimensions and numbers.
pub(super) fn take_features(
    readout: &Readout,
    identity: &ModelIdentity,
    (shape, data): (&[i64], &[f32]),
    place: &Placement,
    features: &mut Features,
) -> anyhow::Result<()> {
    let read = readout.cell_major(shape, data, place, &mut features.data);
    (features.grid, features.width) =
        read.map_err(|why| anyhow!("the feature tensor {}: {why}", identity.features))?;
    if features.width != identity.width {
        bail!(
            "the feature tensor {} is {} wide now, it was {}",
            identity.features,
            features.width,
            identity.width
        );
    }
    Ok(())
}

/// Takes the logits of the picture likewise.
pub(super) fn take_logits(
    (readout, name): (&Readout, &str),
    (shape, data): (&[i64], &[f32]),
    place: &Placement,
    logits: &mut Logits,
) -> anyhow::Result<()> {
    let read = readout.channel_major(shape, data, place, &mut logits.data);
    (logits.grid, logits.classes) = read.map_err(|why| anyhow!("the logits tensor {name}: {why}"))?;
    Ok(())
}

pub(super) fn infer<'s>(
    session: &'s mut ort::session::Session,
    name: &str,
    input: &ModelInput,
) -> anyhow::Result<ort::session::SessionOutputs<'s>> {
    let Placement { width, height, .. } = input.placement;
    let tensor = TensorRef::from_array_view(([1, 3, height, width], &input.data[..]))
        .context("the input has the wrong length")?;
    session
        .run(ort::inputs![name => tensor])
        .map_err(|e| anyhow!("the model fails on a {width}x{height} input: {e}"))
}

pub(super) fn output<'a>(
    outputs: &'a ort::session::SessionOutputs<'_>,
    name: &str,
) -> anyhow::Result<(&'a [i64], &'a [f32])> {
    let value = outputs.get(name).ok_or_else(|| anyhow!("the model gave no output {name}"))?;
    let (shape, data) =
        value.try_extract_tensor::<f32>().with_context(|| format!("the output {name} cannot be read"))?;
    Ok((shape, data))
}
