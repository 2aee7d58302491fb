//! Changes to a graph in memory: other input sizes, inner tensors as outputs, unneeded nodes gone.

use std::collections::{HashMap, HashSet};

use super::config::SizeRule;
use super::graph::tensor_type;
use super::onnx::{
    Dimension, DimensionValue, GraphProto, NodeProto, ValueInfoProto, data_type, float_tensor, int, node,
    tensor_value, type_proto,
};

/// A node that turns `from` into `to` of another number format.
pub fn cast(from: &str, to: &str, elem_type: i32) -> NodeProto {
    node("Cast", &[from], to, vec![int("to", i64::from(elem_type))])
}

/// `wish`, or what comes nearest and is no tensor's name yet.
pub fn fresh(graph: &GraphProto, wish: &str) -> String {
    let mut name = wish.to_owned();
    while graph.any_name(&|known| known == name) {
        name.push('_');
    }
    name
}

/// `wish`, or what comes nearest and is part of no tensor's name: every name with it in it is free.
pub fn mark(graph: &GraphProto, wish: &str) -> String {
    let mut mark = wish.to_owned();
    while graph.any_name(&|known| known.contains(&mark)) {
        mark.push('_');
    }
    mark
}

/// Declares the image input `name` as float32 `[1, 3, height, width]` with the sides of `rule`,
/// free where the rule leaves them free. An input of another number format is cast inside, rounded if it is whole
/// numbers.
/// With `changed`, every shape that was inferred for the old size is forgotten, for it would
/// contradict the new one.
pub fn set_input_size(graph: &mut GraphProto, name: &str, rule: SizeRule, changed: bool) {
    let dim = |value| Dimension { value: Some(value), denotation: None };
    let free = |name: &str| dim(DimensionValue::DimParam(format!("farout_{name}")));
    let known = |side: usize| dim(DimensionValue::DimValue(i64::try_from(side).unwrap_or(i64::MAX)));
    let (height, width) = match rule {
        SizeRule::Fixed(size) => (known(size.height), known(size.width)),
        SizeRule::Height(_) | SizeRule::Frame => (free("height"), free("width")),
    };
    let declaration = tensor_value(name, data_type::FLOAT, Some(vec![known(1), known(3), height, width]));
    let mut inner_type = data_type::FLOAT;
    for value in graph.input.iter_mut().filter(|value| value.name() == name) {
        inner_type = tensor_type(value).and_then(|tensor| tensor.elem_type).unwrap_or(data_type::FLOAT);
        *value = declaration.clone();
    }
    if inner_type != data_type::FLOAT {
        let inner = fresh(graph, "farout_image");
        rename_uses(graph, name, &inner);
        let whole = [data_type::UINT8, data_type::INT8, data_type::INT32, data_type::INT64];
        let mut steps = match whole.contains(&inner_type) {
            true => rounded(graph, name, inner_type),
            false => Vec::new(),
        };
        let from = steps.last().map_or(name, |one| one.out(0)).to_owned();
        match steps.is_empty() || !without_cast(graph, &inner) {
            true => steps.push(cast(&from, &inner, inner_type)),
            false => rename_uses(graph, &inner, &from),
        }
        graph.node.splice(0..0, steps);
    }
    if changed {
        forget_shapes(graph);
    }
}

/// Whether all that reads the whole numbers of `from` only moves them about before it turns them into 32-bit floats: then
/// those casts are made copies, and no other number format is left. TensorRT takes bytes nowhere inside a graph.
fn without_cast(graph: &mut GraphProto, from: &str) -> bool {
    let (mut moved, mut casts, mut at) = (vec![from.to_owned()], Vec::new(), 0);
    while let Some(name) = moved.get(at).cloned() {
        at += 1;
        if graph.output.iter().any(|value| value.name() == name) {
            return false;
        }
        for (place, node) in graph.node.iter().enumerate() {
            let inner = node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs));
            if inner.into_iter().any(|graph| graph.any_name(&|known| known == name)) {
                return false;
            }
            if !node.input.contains(&name) {
                continue;
            }
            match node.op_type() {
                "Cast" if node.int("to") == Some(i64::from(data_type::FLOAT)) => casts.push(place),
                "Transpose" | "Reshape" | "Squeeze" | "Unsqueeze" | "Identity"
                    if node.arg(0) == Some(&name) =>
                {
                    moved.push(node.out(0).to_owned());
                }
                _ => return false,
            }
        }
    }
    for place in casts {
        let node = &mut graph.node[place];
        node.op_type = Some("Identity".to_owned());
        node.attribute.clear();
    }
    // They are declared as what they were.
    graph.value_info.retain(|value| !moved.iter().any(|name| name == value.name()));
    true
}

/// Nodes that round `from` to the nearest whole numbers, of bytes within 0..255, ready to be cast: a cast alone cuts
/// fractions off and wraps round.
fn rounded(graph: &mut GraphProto, from: &str, elem_type: i32) -> Vec<NodeProto> {
    let mut steps = Vec::new();
    let mut at = from.to_owned();
    let bytes = elem_type == data_type::UINT8;
    // The lesser of x and 255 is 255 - max(255 - x, 0): every opset has these operators in one form.
    let turned = ("Sub", Some(255.0));
    let all = [("Add", Some(0.5)), ("Floor", None), ("Relu", None), turned, ("Relu", None), turned];
    for (op, number) in all.into_iter().take(if bytes { all.len() } else { 2 }) {
        let to = fresh(graph, &format!("farout_rounded_{}", steps.len()));
        let constant = fresh(graph, &format!("{to}_by"));
        graph.initializer.extend(number.map(|number| float_tensor(&constant, Vec::new(), &[number])));
        let inputs = if number.is_some() { vec![constant.as_str(), &at] } else { vec![at.as_str()] };
        steps.push(node(op, &inputs, &to, Vec::new()));
        at = to;
    }
    steps
}

