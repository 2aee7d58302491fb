//! Flattening a graph: functions of the model, and branches whose condition is known, become plain nodes.

use std::collections::HashMap;

use super::onnx::{FunctionProto, GraphProto, ModelProto, NodeProto, node};

/// ONNX forbids recursion; a file that recurses all the same ends here.
const DEEPEST: usize = 32;

/// Replaces every call of a function that the model brings along by the function's nodes.
///
/// # Errors
/// If the functions call each other without end.
pub fn functions(model: &mut ModelProto) -> Result<(), String> {
    let functions = std::mem::take(&mut model.functions);
    if functions.is_empty() {
        return Ok(());
    }
    for function in &functions {
        for opset in &function.opset_import {
            if !model.opset_import.iter().any(|known| known.domain() == opset.domain()) {
                model.opset_import.push(opset.clone());
            }
        }
    }
    let by_name: HashMap<(&str, &str, &str), &FunctionProto> =
        functions.iter().map(|f| ((f.domain(), f.name(), f.overload()), f)).collect();
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    for _ in 0..DEEPEST {
        if !expand_calls(graph, &by_name) {
            return Ok(());
        }
    }
    Err("its functions call each other without end; export it again".to_owned())
}

/// One round; false if there was no call left.
fn expand_calls(graph: &mut GraphProto, functions: &HashMap<(&str, &str, &str), &FunctionProto>) -> bool {
    let mut any = false;
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        for attribute in &mut node.attribute {
            for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                any |= expand_calls(body, functions);
            }
        }
        match functions.get(&(node.domain(), node.op_type(), node.overload())) {
            Some(function) => {
                any = true;
                nodes.extend(expanded(&node, function));
            }
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
    any
}

/// The nodes of `function` for one call, every inner name made the call's own.
fn expanded(call: &NodeProto, function: &FunctionProto) -> Vec<NodeProto> {
    let own = call.output.iter().find(|name| !name.is_empty()).map_or(call.name(), String::as_str);
    let mut names: HashMap<String, String> = HashMap::new();
    for (n, inner) in function.input.iter().enumerate() {
        names.insert(inner.clone(), call.arg(n).unwrap_or_default().to_owned());
    }
    for (n, inner) in function.output.iter().enumerate() {
        // An output may be an input handed through: then a copy follows below.
        if !call.out(n).is_empty() && !names.contains_key(inner) {
            names.insert(inner.clone(), call.out(n).to_owned());
        }
    }
    let mut nodes = function.node.clone();
    for inner in &mut nodes {
        rename(inner, &names, own);
        bind(inner, call, function);
    }
    for (n, inner) in function.output.iter().enumerate() {
        let out = call.out(n);
        if !out.is_empty() && names.get(inner).is_some_and(|name| name != out) {
            nodes.push(node("Identity", &[&names[inner]], out, Vec::new()));
        }
    }
    nodes
}

fn rename(inner: &mut NodeProto, names: &HashMap<String, String>, own: &str) {
    let renamed = |name: &mut String| {
        if !name.is_empty() {
            *name = names.get(name).cloned().unwrap_or_else(|| format!("{own}/{name}"));
        }
    };
    inner.input.iter_mut().chain(&mut inner.output).for_each(renamed);
    for body in inner.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
        body.input.iter_mut().chain(&mut body.output).filter_map(|v| v.name.as_mut()).for_each(renamed);
        body.initializer.iter_mut().filter_map(|t| t.name.as_mut()).for_each(renamed);
        body.value_info.clear();
        body.node.iter_mut().for_each(|node| rename(node, names, own));
    }
}

