//! Names within a graph: which of them its bodies (branches, loop bodies) make themselves, and giving names that
//! nobody else has. A body may read any tensor around it, and what it makes itself hides what is around.

use std::collections::{HashMap, HashSet};

use super::onnx::{GraphProto, NodeProto, TensorProto};

/// Old names and new ones.
pub type Renamed = HashMap<String, String>;

impl GraphProto {
    /// The tensors that the graph itself has: inputs, constants, results of its nodes, but not those of the bodies
    /// within.
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        let inputs = self.input.iter().map(|value| value.name());
        let sparse = self.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
        let constants = self.initializer.iter().chain(sparse).map(TensorProto::name);
        inputs.chain(constants).chain(made_by(&self.node))
    }

    /// True if the graph or a body within has a tensor whose name `is` one.
    pub fn any_name(&self, is: &dyn Fn(&str) -> bool) -> bool {
        self.own_names().any(is)
            || self.output.iter().any(|value| is(value.name()))
            || self.node.iter().flat_map(NodeProto::bodies).any(|body| body.any_name(is))
    }
}

/// Results of `nodes`, but not those of the bodies within.
pub fn made_by(nodes: &[NodeProto]) -> impl Iterator<Item = &str> {
    nodes.iter().flat_map(|one| &one.output).map(String::as_str).filter(|name| !name.is_empty())
}

/// How often each name is given: in `nodes`, and in all bodies within.
#[derive(Debug, Default)]
pub struct Census(HashMap<String, usize>);

impl Census {
    /// Of a whole graph.
    pub fn of(graph: &GraphProto) -> Census {
        let mut census = Census::default();
        census.add_graph(graph);
        census
    }

    fn add_graph(&mut self, graph: &GraphProto) {
        graph.own_names().for_each(|name| self.add(name));
        graph.node.iter().flat_map(NodeProto::bodies).for_each(|body| self.add_graph(body));
    }

    /// One more.
    pub fn add(&mut self, name: &str) {
        *self.0.entry(name.to_owned()).or_default() += 1;
    }

    /// The bodies of `one` are gone.
    pub fn forget_bodies(&mut self, one: &NodeProto) {
        for body in one.bodies() {
            let mut names: Vec<&str> = body.own_names().collect();
            while let Some(name) = names.pop() {
                if let Some(count) = self.0.get_mut(name) {
                    *count = count.saturating_sub(1);
                }
            }
            body.node.iter().for_each(|inner| self.forget_bodies(inner));
        }
    }

    /// True if the name is given.
    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|count| *count > 0)
    }

    /// `wish`, or what comes nearest and is not given; it is given now.
    pub fn fresh(&mut self, wish: &str) -> String {
        let mut name = wish.to_owned();
        while self.has(&name) {
            name.push('_');
        }
        self.add(&name);
        name
    }
}

/// Renames what `graph` has and reads. Names that a body makes itself are another's, and stay.
pub fn rename(graph: &mut GraphProto, names: &Renamed) {
    let values = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
    values.filter_map(|value| value.name.as_mut()).for_each(|name| to_new(name, names));
    let sparse = graph.sparse_initializer.iter_mut().filter_map(|sparse| sparse.values.as_mut());
    let constants = graph.initializer.iter_mut().chain(sparse);
    constants.filter_map(|tensor| tensor.name.as_mut()).for_each(|name| to_new(name, names));
    let annotations = graph.quantization_annotation.iter_mut();
    annotations.filter_map(|one| one.tensor_name.as_mut()).for_each(|name| to_new(name, names));
    graph.node.iter_mut().for_each(|one| rename_in(one, names));
}

/// Renames what one node makes and reads, its bodies included.
pub fn rename_in(one: &mut NodeProto, names: &Renamed) {
    one.input.iter_mut().chain(&mut one.output).for_each(|name| to_new(name, names));
    for body in one.bodies_mut() {
        let own: HashSet<String> =
            body.own_names().filter(|name| names.contains_key(*name)).map(str::to_owned).collect();
        if own.is_empty() {
            rename(body, names);
        } else {
            let rest = names.iter().filter(|(old, _)| !own.contains(*old));
            rename(body, &rest.map(|(old, new)| (old.clone(), new.clone())).collect());
        }
    }
}

