//! Questions to a graph: which input is the image, what size it declares, which tensors there are.

use std::collections::BTreeSet;

use super::config::InputSize;
use super::onnx::{Dimension, DimensionValue, GraphProto, NodeProto, ValueInfoProto, data_type, type_proto};

/// What a file says about the sides of its image input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// Both sides are numbers.
    Fixed(InputSize),
    /// Neither is.
    Free,
    /// One is.
    Half,
}

/// True if `name` is a constant of the graph (old files list these among the inputs).
pub fn is_initializer(graph: &GraphProto, name: &str) -> bool {
    graph.initializer.iter().any(|tensor| tensor.name() == name)
        || graph
            .sparse_initializer
            .iter()
            .filter_map(|sparse| sparse.values.as_ref())
            .any(|tensor| tensor.name() == name)
}

/// Element type and dimensions of a tensor value, as far as declared.
pub fn tensor_type(value: &ValueInfoProto) -> Option<&type_proto::Tensor> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
        _ => None,
    }
}

/// Its dimensions; none if they are not declared.
pub fn dims(value: &ValueInfoProto) -> &[Dimension] {
    tensor_type(value).and_then(|tensor| tensor.shape.as_ref()).map_or(&[], |shape| &shape.dim)
}

/// The number of a dimension, if it is one and not 0.
pub fn number(dim: Option<&Dimension>) -> Option<usize> {
    match dim?.value.as_ref()? {
        DimensionValue::DimValue(n) => usize::try_from(*n).ok().filter(|n| *n > 0),
        DimensionValue::DimParam(_) => None,
    }
}

/// `name [1, 3, height, width]`, for people.
pub fn describe(value: &ValueInfoProto) -> String {
    let side = |dim: &Dimension| match &dim.value {
        Some(DimensionValue::DimValue(n)) => n.to_string(),
        Some(DimensionValue::DimParam(name)) => name.clone(),
        None => "?".to_owned(),
    };
    format!("{} [{}]", value.name(), dims(value).iter().map(side).collect::<Vec<_>>().join(", "))
}

/// As [`describe`], with the number format.
pub fn describe_typed(value: &ValueInfoProto) -> String {
    format!("{} {}", describe(value), format_name(tensor_type(value).and_then(|tensor| tensor.elem_type)))
}

/// Number format of the input `name`.
pub fn format_of(graph: &GraphProto, name: &str) -> &'static str {
    let value = graph.input.iter().find(|value| value.name() == name);
    format_name(value.and_then(tensor_type).and_then(|tensor| tensor.elem_type))
}

fn format_name(kind: Option<i32>) -> &'static str {
    match kind {
        Some(data_type::FLOAT) => "float32",
        Some(data_type::FLOAT16) => "float16",
        Some(data_type::BFLOAT16) => "bfloat16",
        Some(data_type::DOUBLE) => "float64",
        Some(data_type::UINT8) => "uint8",
        Some(data_type::INT8) => "int8",
        Some(data_type::INT32) => "int32",
        Some(data_type::INT64) => "int64",
        Some(data_type::BOOL) => "bool",
        _ => "of another number format",
    }
}

/// The name of the input that takes the image.
///
/// # Errors
/// If none or several look like `[1,3,H,W]`.
pub fn image_input(graph: &GraphProto) -> Result<String, String> {
    let inputs: Vec<_> = graph.input.iter().filter(|value| !is_initializer(graph, value.name())).collect();
    let listed = || inputs.iter().map(|value| describe(value)).collect::<Vec<_>>().join("; ");
    let images: Vec<_> = inputs
        .iter()
        .filter(|value| dims(value).len() == 4)
        .filter(|value| match number(dims(value).get(1)) {
            None => number(dims(value).get(3)) != Some(3),
            channels => channels == Some(3),
        })
        .collect();
    let [image] = images[..] else {
        let other = inputs.iter().any(|value| {
            let (rank, last) = (dims(value).len(), number(dims(value).last()));
            rank == 3 || rank == 4 && last == Some(3)
        });
        let hint = match other {
            true => {
                "; if that is a picture with its channels last or without a batch, `farout model prepare` makes a file of it that is fed so"
            }
            false => "",
        };
        return Err(format!("one input [1, 3, height, width] is needed, it has: {}{hint}", listed()));
    };
    if number(dims(image).first()).is_some_and(|batch| batch != 1) {
        return Err(several_images(image));
    }
    Ok(image.name().to_owned())
}