/// Lets everything that reads the tensor `from` read `to`.
pub fn rename_uses(graph: &mut GraphProto, from: &str, to: &str) {
    for node in &mut graph.node {
        for input in node.input.iter_mut().filter(|input| *input == from) {
            to.clone_into(input);
        }
        for inner in node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
            rename_uses(inner, from, to);
        }
    }
}

/// Gives the tensor `from` the name `to` wherever it stands, but among the graph's inputs.
pub fn rename(graph: &mut GraphProto, from: &str, to: &str) {
    rename_uses(graph, from, to);
    let made = graph.node.iter_mut().flat_map(|node| &mut node.output);
    for name in made.filter(|name| *name == from) {
        to.clone_into(name);
    }
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.name() == from) {
        tensor.name = Some(to.to_owned());
    }
}

/// Removes nodes that only copy what they read; the names that are gone, each with the one that stands for it. What
/// is an output of the graph stays, and nothing else reads it.
pub fn drop_copies(graph: &mut GraphProto) -> HashMap<String, String> {
    let outputs: HashSet<String> = graph.output.iter().map(|value| value.name().to_owned()).collect();
    let mut same: HashMap<String, String> = HashMap::new();
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        if let Some(from) = node.arg(0).filter(|_| copies(&node)) {
            let from = same.get(from).cloned().unwrap_or_else(|| from.to_owned());
            same.insert(node.out(0).to_owned(), from);
            if !outputs.contains(node.out(0)) {
                continue;
            }
        }
        kept.push(node);
    }
    graph.node = kept;
    rename_all(graph, &same);
    same.retain(|name, _| !outputs.contains(name));
    same
}

/// True for nodes whose only result is their first input: `Dropout` drops nothing unless its third input says that it
/// is trained.
fn copies(one: &NodeProto) -> bool {
    let drops = one.op_type() == "Dropout" && one.arg(2).is_none();
    one.domain().is_empty()
        && (one.op_type() == "Identity" || drops)
        && one.output.iter().skip(1).all(String::is_empty)
}

fn rename_all(graph: &mut GraphProto, names: &HashMap<String, String>) {
    for node in &mut graph.node {
        for input in &mut node.input {
            if let Some(to) = names.get(input) {
                to.clone_into(input);
            }
        }
        for inner in node.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
            for value in &mut inner.output {
                if let Some(to) = names.get(value.name()) {
                    value.name = Some(to.clone());
                }
            }
            rename_all(inner, names);
        }
    }
}

fn forget_shapes(graph: &mut GraphProto) {
    for value in &mut graph.value_info {
        if let Some(type_proto::Value::TensorType(tensor)) =
            value.r#type.as_mut().and_then(|t| t.value.as_mut())
        {
            tensor.shape = None;
        }
    }
    for inner in graph
        .node
        .iter_mut()
        .flat_map(|node| &mut node.attribute)
        .flat_map(|a| a.g.iter_mut().chain(&mut a.graphs))
    {
        forget_shapes(inner);
    }
}

/// Makes the tensor `name` a float32 output of the graph and returns the output's name: its own
/// if it is such an output already, else `wish`, cast from whatever format it has.
pub fn expose(graph: &mut GraphProto, name: &str, wish: &str) -> String {
    let is_float =
        |value: &ValueInfoProto| tensor_type(value).is_some_and(|t| t.elem_type == Some(data_type::FLOAT));
    if let Some(value) = graph.output.iter_mut().find(|value| value.name() == name && is_float(value)) {
        // What it says of its shape may be stale, and nobody needs it.
        *value = tensor_value(name, data_type::FLOAT, None);
        return name.to_owned();
    }
    let output = fresh(graph, wish);
    graph.node.push(cast(name, &output, data_type::FLOAT));
    graph.output.push(tensor_value(&output, data_type::FLOAT, None));
    output
}

/// Cuts everything that the outputs `wanted` do not need: other outputs, nodes, constants, inputs.
pub fn keep_only(graph: &mut GraphProto, wanted: &[&str]) {
    graph.output.retain(|value| wanted.contains(&value.name()));
    let mut needed: HashSet<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    // ONNX lists nodes in topological order, so one pass from the end finds them all.
    let mut kept = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            require_inputs(&node, &mut needed);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    let has = |name: &str| needed.contains(name);
    graph.initializer.retain(|tensor| has(tensor.name()));
    graph.sparse_initializer.retain(|sparse| sparse.values.as_ref().is_some_and(|tensor| has(tensor.name())));
    graph.input.retain(|value| has(value.name()));
    graph.value_info.retain(|value| has(value.name()));
    graph.quantization_annotation.retain(|annotation| has(annotation.tensor_name()));
}

/// Adds what `node` reads, its inner graphs included: these may read any tensor around them.
fn require_inputs(node: &NodeProto, needed: &mut HashSet<String>) {
    needed.extend(node.input.iter().filter(|input| !input.is_empty()).cloned());
    for inner in node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
        needed.extend(inner.output.iter().map(|value| value.name().to_owned()));
        for node in &inner.node {
            require_inputs(node, needed);
        }
    }
}
