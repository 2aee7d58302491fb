//! What is understood of a model that ONNX Runtime has opened: which of its outputs are read, and how.

use anyhow::{Context, anyhow, bail};

use super::outputs::{infer, output};
use super::placement::{InputSpec, Placement};
use super::preprocess::ModelInput;
use super::readout::{Readout, Seen};
use crate::grid::{Features, Logits, LogitsKind};
use crate::identity::ModelIdentity;
use crate::model::{self, InputSize, Loaded, SizeRule};

/// Sides of the square inputs that a model of any size is tried on, in this order.
const TRIAL_SIDES: [usize; 5] = [224, 256, 448, 512, 518];

/// Names of the graph's input and outputs.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) input: String,
    pub(super) features: String,
    pub(super) logits: Option<String>,
}

impl Names {
    /// The outputs that are read: features, logits.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.features.as_str()).chain(self.logits.as_deref())
    }
}

/// A model whose outputs are understood.
#[derive(Debug, Clone)]
pub(super) struct Understood {
    pub(super) names: Names,
    pub(super) features: Readout,
    pub(super) logits: Option<Readout>,
    /// Number of classes of the logits.
    pub(super) classes: Option<usize>,
    pub(super) logits_kind: Option<LogitsKind>,
    pub(super) class_names: Vec<String>,
    pub(super) spec: InputSpec,
    pub(super) identity: ModelIdentity,
}

impl Understood {
    /// Runs the model on empty pictures and learns from the shapes of what comes out.
    ///
    /// # Errors
    /// If it runs on none, or its outputs are no features.
    pub(super) fn of(inner: &mut ort::session::Session, loaded: &Loaded) -> anyhow::Result<Understood> {
        let names = Names {
            input: loaded.input.clone(),
            features: loaded.features_output.clone(),
            logits: loaded.logits_output.clone(),
        };
        let config = &loaded.config;
        let base = lcm(config.multiple.unwrap_or(1), config.patch.or(loaded.patch_hint).unwrap_or(1));
        let (size, first) = first_run(inner, &names, loaded, base)?;
        let mut runs = vec![first];
        // A second width tells patches from class tokens without a guess.
        if !matches!(loaded.size, SizeRule::Fixed(_)) {
            runs.push(trial(inner, &names, InputSize { width: 2 * size.width, ..size })?);
        }
        let seen = |output: usize| runs.iter().filter_map(|run| run.get(output).cloned()).collect::<Vec<_>>();
        let skip = config.skip_tokens.unwrap_or_default();
        let seen_features = seen(0);
        let readout = Readout::find(
            &seen_features,
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
        let path = &loaded.config.path;
        let identity = ModelIdentity {
            name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            sha256: loaded.sha256.clone(),
            features: loaded.features.clone(),
            width: width_of(&readout, &seen_features)?,
            patch: readout.patch,
            input_size: loaded.size.to_string(),
            normalisation: config.normalisation().to_string(),
            parts: config.parts.clone().unwrap_or_default(),
        };
        let named: usize = identity.parts.iter().map(|part| part.width).sum();
        if !identity.parts.is_empty() && named != identity.width {
            bail!(
                "the parts of its features are {named} wide together, the tensor {} is {}; correct `parts` in [model]",
                loaded.features,
                identity.width
            );
        }
        let mut unit = lcm(readout.patch, config.multiple.unwrap_or(1));
        let (mut logits, mut classes) = (None, None);
        if let Some(name) = &config.logits {
            let seen = seen(1);
            let readout = Readout::find(&seen, None, skip, loaded.patch_hint, model::Layout::Nchw)
                .map_err(|why| anyhow!("the logits tensor {name}: {why}"))?;
            classes = Some(width_of(&readout, &seen)?);
            logits = Some(readout);
            unit = lcm(unit, readout.patch);
        }
        if let SizeRule::Fixed(InputSize { width, height }) = loaded.size
            && width.min(height) < unit
        {
            bail!(
                "its input {width}x{height} is smaller than one patch of {unit} pixels; check `size`, `patch` and `multiple`"
            );
        }
        Ok(Understood {
            names,
            features: readout,
            logits,
            classes,
            logits_kind: config.logits_kind,
            class_names: loaded.classes.clone(),
            spec: InputSpec { size: loaded.size, unit, normalisation: config.normalisation() },
            identity,
        })
    }

    /// Takes the features of the picture from an output's dimensions and numbers.
    ///
    /// # Errors
    /// If it has other dimensions than before.
    pub(super) fn take_features(
        &self,
        (shape, data): (&[i64], &[f32]),
        place: &Placement,
        features: &mut Features,
    ) -> anyhow::Result<()> {
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
        Ok(())
    }

    /// Takes the logits of the picture likewise.
    ///
    /// # Errors
    /// If it has other dimensions than before.
    pub(super) fn take_logits(
        &self,
        (shape, data): (&[i64], &[f32]),
        place: &Placement,
        logits: &mut Logits,
    ) -> anyhow::Result<()> {
        let (readout, name) = self.logits_output()?;
        let read = readout.channel_major(shape, data, place, &mut logits.data);
        (logits.grid, logits.classes) = read.map_err(|why| anyhow!("the logits tensor {name}: {why}"))?;
        Ok(())
    }

    /// How the logits are read, and what their output is called.
    ///
    /// # Errors
    /// If the model gives none.
    pub(super) fn logits_output(&self) -> anyhow::Result<(&Readout, &str)> {
        let known = self.logits.as_ref().zip(self.names.logits.as_deref());
        known.context("the model gives no logits: set `logits` in [model]")
    }
}

/// The first size that it runs on, and what comes out.
fn first_run(
    inner: &mut ort::session::Session,
    names: &Names,
    loaded: &Loaded,
    base: usize,
) -> anyhow::Result<(InputSize, Vec<Seen>)> {
    if let SizeRule::Fixed(size) = loaded.size {
        let run = trial(inner, names, size).with_context(|| match loaded.declared {
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
        match trial(inner, names, size) {
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
fn trial(inner: &mut ort::session::Session, names: &Names, size: InputSize) -> anyhow::Result<Vec<Seen>> {
    let placement = Placement {
        width: size.width,
        height: size.height,
        content_width: size.width,
        content_height: size.height,
    };
    let mut input = ModelInput::default();
    input.reset(placement);
    let outputs = infer(inner, &names.input, &input)?;
    let shape = |name: &str| -> anyhow::Result<Seen> {
        let (shape, _) = output(&outputs, name)?;
        Ok(Seen { placement, shape: shape.to_vec() })
    };
    names.outputs().map(shape).collect()
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
