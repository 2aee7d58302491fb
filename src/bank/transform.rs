//! The numbers that a recipe's transforms need, and how they lie in the bank's file: F32 tensors
//! `transform.P.S.mean` `[C]` and `transform.P.S.matrix` `[C', C]` for step S of part P.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::{Recipe, RecipePart, StepKind};

/// The steps of one part, in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transform {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The mean over all patches of the picture is subtracted. Only as the first step.
    CenterImage,
    /// Division by the L2 norm; the zero vector stays as it is.
    Unit,
    /// x becomes matrix (x - mean).
    Affine(Affine),
}

/// Numbers of an affine step of C numbers to C'.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// C numbers.
    pub mean: Vec<f32>,
    /// `C' x C` numbers, row by row; `None` for the identity.
    pub matrix: Option<Vec<f32>>,
}

impl Affine {
    /// Numbers that it takes, C.
    pub fn takes(&self) -> usize {
        self.mean.len()
    }

    /// Numbers that it gives, C'.
    pub fn gives(&self) -> usize {
        self.matrix.as_ref().map_or(self.takes(), |matrix| matrix.len() / self.takes().max(1))
    }
}

impl Transform {
    /// Numbers that it makes of `width` ones.
    ///
    /// # Errors
    /// If its steps do not fit each other, or have numbers that are not finite.
    pub fn gives(&self, width: usize) -> Result<usize, String> {
        self.steps.iter().enumerate().try_fold(width, |width, (number, step)| match step {
            Step::CenterImage if number > 0 => Err("center:image can only be the first step".to_owned()),
            Step::CenterImage | Step::Unit => Ok(width),
            Step::Affine(affine) => {
                let numbers = affine.mean.iter().chain(affine.matrix.iter().flatten());
                let gives = affine.gives();
                let whole = affine.matrix.as_ref().is_none_or(|m| m.len() == gives * width);
                if affine.takes() != width || gives == 0 || gives > width || !whole {
                    return Err(format!("a step of {} to {gives} numbers follows {width}", affine.takes()));
                }
                if !numbers.into_iter().all(|x| x.is_finite()) {
                    return Err("a transform has NaN or infinite numbers".to_owned());
                }
                Ok(gives)
            }
        })
    }

    /// Its tensors, named as those of part number `part`.
    pub(super) fn tensors(&self, part: usize) -> Result<Vec<(String, TensorView<'_>)>, SafeTensorError> {
        let mut tensors = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            let Step::Affine(affine) = step else { continue };
            let (mean, matrix) = names(part, number);
            let bytes = bytemuck::cast_slice(&affine.mean);
            tensors.push((mean, TensorView::new(Dtype::F32, vec![affine.takes()], bytes)?));
            if let Some(numbers) = &affine.matrix {
                let (shape, bytes) = (vec![affine.gives(), affine.takes()], bytemuck::cast_slice(numbers));
                tensors.push((matrix, TensorView::new(Dtype::F32, shape, bytes)?));
            }
        }
        Ok(tensors)
    }

    /// The transform of `part`, number `number` of its recipe.
    ///
    /// # Errors
    /// What is missing or does not fit.
    fn read(tensors: &SafeTensors<'_>, number: usize, part: &RecipePart) -> Result<Transform, String> {
        let numbers = |name: &str| {
            let tensor = tensors.tensor(name).map_err(|e| e.to_string())?;
            match tensor.dtype() {
                Dtype::F32 => Ok(numbers_of(tensor.data())),
                other => Err(format!("its tensor {name} is {other:?}, not F32")),
            }
        };
        let step = |(at, kind): (usize, &StepKind)| {
            let (mean, matrix) = names(number, at);
            Ok(match kind {
                StepKind::CenterImage => Step::CenterImage,
                StepKind::L2 => Step::Unit,
                StepKind::Center => Step::Affine(Affine { mean: numbers(&mean)?, matrix: None }),
                StepKind::Pca(_) | StepKind::Whiten(..) => {
                    Step::Affine(Affine { mean: numbers(&mean)?, matrix: Some(numbers(&matrix)?) })
                }
            })
        };
        Ok(Transform { steps: part.steps.iter().enumerate().map(step).collect::<Result<_, String>>()? })
    }
}

/// The transforms of all parts of `recipe`.
///
/// # Errors
/// What is missing or does not fit.
pub(super) fn read_all(tensors: &SafeTensors<'_>, recipe: &Recipe) -> Result<Vec<Transform>, String> {
    recipe.parts.iter().enumerate().map(|(n, part)| Transform::read(tensors, n, part)).collect()
}

/// Checks that each part of `recipe` has its transform.
///
/// # Errors
/// What does not fit, in words.
pub(super) fn check(recipe: &Recipe, transforms: &[Transform]) -> Result<(), String> {
    if transforms.len() != recipe.parts.len() {
        return Err(format!("it has {} parts and {} transforms", recipe.parts.len(), transforms.len()));
    }
    for (part, transform) in recipe.parts.iter().zip(transforms) {
        let gives = transform.gives(part.width).map_err(|why| format!("part {}: {why}", part.name))?;
        if gives != part.stored {
            return Err(format!("part {} is {} wide, its transform gives {gives}", part.name, part.stored));
        }
    }
    Ok(())
}

fn names(part: usize, step: usize) -> (String, String) {
    (format!("transform.{part}.{step}.mean"), format!("transform.{part}.{step}.matrix"))
}

/// Single-precision numbers, little-endian and anywhere in memory.
pub(super) fn numbers_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
