//! Inputs besides the picture that are the same for every picture: made constants of the graph.

use super::config::InputSize;
use super::graph::{self, tensor_type};
use super::onnx::{DimensionValue, GraphProto, ValueInfoProto, data_type, float_tensor, int_tensor, node};
use super::picture::PictureInput;
use super::rewrite;

/// An input and the number that it is filled with.
#[derive(Debug, Clone, PartialEq)]
pub struct ConstantInput {
    /// Its name.
    pub name: String,
    /// The number.
    pub value: f32,
}

impl std::str::FromStr for ConstantInput {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // Names of tensors may hold "=".
        let parsed = text.rsplit_once('=').and_then(|(name, value)| {
            let value = value.trim().parse::<f32>().ok().filter(|value| value.is_finite())?;
            (!name.is_empty()).then(|| ConstantInput { name: name.to_owned(), value })
        });
        parsed.ok_or_else(|| format!("{text:?} is not an input and a number such as mask=0"))
    }
}

/// `graph` without the inputs `constants`, to find the picture among those that are left.
///
/// # Errors
/// If there is no such input, or it is the one that takes the picture.
pub fn without(graph: &GraphProto, constants: &[ConstantInput]) -> Result<GraphProto, String> {
    let real = |value: &&ValueInfoProto| !graph::is_initializer(graph, value.name());
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(real).collect();
    if let Some(one) = constants.iter().find(|one| !inputs.iter().any(|value| value.name() == one.name)) {
        let listed = inputs.iter().map(|value| graph::describe(value)).collect::<Vec<_>>().join("; ");
        return Err(format!("--constant names {:?}, which is no input of it; they are: {listed}", one.name));
    }
    let mut left = graph.clone();
    left.input.retain(|value| !constants.iter().any(|one| one.name == value.name()));
    let alone = |one: &&ConstantInput| {
        let mut alone = graph.clone();
        alone.input.retain(|value| value.name() == one.name);
        PictureInput::find(&alone, None).is_ok()
    };
    match constants.iter().find(alone).filter(|_| PictureInput::find(&left, None).is_err()) {
        Some(own) => {
            let left = left.input.iter().map(graph::describe).collect::<Vec<_>>().join("; ");
            let others = if left.is_empty() {
                "it has no other".to_owned()
            } else {
                format!("its others are: {left}")
            };
            Err(format!("--constant names {:?}, which takes the picture; {others}", own.name))
        }
        None => Ok(left),
    }
}

/// Fills the inputs `constants` for a picture of `size`. A side that an input leaves free is that of the picture by the
/// same name, or one if it comes first.
///
/// # Errors
/// If a side of an input is not known.
pub fn put(
    graph: &mut GraphProto,
    constants: &[ConstantInput],
    picture: &PictureInput,
    size: InputSize,
) -> Result<(), String> {
    for one in constants {
        let Some(at) = graph.input.iter().position(|value| value.name() == one.name) else { continue };
        let value = graph.input[at].clone();
        let dims = sides(graph, &value, picture, size)?;
        graph.input.remove(at);
        let (shape, number) = (
            rewrite::fresh(graph, &format!("{}/farout_shape", one.name)),
            rewrite::fresh(graph, &format!("{}/farout_number", one.name)),
        );
        graph.initializer.push(int_tensor(&shape, &dims));
        graph.initializer.push(float_tensor(&number, Vec::new(), &[one.value]));
        let kind = tensor_type(&value).and_then(|tensor| tensor.elem_type).unwrap_or(data_type::FLOAT);
        let cast = rewrite::fresh(graph, &format!("{}/farout_cast", one.name));
        let steps =
            [rewrite::cast(&number, &cast, kind), node("Expand", &[&cast, &shape], &one.name, Vec::new())];
        graph.node.splice(0..0, steps);
    }
    Ok(())
}

fn sides(
    graph: &GraphProto,
    value: &ValueInfoProto,
    picture: &PictureInput,
    size: InputSize,
) -> Result<Vec<i64>, String> {
    let image = graph.input.iter().find(|value| value.name() == picture.name);
    let image = image.map(graph::dims).unwrap_or_default();
    // Of the picture as it is declared: rows, then columns.
    let rows = picture.rows();
    let same = |name: &str| {
        let at = image.iter().position(
            |dim| matches!(&dim.value, Some(DimensionValue::DimParam(other)) if !name.is_empty() && other == name),
        )?;
        [(rows, size.height), (rows + 1, size.width)]
            .iter()
            .find(|(axis, _)| *axis == at)
            .map(|(_, side)| *side)
    };
    let side = |(axis, dim): (usize, &super::onnx::Dimension)| match &dim.value {
        Some(DimensionValue::DimValue(n)) if *n > 0 => Ok(*n),
        Some(DimensionValue::DimParam(name)) if same(name).is_some() => Ok(same(name).unwrap_or(1) as i64),
        _ if axis == 0 => Ok(1),
        _ => Err(format!(
            "the input {} leaves open how large it is; export it with fixed sides to make it constant",
            graph::describe(value)
        )),
    };
    graph::dims(value).iter().enumerate().map(side).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_and_numbers_are_read() {
        let one: ConstantInput = "a=b=0.5".parse().unwrap();
        assert_eq!((one.name.as_str(), one.value), ("a=b", 0.5));
        for bad in ["mask", "=1", "mask=", "mask=x", "mask=NaN"] {
            assert!(bad.parse::<ConstantInput>().unwrap_err().contains("mask=0"), "{bad}");
        }
    }
}