/// Gives attributes that refer to the function's own their value at this call, or the default.
fn bind(inner: &mut NodeProto, call: &NodeProto, function: &FunctionProto) {
    inner.attribute.retain_mut(|attribute| {
        let Some(reference) = attribute.ref_attr_name.take().filter(|name| !name.is_empty()) else {
            return true;
        };
        let given = call
            .attr(&reference)
            .or_else(|| function.attribute_proto.iter().find(|default| default.name() == reference));
        match given {
            Some(value) => {
                let name = attribute.name.take();
                *attribute = value.clone();
                attribute.name = name;
                true
            }
            None => false,
        }
    });
    for body in inner.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)) {
        body.node.iter_mut().for_each(|node| bind(node, call, function));
    }
}

/// Replaces each `If` of the graph whose condition stands in `known` by the branch that is taken.
/// Returns how many were replaced.
pub fn branches(graph: &mut GraphProto, known: &HashMap<String, bool>) -> usize {
    let mut replaced = 0;
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut one in std::mem::take(&mut graph.node) {
        let taken = known.get(one.arg(0).unwrap_or_default()).filter(|_| one.op_type() == "If");
        let branch = taken.and_then(|&yes| {
            let wanted = if yes { "then_branch" } else { "else_branch" };
            one.attribute.iter_mut().find(|attribute| attribute.name() == wanted)?.g.take()
        });
        let Some(branch) = branch else {
            nodes.push(one);
            continue;
        };
        replaced += 1;
        graph.initializer.extend(branch.initializer);
        nodes.extend(branch.node);
        for (inner, outer) in branch.output.iter().zip(&one.output) {
            nodes.push(node("Identity", &[inner.name()], outer, Vec::new()));
        }
    }
    graph.node = nodes;
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{AttributeProto, ValueInfoProto, int};

    #[test]
    fn calls_become_nodes_with_names_and_attributes_of_their_own() {
        let mut inner = node("Softmax", &["x"], "y", vec![]);
        inner.attribute.push(AttributeProto {
            name: Some("axis".into()),
            ref_attr_name: Some("dim".into()),
            ..Default::default()
        });
        let function = FunctionProto {
            name: Some("soft".into()),
            domain: Some("own".into()),
            input: vec!["x".into()],
            output: vec!["z".into()],
            attribute: vec!["dim".into()],
            node: vec![inner, node("Relu", &["y"], "z", vec![])],
            ..Default::default()
        };
        let call = |input: &str, output: &str, dim: i64| NodeProto {
            domain: Some("own".into()),
            ..node("soft", &[input], output, vec![int("dim", dim)])
        };
        let mut model = ModelProto {
            functions: vec![function],
            graph: Some(GraphProto {
                node: vec![call("a", "b", 1), call("b", "c", 2)],
                ..Default::default()
            }),
            ..Default::default()
        };
        functions(&mut model).unwrap();
        let nodes = model.graph.unwrap().node;
        let told: Vec<_> =
            nodes.iter().map(|n| (n.op_type(), n.arg(0).unwrap(), n.out(0), n.int("axis"))).collect();
        assert_eq!(
            told,
            [
                ("Softmax", "a", "b/y", Some(1)),
                ("Relu", "b/y", "b", None),
                ("Softmax", "b", "c/y", Some(2)),
                ("Relu", "c/y", "c", None)
            ]
        );
    }

    #[test]
    fn the_branch_that_is_taken_replaces_its_if() {
        let branch = |op: &str, name: &str| AttributeProto {
            name: Some(name.into()),
            g: Some(GraphProto {
                node: vec![node(op, &["a"], op, vec![])],
                output: vec![ValueInfoProto { name: Some(op.into()), ..Default::default() }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let choice =
            node("If", &["yes"], "b", vec![branch("Relu", "then_branch"), branch("Tanh", "else_branch")]);
        let mut graph = GraphProto { node: vec![choice], ..Default::default() };
        assert_eq!(branches(&mut graph, &HashMap::new()), 0);
        assert_eq!(branches(&mut graph, &HashMap::from([("yes".into(), false)])), 1);
        assert_eq!(graph.node.iter().map(|n| n.op_type()).collect::<Vec<_>>(), ["Tanh", "Identity"]);
    }
}
