//! Dynamic quantisation: products with constant weights are taken in 8-bit integers. Weights are scaled per
//! output channel, activations per tensor at run time (`DynamicQuantizeLinear`, `MatMulInteger`), the pattern
//! that ONNX Runtime fuses into one kernel.

use std::collections::{HashMap, HashSet};

use super::onnx::{GraphProto, ModelProto, NodeProto, TensorProto, data_type, float_tensor, int, node};
use super::rewrite;

/// Smaller products gain nothing.
const LEAST: usize = 16;
/// `DynamicQuantizeLinear` is there since.
const OLDEST_OPSET: i64 = 11;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantised {
    /// Products that are in integers now.
    pub products: usize,
    /// Products with constant weights that stay in floats.
    pub left: usize,
}

/// Weights of one product, `[K, N]`.
struct Weights {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

/// Quantises all products of `model` with constant weights.
///
/// # Errors
/// If there are none, or its operators are too old.
pub fn quantise(model: &mut ModelProto) -> Result<Quantised, String> {
    let opset = model.opset();
    if opset < OLDEST_OPSET {
        return Err(format!(
            "its operators are of opset {opset}, integers need {OLDEST_OPSET}; export it with a newer one"
        ));
    }
    let graph = model.graph.get_or_insert_default();
    let constants: HashMap<String, TensorProto> = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.data_type() == data_type::FLOAT && tensor.dims.len() == 2)
        .map(|tensor| (tensor.name().to_owned(), tensor.clone()))
        .collect();
    let mark = rewrite::mark(graph, "int8_");
    let mut done = Quantised { products: 0, left: 0 };
    let mut inputs: HashMap<String, [String; 3]> = HashMap::new();
    let mut made = Vec::with_capacity(graph.node.len());
    let mut added = Vec::new();
    for one in std::mem::take(&mut graph.node) {
        let Some(weights) = weights(&one, &constants) else {
            made.push(one);
            continue;
        };
        if weights.rows < LEAST || weights.cols < LEAST {
            done.left += 1;
            made.push(one);
            continue;
        }
        done.products += 1;
        let input = one.arg(0).unwrap_or_default().to_owned();
        let quantised = inputs.entry(input.clone()).or_insert_with(|| {
            let names = ["numbers", "scale", "zero"].map(|what| format!("{input}/{mark}{what}"));
            let mut step = node("DynamicQuantizeLinear", &[&input], &names[0], Vec::new());
            step.output.extend_from_slice(&names[1..]);
            made.push(step);
            names
        });
        product(&one, &weights, quantised, &mark, &mut made, &mut added);
    }
    graph.node = made;
    graph.initializer.extend(added);
    drop_unread(graph);
    match done.products {
        0 => Err("it has no products of 32-bit floats with constant weights of 16x16 or more".to_owned()),
        _ => Ok(done),
    }
}

/// The constant weights of a product of matrices.
fn weights(one: &NodeProto, constants: &HashMap<String, TensorProto>) -> Option<Weights> {
    let turned = match one.op_type() {
        "MatMul" => false,
        "Gemm" if one.int("transA").unwrap_or(0) == 0 && plain(one) => one.int("transB").unwrap_or(0) != 0,
        _ => return None,
    };
    let tensor = constants.get(one.arg(1)?)?;
    let &[first, second] = &tensor.dims[..] else { return None };
    let (first, second) = (usize::try_from(first).ok()?, usize::try_from(second).ok()?);
    let data = tensor.floats().filter(|data| data.len() == first * second)?;
    Some(match turned {
        false => Weights { rows: first, cols: second, data },
        true => {
            let data = (0..second).flat_map(|k| (0..first).map(move |n| n * second + k)).map(|at| data[at]);
            Weights { rows: second, cols: first, data: data.collect() }
        }
    })
}

/// A `Gemm` that scales nothing.
fn plain(one: &NodeProto) -> bool {
    ["alpha", "beta"].iter().all(|name| one.attr(name).and_then(|a| a.f).is_none_or(|f| f == 1.0))
}

