//! A model that runs: opened on the best provider that works, its outputs understood, each run checked.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use ort::value::TensorRef;

use super::attempt::Attempt;
use super::choose::PassedOver;
use super::config::{Provider, RuntimeConfig};
use super::placement::{InputSpec, Placement};
use super::preprocess::ModelInput;
use super::readout::{Readout, Seen};
use super::runtime::Runtime;
use crate::grid::{Features, Logits, LogitsKind};
use crate::identity::ModelIdentity;
use crate::model::{self, InputSize, Loaded, ModelConfig, SizeRule};

/// Sides of the square inputs that a model of any size is tried on, in this order.
const TRIAL_SIDES: [usize; 5] = [224, 256, 448, 512, 518];

/// A model ready to run. Runs are exclusive: a thread of its own, or one session per thread.
#[derive(Debug)]
pub struct Session {
    inner: ort::session::Session,
    model: Names,
    features: Readout,
    logits: Option<Readout>,
    classes: Option<usize>,
    logits_kind: Option<LogitsKind>,
    class_names: Vec<String>,
    spec: InputSpec,
    identity: ModelIdentity,
    attempt: Attempt,
    /// How far it is off on the golden frame, if it was compared.
    pub(super) parity: Option<f32>,
    /// Where its engines lie, and whether they were built just now.
    pub(super) engines: Option<(PathBuf, bool)>,
    pub(super) passed_over: Vec<PassedOver>,
    runtime: Runtime,
    threads: usize,
}

/// Names of the graph's input and outputs.
#[derive(Debug)]
struct Names {
    input: String,
    features: String,
    logits: Option<String>,
}

