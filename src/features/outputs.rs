//! One run of a graph: the picture in, its outputs by name.

use anyhow::{Context, anyhow};
use ort::value::TensorRef;

use super::placement::Placement;
use super::preprocess::ModelInput;

/// Runs the graph on a picture, which is its input called `name`.
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

/// Dimensions and numbers of the output called `name`.
pub(super) fn output<'a>(
    outputs: &'a ort::session::SessionOutputs<'_>,
    name: &str,
) -> anyhow::Result<(&'a [i64], &'a [f32])> {
    let value = outputs.get(name).ok_or_else(|| anyhow!("the model gave no output {name}"))?;
    let (shape, data) =
        value.try_extract_tensor::<f32>().with_context(|| format!("the output {name} cannot be read"))?;
    Ok((shape, data))
}