/// Nodes and constants of one product of integers.
fn product(
    one: &NodeProto,
    weights: &Weights,
    [numbers, scale, zero]: &[String; 3],
    mark: &str,
    made: &mut Vec<NodeProto>,
    added: &mut Vec<TensorProto>,
) {
    let output = one.out(0);
    let at = |what: &str| format!("{output}/{mark}{what}");
    let Weights { rows, cols, data } = weights;
    let largest =
        |col: usize| data.iter().skip(col).step_by(*cols).fold(0.0_f32, |most, w| most.max(w.abs()));
    let scales: Vec<f32> = (0..*cols).map(|col| (largest(col) / 127.0).max(f32::MIN_POSITIVE)).collect();
    let integers =
        data.iter().enumerate().map(|(n, w)| (w / scales[n % cols]).round().clamp(-127.0, 127.0) as i8 as u8);
    added.push(TensorProto {
        name: Some(at("weights")),
        dims: vec![*rows as i64, *cols as i64],
        data_type: Some(data_type::INT8),
        raw_data: Some(integers.collect()),
        ..Default::default()
    });
    added.push(float_tensor(&at("scales"), vec![*cols as i64], &scales));
    made.push(node("MatMulInteger", &[numbers, &at("weights"), zero], &at("sums"), Vec::new()));
    made.push(node("Cast", &[&at("sums")], &at("floats"), vec![int("to", i64::from(data_type::FLOAT))]));
    made.push(node("Mul", &[scale, &at("scales")], &at("units"), Vec::new()));
    match (one.op_type(), one.arg(2)) {
        ("Gemm", Some(bias)) => {
            made.push(node("Mul", &[&at("floats"), &at("units")], &at("product"), Vec::new()));
            made.push(node("Add", &[&at("product"), bias], output, Vec::new()));
        }
        _ => made.push(node("Mul", &[&at("floats"), &at("units")], output, Vec::new())),
    }
}

/// Constants that nobody reads any more.
fn drop_unread(graph: &mut GraphProto) {
    let wanted: Vec<String> = graph.output.iter().map(|value| value.name().to_owned()).collect();
    let wanted: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    rewrite::keep_only(graph, &wanted.into_iter().collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{OperatorSetIdProto, tensor_value};

    fn model(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, opset: i64) -> ModelProto {
        let graph = GraphProto {
            input: vec![tensor_value("x", data_type::FLOAT, None)],
            output: vec![tensor_value("y", data_type::FLOAT, None)],
            node: nodes,
            initializer: constants,
            ..Default::default()
        };
        let domain = Some(String::new());
        let opset_import = vec![OperatorSetIdProto { domain, version: Some(opset) }];
        ModelProto { graph: Some(graph), opset_import, ..Default::default() }
    }

    #[test]
    fn each_channel_uses_all_of_its_integers() {
        let weights: Vec<f32> = (0..32 * 40).map(|n| (n as f32 * 0.7).sin() * (1 + n % 40) as f32).collect();
        let constant = float_tensor("w", vec![32, 40], &weights);
        let mut one = model(vec![node("MatMul", &["x", "w"], "y", vec![])], vec![constant], 17);
        assert_eq!(quantise(&mut one), Ok(Quantised { products: 1, left: 0 }));
        let graph = one.graph.unwrap();
        let ops: Vec<&str> = graph.node.iter().map(|one| one.op_type()).collect();
        assert_eq!(ops, ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]);
        let find = |end: &str| graph.initializer.iter().find(|one| one.name().ends_with(end)).unwrap();
        assert_eq!(graph.initializer.len(), 2, "the floats are gone");
        let scales = find("scales").floats().unwrap();
        let integers: Vec<i8> = find("weights").raw_data.clone().unwrap().iter().map(|b| *b as i8).collect();
        for col in 0..40 {
            let all = integers.iter().skip(col).step_by(40).map(|n| n.unsigned_abs()).max();
            assert_eq!(all, Some(127), "channel {col}");
        }
        for (n, weight) in weights.iter().enumerate() {
            let back = f32::from(integers[n]) * scales[n % 40];
            assert!((back - weight).abs() <= 0.5001 * scales[n % 40], "{n}: {back} {weight}");
        }
    }

    #[test]
    fn what_has_nothing_to_quantise_says_so() {
        let small = float_tensor("w", vec![8, 8], &[0.5; 64]);
        let step = node("MatMul", &["x", "w"], "y", vec![]);
        let why = quantise(&mut model(vec![step.clone()], vec![small], 17)).unwrap_err();
        assert!(why.contains("no products"), "{why}");
        let large = float_tensor("w", vec![32, 32], &[0.5; 1024]);
        let why = quantise(&mut model(vec![step], vec![large], 10)).unwrap_err();
        assert!(why.contains("opset 10"), "{why}");
    }
}
