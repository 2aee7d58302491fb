//! Flattening a graph: functions of the model, and branches whose condition is known, become plain nodes.

use std::collections::HashMap;

use super::lift;
use super::onnx::{FunctionProto, GraphProto, ModelProto, NodeProto, node};
use super::scope::{Census, Renamed, made_by, part, part_nodes, rename, rename_in};

/// ONNX forbids recursion; a file that recurses all the same ends here.
const DEEPEST: usize = 32;

/// Replaces every call of a function that the model brings along by the function's nodes. Then what the bodies of
/// nodes make is called like nothing around them, and constants are no nodes.
///
/// # Errors
/// If the functions call each other without end.
pub fn functions(model: &mut ModelProto) -> Result<(), String> {
    let functions = std::mem::take(&mut model.functions);
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
    let mut census = Census::of(graph);
    for _ in 0..DEEPEST {
        if !expand_calls(graph, &by_name, &mut census) {
            settle(graph);
            return Ok(());
        }
    }
    Err("its functions call each other without end; export it again".to_owned())
}

/// One round; false if there was no call left.
fn expand_calls(
    graph: &mut GraphProto,
    functions: &HashMap<(&str, &str, &str), &FunctionProto>,
    census: &mut Census,
) -> bool {
    let mut any = false;
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        for body in node.bodies_mut() {
            any |= expand_calls(body, functions, census);
        }
        match functions.get(&(node.domain(), node.op_type(), node.overload())) {
            Some(function) => {
                any = true;
                nodes.extend(expanded(&node, function, census));
            }
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
    any
}

/// The nodes of `function` for one call, every inner name made the call's own.
fn expanded(call: &NodeProto, function: &FunctionProto, census: &mut Census) -> Vec<NodeProto> {
    let own = call.output.iter().find(|name| !name.is_empty()).map_or(call.name(), String::as_str);
    let mut names = Renamed::new();
    for (n, inner) in function.input.iter().enumerate() {
        names.insert(inner.clone(), call.arg(n).unwrap_or_default().to_owned());
    }
    for (n, inner) in function.output.iter().enumerate() {
        // An output may be an input handed through: then a copy follows below.
        if !call.out(n).is_empty() && !names.contains_key(inner) {
            names.insert(inner.clone(), call.out(n).to_owned());
        }
    }
    for inner in made_by(&function.node) {
        if !names.contains_key(inner) {
            names.insert(inner.to_owned(), census.fresh(&format!("{own}/{inner}")));
        }
    }
    let mut nodes = function.node.clone();
    for inner in &mut nodes {
        inner.bodies_mut().for_each(|body| body.value_info.clear());
        rename_in(inner, &names);
        if let Some(name) = inner.name.as_mut().filter(|name| !name.is_empty()) {
            *name = format!("{own}/{name}");
        }
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
    for body in inner.bodies_mut() {
        body.node.iter_mut().for_each(|node| bind(node, call, function));
    }
}

/// Replaces each `If` of the graph whose condition stands in `known` by the branch that is taken; a name of the branch
/// that something else has, too, is changed. Returns how many were replaced.
pub fn branches(graph: &mut GraphProto, known: &HashMap<String, bool>) -> usize {
    let mut replaced = 0;
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut census = Census::of(graph);
    for mut one in std::mem::take(&mut graph.node) {
        let taken = known.get(one.arg(0).unwrap_or_default()).filter(|_| one.op_type() == "If");
        let wanted = taken.map(|&yes| if yes { "then_branch" } else { "else_branch" });
        let at = one
            .attribute
            .iter()
            .position(|attribute| Some(attribute.name()) == wanted && attribute.g.is_some());
        let Some(at) = at else {
            nodes.push(one);
            continue;
        };
        census.forget_bodies(&one);
        let Some(mut branch) = one.attribute.swap_remove(at).g else { continue };
        let clashing: Vec<String> =
            branch.own_names().filter(|name| census.has(name)).map(str::to_owned).collect();
        let names: Renamed = clashing.into_iter().map(|old| (old.clone(), census.fresh(&old))).collect();
        rename(&mut branch, &names);
        branch.own_names().for_each(|name| census.add(name));
        replaced += 1;
        graph.initializer.extend(branch.initializer);
        graph.sparse_initializer.extend(branch.sparse_initializer);
        nodes.extend(branch.node);
        for (inner, outer) in branch.output.iter().zip(&one.output) {
            if !outer.is_empty() {
                nodes.push(node("Identity", &[inner.name()], outer, Vec::new()));
            }
        }
    }
    graph.node = nodes;
    settle(graph);
    replaced
}

/// What came into the graph is made like what was there: names are its own, constants are no nodes.
fn settle(graph: &mut GraphProto) {
    part(graph);
    part_nodes(graph);
    lift::constants(graph);
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

    #[test]
    fn branches_that_share_names_come_apart() {
        let branch = |name: &str, op: &str| AttributeProto {
            name: Some(name.into()),
            g: Some(GraphProto {
                node: vec![
                    NodeProto { name: Some("n".into()), ..node("Add", &["x", "w"], "h", vec![]) },
                    node(op, &["h"], "out", vec![]),
                ],
                initializer: vec![crate::model::onnx::float_tensor("w", vec![], &[1.0])],
                output: vec![ValueInfoProto { name: Some("out".into()), ..Default::default() }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let choice = |output: &str| {
            node("If", &["c"], output, vec![branch("then_branch", "Relu"), branch("else_branch", "Abs")])
        };
        let open = NodeProto { input: vec!["open".into()], ..choice("z") };
        let nodes = vec![choice("a"), choice("b"), open, node("Add", &["a", "b"], "h", vec![])];
        let mut graph = GraphProto { node: nodes, ..Default::default() };
        assert_eq!(branches(&mut graph, &HashMap::from([("c".into(), true)])), 2);
        let mut seen = std::collections::HashSet::new();
        for name in graph.own_names() {
            assert!(seen.insert(name.to_owned()), "{name} twice");
        }
        // Each result still comes from a constant and a sum of its own.
        let making = |name: &str| graph.node.iter().find(|one| one.out(0) == name).unwrap();
        let sums = ["a", "b"].map(|name| making(making(making(name).arg(0).unwrap()).arg(0).unwrap()));
        assert!(sums[0].op_type() == "Add" && sums[0].out(0) != sums[1].out(0));
        assert_ne!(sums[0].arg(1), sums[1].arg(1));
        assert_eq!(making("h").input, ["a", "b"], "the graph's own names stay");
        let names: Vec<&str> =
            graph.node.iter().map(NodeProto::name).filter(|name| !name.is_empty()).collect();
        assert_eq!(names, ["n"]);
    }
}
