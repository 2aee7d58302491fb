//! `.safetensors` with one plane of floats.

use safetensors::{Dtype, SafeTensors};

use super::numbers::{Element, Layout};
use super::{MapInfo, ScoreImage, sides};

/// Names that a map has among other tensors.
const NAMES: [&str; 4] = ["scores", "score", "anomaly", "anomaly_scores"];

/// A length and an opening brace, as every such file starts.
pub fn looks_like(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{') && bytes[..8].iter().rev().take(4).all(|b| *b == 0)
}

/// The map of a tensor file.
///
/// # Errors
/// What is wrong, in words.
pub fn decode(bytes: &[u8]) -> Result<ScoreImage, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    let view = tensors.tensor(&pick(names)?).map_err(|e| e.to_string())?;
    layout(view.dtype(), view.shape())?.decode(view.data())
}

/// What the header says.
///
/// # Errors
/// What is wrong, in words.
pub fn describe(bytes: &[u8]) -> Result<MapInfo, String> {
    let (_, about) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let name = pick(about.tensors().into_keys().collect())?;
    let info = about.info(&name).ok_or("it holds no tensor")?;
    let layout = layout(info.dtype, &info.shape)?;
    Ok(MapInfo { width: layout.width, height: layout.height, wide: layout.element == Element::F64 })
}

fn pick(mut names: Vec<String>) -> Result<String, String> {
    names.sort_unstable();
    match names.as_slice() {
        [] => Err("it holds no tensor".to_owned()),
        [one] => Ok(one.clone()),
        several => NAMES
            .iter()
            .find(|name| several.iter().any(|n| n == *name))
            .map(ToString::to_string)
            .ok_or_else(|| format!("it holds {}; call the map \"scores\"", several.join(", "))),
    }
}

fn layout(dtype: Dtype, shape: &[usize]) -> Result<Layout, String> {
    let element = match dtype {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        other => return Err(format!("it holds {other:?} numbers; save it as F16, F32 or F64")),
    };
    let (height, width) = sides(shape)?;
    Ok(Layout { height, width, element, big_endian: false, fortran: false })
}