fn to_new(name: &mut String, names: &Renamed) {
    if let Some(new) = names.get(name) {
        new.clone_into(name);
    }
}

/// Lets no body make a tensor of a name that a graph around it has: ONNX Runtime takes such a body only where its node
/// comes before the other tensor.
pub fn part(graph: &mut GraphProto) {
    if graph.node.iter().all(|one| one.bodies().next().is_none()) {
        return;
    }
    let mut census = Census::of(graph);
    part_from(graph, &HashSet::new(), &mut census);
}

fn part_from(graph: &mut GraphProto, around: &HashSet<String>, census: &mut Census) {
    let clashing: Vec<String> =
        graph.own_names().filter(|name| around.contains(*name)).map(str::to_owned).collect();
    if !clashing.is_empty() {
        let names = clashing.into_iter().map(|old| (old.clone(), census.fresh(&old))).collect();
        rename(graph, &names);
    }
    if graph.node.iter().all(|one| one.bodies().next().is_none()) {
        return;
    }
    let mut all: HashSet<String> = graph.own_names().map(str::to_owned).collect();
    all.extend(around.iter().cloned());
    for body in graph.node.iter_mut().flat_map(NodeProto::bodies_mut) {
        part_from(body, &all, census);
    }
}

/// Lets no two nodes share a name, which ONNX Runtime refuses: a later one has none. Names of nodes serve people only.
pub fn part_nodes(graph: &mut GraphProto) {
    let mut seen: HashSet<String> = HashSet::new();
    for one in &mut graph.node {
        one.name.take_if(|name| !name.is_empty() && !seen.insert(name.clone()));
        one.bodies_mut().for_each(part_nodes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{AttributeProto, ValueInfoProto, node};

    /// A node whose body makes `inner` of `x` and gives it out.
    fn with_body(inner: &str, output: &str) -> NodeProto {
        let body = GraphProto {
            node: vec![node("Relu", &["x"], inner, vec![]), node("Abs", &[inner], "out", vec![])],
            output: vec![ValueInfoProto { name: Some("out".into()), ..Default::default() }],
            ..Default::default()
        };
        let attribute = AttributeProto { name: Some("body".into()), g: Some(body), ..Default::default() };
        node("If", &["c"], output, vec![attribute])
    }

    fn body(one: &NodeProto) -> &GraphProto {
        one.bodies().next().unwrap()
    }

    #[test]
    fn a_name_around_is_renamed_where_the_body_has_none_of_its_own() {
        let names =
            Renamed::from([("x".to_owned(), "image".to_owned()), ("h".to_owned(), "else".to_owned())]);
        let mut graph =
            GraphProto { node: vec![with_body("h", "y"), with_body("i", "h")], ..Default::default() };
        rename(&mut graph, &names);
        let hidden = body(&graph.node[0]);
        assert_eq!((hidden.node[0].arg(0), hidden.node[0].out(0)), (Some("image"), "h"));
        assert_eq!((graph.node[1].out(0), body(&graph.node[1]).node[0].arg(0)), ("else", Some("image")));
        assert_eq!(graph.node[0].reads(), ["c", "image"]);
    }

    #[test]
    fn what_a_body_makes_is_not_called_like_anything_around_it() {
        let nodes = vec![with_body("h", "y"), node("Abs", &["y"], "h", vec![]), with_body("out", "z")];
        let mut graph = GraphProto { node: nodes, ..Default::default() };
        part(&mut graph);
        let inner = body(&graph.node[0]);
        assert_eq!((inner.node[0].out(0), inner.node[1].arg(0)), ("h_", Some("h_")));
        assert_eq!(graph.node[1].out(0), "h", "the name around stays");
        assert_eq!(body(&graph.node[2]).node[1].out(0), "out", "bodies side by side may share names");
    }

    #[test]
    fn nodes_have_names_of_their_own_or_none() {
        let named = |name: &str| NodeProto { name: Some(name.into()), ..Default::default() };
        let mut graph = GraphProto { node: ["a", "b", "a", ""].map(named).into(), ..Default::default() };
        part_nodes(&mut graph);
        assert_eq!(graph.node.iter().map(NodeProto::name).collect::<Vec<_>>(), ["a", "b", "", ""]);
    }
}
