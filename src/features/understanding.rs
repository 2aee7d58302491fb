//! What a session learns of its model by running it on empty pictures: the patch, the width, where the features are.

use anyhow::{Context, anyhow, bail};

use super::placement::Placement;
use super::preprocess::ModelInput;
use super::readout::{Readout, Seen};
use super::session::{Session, infer, output};
use crate::model::{self, InputSize, Loaded, SizeRule};

/// Sides of the square inputs that a model of any size is tried on, in this order.
const TRIAL_SIDES: [usize; 5] = [224, 256, 448, 512, 518];

impl Session {
    /// Runs the model on empty pictures and learns from the shapes of what comes out.
    pub(super) fn understand(&mut self, loaded: &Loaded) -> anyhow::Result<()> {
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