impl Session {
    /// Reads the model, opens it the first way that works, and runs it once or twice on small (or the fixed
    /// size's) empty pictures to understand its outputs. What runs on a GPU is compared with the CPU on the
    /// golden frame before. TensorRT may build for minutes; the log and systemd are told meanwhile.
    ///
    /// # Errors
    /// [`super::RuntimeError`] and [`model::ModelError`] can be told apart by downcasting; else
    /// why no provider opens the model, or why its outputs are no features.
    pub fn open(config: &ModelConfig, runtime_config: &RuntimeConfig) -> anyhow::Result<Session> {
        super::opening::open(config, runtime_config)
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
            features: Readout { patch: 1, layout: super::readout::Layout::Map },
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
            runtime: runtime.clone(),
            threads,
        };
        session.understand(loaded).with_context(|| format!("cannot use the model {}", path.display()))?;
        Ok(session)
    }

    /// Runs the model on empty pictures and learns from the shapes of what comes out.
    fn understand(&mut self, loaded: &Loaded) -> anyhow::Result<()> {
        let config = &loaded.config;
        let base = lcm(config.multiple.unwrap_or(1), config.patch.or(loaded.patch_hint).unwrap_or(1));
        let (size, first) = self.first_run(loaded, base)?;
        let mut runs = vec![first];
        // A second width tells patches from class tokens without a guess.
        if !matches!(self.spec.size, SizeRule::Fixed(_)) {
            runs.push(self.trial(InputSize { width: 2 * size.width, ..size })?);
        }
        let seen = |output: usize| runs.iter().filter_map(|run| run.get(output).cloned()).collect::<Vec<_>>();
        let skip = config.skip_tokens.unwrap_or_default();
        let features = seen(0);
        self.features = Readout::find(
            &features,
            config.patch,
            skip,
            loaded.patch_hint,
            config.layout.unwrap_or_default(),
        )
        .map_err(|why| anyhow!("the feature tensor {}: {why}", loaded.features))?;
        let width_of = |readout: &Readout, seen: &[Seen]| {
            seen.first()
                .map_or(Ok(0), |one| readout.width(&one.shape, &one.placement))
                .map_err(|why| anyhow!(why))
        };
        self.identity.width = width_of(&self.features, &features)?;
        self.identity.patch = self.features.patch;
        let named: usize = self.identity.parts.iter().map(|part| part.width).sum();
        if !self.identity.parts.is_empty() && named != self.identity.width {
            bail!(
                "the parts of its features are {named} wide together, the tensor {} is {}; correct `parts` in [model]",
                loaded.features,
                self.identity.width
            );
        }
        let mut unit = lcm(self.features.patch, config.multiple.unwrap_or(1));
        if let Some(name) = &config.logits {
            let logits = seen(1);
            let readout = Readout::find(&logits, None, skip, loaded.patch_hint, model::Layout::Nchw)
                .map_err(|why| anyhow!("the logits tensor {name}: {why}"))?;
            self.classes = Some(width_of(&readout, &logits)?);
            self.logits = Some(readout);
            unit = lcm(unit, readout.patch);
        }
        if let SizeRule::Fixed(InputSize { width, height }) = self.spec.size
            && width.min(height) < unit
        {
            bail!(
                "its input {width}x{height} is smaller than one patch of {unit} pixels; check `size`, `patch` and `multiple`"
            );
        }
        self.spec.unit = unit;
        Ok(())
    }

    fn first_run(&mut self, loaded: &Loaded, base: usize) -> anyhow::Result<(InputSize, Vec<Seen>)> {
        if let SizeRule::Fixed(size) = self.spec.size {
            let run = self.trial(size).with_context(|| match loaded.declared {
                Some(own) if own != size => format!(
                    "[model] size asks for {size}, the file declares {own}; its graph may not allow another"
                ),
                _ => format!("it does not run on its own input size {size}"),
            })?;
            return Ok((size, run));
        }
        let squares = TRIAL_SIDES
            .map(|side| side.next_multiple_of(base))
            .map(|side| InputSize { width: side, height: side });
        let mut sizes: Vec<InputSize> = loaded.declared.into_iter().chain(squares).collect();
        sizes.dedup();
        let mut faults = Vec::new();
        for size in sizes {
            match self.trial(size) {
                Ok(run) => return Ok((size, run)),
                Err(why) => faults.push(format!("{size}: {why:#}")),
            }
        }
        let declared = loaded.declared.map_or_else(|| "no size".to_owned(), |size| size.to_string());
        bail!(
            "it runs on none of the sizes tried (the file declares {declared}); set `size` to one it takes, or `multiple`. {}",
            faults.join("; ")
        )
    }

    /// Runs on an empty picture; what came out, features first.
    fn trial(&mut self, size: InputSize) -> anyhow::Result<Vec<Seen>> {
        let placement = Placement {
            width: size.width,
            height: size.height,
            content_width: size.width,
            content_height: size.height,
        };
        let mut input = ModelInput::default();
        input.reset(placement);
        let names: Vec<String> =
            [Some(&self.model.features), self.model.logits.as_ref()].into_iter().flatten().cloned().collect();
        let outputs = infer(&mut self.inner, &self.model.input, &input)?;
        let shape = |name: &String| -> anyhow::Result<Seen> {
            let (shape, _) = output(&outputs, name)?;
            Ok(Seen { placement, shape: shape.to_vec() })
        };
        names.iter().map(shape).collect()
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
        logits: Option<&mut Logits>,
    ) -> anyhow::Result<()> {
        let outputs = infer(&mut self.inner, &self.model.input, input)?;
        let place = &input.placement;
        let (shape, data) = output(&outputs, &self.model.features)?;
        let read = self.features.cell_major(shape, data, place, &mut features.data);
        (features.grid, features.width) =
            read.map_err(|why| anyhow!("the feature tensor {}: {why}", self.identity.features))?;
        if features.width != self.identity.width {
            bail!(
                "the feature tensor {} is {} wide now, it was {}",
                self.identity.features,
                features.width,
                self.identity.width
            );
        }
        if let Some(logits) = logits {
            let (Some(readout), Some(name)) = (&self.logits, &self.model.logits) else {
                bail!("the model gives no logits: set `logits` in [model]");
            };
            let (shape, data) = output(&outputs, name)?;
            let read = readout.channel_major(shape, data, place, &mut logits.data);
            (logits.grid, logits.classes) = read.map_err(|why| anyhow!("the logits tensor {name}: {why}"))?;
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

fn infer<'s>(
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

fn output<'a>(
    outputs: &'a ort::session::SessionOutputs<'_>,
    name: &str,
) -> anyhow::Result<(&'a [i64], &'a [f32])> {
    let value = outputs.get(name).ok_or_else(|| anyhow!("the model gave no output {name}"))?;
    let (shape, data) =
        value.try_extract_tensor::<f32>().with_context(|| format!("the output {name} cannot be read"))?;
    Ok((shape, data))
}

/// Least common multiple; zero counts as one.
fn lcm(a: usize, b: usize) -> usize {
    let (a, b) = (a.max(1), b.max(1));
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}