/// Why a batch of a fixed size cannot be fed.
pub fn several_images(image: &ValueInfoProto) -> String {
    format!(
        "its input is a batch of several images ({}); export it for one image, or for a batch of any size",
        describe(image)
    )
}

/// What the image input `name`, `[1, 3, height, width]`, declares about its sides.
///
/// # Errors
/// If the sides are beyond all reason.
pub fn declared_size(graph: &GraphProto, name: &str) -> Result<Declared, String> {
    match graph.input.iter().find(|value| value.name() == name) {
        Some(value) => declared_sides(value, 2),
        None => Ok(Declared::Free),
    }
}

/// What an image declares about its sides, of which the height is its axis `rows`.
///
/// # Errors
/// If the sides are beyond all reason.
pub fn declared_sides(value: &ValueInfoProto, rows: usize) -> Result<Declared, String> {
    match (number(dims(value).get(rows)), number(dims(value).get(rows + 1))) {
        (Some(height), Some(width)) if height.max(width) <= 1 << 15 => {
            Ok(Declared::Fixed(InputSize { width, height }))
        }
        (Some(_), Some(_)) => Err(format!("its input {} is larger than 32768 pixels", describe(value))),
        (None, None) => Ok(Declared::Free),
        _ => Ok(Declared::Half),
    }
}

/// The only output besides `logits`.
///
/// # Errors
/// Lists the outputs if there are more or fewer.
pub fn only_output(graph: &GraphProto, logits: Option<&str>) -> Result<String, String> {
    let outputs: Vec<_> = graph.output.iter().filter(|value| Some(value.name()) != logits).collect();
    match outputs[..] {
        [one] => Ok(one.name().to_owned()),
        _ => Err(format!(
            "set `features` to the tensor that holds them; its outputs are: {}; any tensor inside the graph will do as well",
            graph.output.iter().map(describe).collect::<Vec<_>>().join("; ")
        )),
    }
}

/// Whether some node (or the input) gives the tensor `name`.
///
/// # Errors
/// If none does: the tensors with the closest names, and the outputs.
pub fn require(graph: &GraphProto, name: &str) -> Result<(), String> {
    let near = match require_among(&graph.node, name) {
        Ok(()) => return Ok(()),
        Err(near) => near,
    };
    Err(format!(
        "it has no tensor {name:?}; the closest names are: {near}; its outputs: {}",
        graph.output.iter().map(describe).collect::<Vec<_>>().join("; ")
    ))
}

/// Whether one of `nodes` gives the tensor `name`.
///
/// # Errors
/// If none does: the closest names.
pub fn require_among(nodes: &[NodeProto], name: &str) -> Result<(), String> {
    let all: BTreeSet<&str> = nodes
        .iter()
        .flat_map(|node| &node.output)
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    if all.contains(name) {
        return Ok(());
    }
    let wanted = name.to_lowercase();
    let mut near: Vec<(usize, &str)> = all
        .iter()
        .map(|&candidate| {
            let lower = candidate.to_lowercase();
            let inside = lower.contains(&wanted) || wanted.contains(&lower);
            (if inside { 0 } else { distance(&lower, &wanted) }, candidate)
        })
        .collect();
    near.sort();
    Err(near.iter().take(5).map(|(_, name)| *name).collect::<Vec<_>>().join(", "))
}

/// Levenshtein's edit distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = changed.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Side of the patches if a convolution whose stride is its kernel reads the image `input`
/// (directly or through normalising arithmetic), as in every plain vision transformer.
pub fn patch_hint(graph: &GraphProto, input: &str) -> Option<usize> {
    let mut image = BTreeSet::from([input]);
    for node in &graph.node {
        if !node.input.iter().any(|name| image.contains(name.as_str())) {
            continue;
        }
        match node.op_type() {
            "Conv" => {
                let ints = |key: &str| node.attribute.iter().find(|a| a.name() == key).map(|a| &a.ints[..]);
                let (kernel, stride) = (ints("kernel_shape")?, ints("strides")?);
                let square = kernel == stride && kernel.len() == 2 && kernel.first() == kernel.last();
                return kernel
                    .first()
                    .filter(|_| square)
                    .and_then(|side| usize::try_from(*side).ok())
                    .filter(|side| *side > 0);
            }
            "Sub" | "Div" | "Mul" | "Add" | "Cast" | "Identity" | "Transpose" | "Reshape" | "Unsqueeze"
            | "DequantizeLinear" | "QuantizeLinear" => image.extend(node.output.iter().map(String::as_str)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances() {
        for (a, b, d) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("key_l12", "keys_l12", 1)] {
            assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
        }
    }
}
