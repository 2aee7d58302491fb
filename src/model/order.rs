//! Nodes in topological order: what makes a tensor comes before what reads it. ONNX demands it of files, ONNX Runtime
//! does not of the outermost graph, and all that is asked of a graph here relies on it.

use std::collections::HashMap;

use super::onnx::{ModelProto, NodeProto};

/// Sorts the nodes of all graphs and functions of `model`. Nodes that stand right stay where they are.
///
/// # Errors
/// The tensors of a circle, if there is one.
pub fn sort(model: &mut ModelProto) -> Result<(), String> {
    model.graph.iter_mut().try_for_each(|graph| sort_nodes(&mut graph.node))?;
    model.functions.iter_mut().try_for_each(|function| sort_nodes(&mut function.node))
}

fn sort_nodes(nodes: &mut Vec<NodeProto>) -> Result<(), String> {
    for body in nodes.iter_mut().flat_map(NodeProto::bodies_mut) {
        sort_nodes(&mut body.node)?;
    }
    let order = order(nodes)?;
    if !order.is_sorted() {
        let mut left: Vec<Option<NodeProto>> = std::mem::take(nodes).into_iter().map(Some).collect();
        nodes.extend(order.into_iter().filter_map(|at| left.get_mut(at)?.take()));
    }
    Ok(())
}

/// The nodes that make what each node reads.
fn makers(nodes: &[NodeProto]) -> Vec<Vec<usize>> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    for (at, one) in nodes.iter().enumerate() {
        for name in one.output.iter().filter(|name| !name.is_empty()) {
            maker.entry(name).or_insert(at);
        }
    }
    nodes
        .iter()
        .map(|one| one.reads().into_iter().filter_map(|name| maker.get(name).copied()).collect())
        .collect()
}

/// Depth first, without recursion: graphs are thousands of nodes deep.
fn order(nodes: &[NodeProto]) -> Result<Vec<usize>, String> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Begun,
        Done,
    }
    let makers = makers(nodes);
    let mut state = vec![State::New; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    for start in 0..nodes.len() {
        // Each node with the number of its makers that were looked at.
        let mut way = vec![(start, 0)];
        while let Some((at, next)) = way.pop() {
            if next == 0 {
                if state[at] != State::New {
                    continue;
                }
                state[at] = State::Begun;
            }
            match makers[at].get(next) {
                Some(&maker) => {
                    way.push((at, next + 1));
                    match state[maker] {
                        State::New => way.push((maker, 0)),
                        State::Begun => return Err(circle(nodes, &way, maker)),
                        State::Done => {}
                    }
                }
                None => {
                    state[at] = State::Done;
                    order.push(at);
                }
            }
        }
    }
    Ok(order)
}

/// Most tensors of a circle that are named.
const NAMED: usize = 8;

/// The circle that `way` runs into at `again`.
fn circle(nodes: &[NodeProto], way: &[(usize, usize)], again: usize) -> String {
    let round = way.iter().map(|(at, _)| *at).skip_while(|at| *at != again);
    let mut names: Vec<&str> = round.map(|at| nodes[at].out(0)).collect();
    // Each reads the next: told in the order in which they are made.
    names.reverse();
    let more = if names.len() > NAMED { " -> ..." } else { "" };
    names.truncate(NAMED);
    let first = names.first().copied().unwrap_or_default();
    format!(
        "its nodes form a circle, so that none of them can be computed first ({}{more} -> {first}); export it again",
        names.join(" -> ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{AttributeProto, GraphProto, ValueInfoProto, node};

    fn sorted(nodes: Vec<NodeProto>) -> Result<Vec<String>, String> {
        let graph = GraphProto { node: nodes, ..Default::default() };
        let mut model = ModelProto { graph: Some(graph), ..Default::default() };
        sort(&mut model)?;
        Ok(model.graph.unwrap_or_default().node.iter().map(|one| one.out(0).to_owned()).collect())
    }

    #[test]
    fn makers_come_first_and_nothing_else_moves() {
        let [a, b, c, d] = [
            node("Relu", &["x"], "a", vec![]),
            node("Add", &["a", "d"], "b", vec![]),
            node("Relu", &["b"], "c", vec![]),
            node("Abs", &["x"], "d", vec![]),
        ];
        let all = [&a, &b, &c, &d];
        let want: Vec<String> = ["a", "d", "b", "c"].map(str::to_owned).into();
        assert_eq!(sorted(all.map(Clone::clone).into()).unwrap(), want);
        assert_eq!(sorted([&a, &d, &b, &c].map(Clone::clone).into()).unwrap(), want);
        let back = ["a", "d", "b", "c"].map(str::to_owned);
        assert_eq!(sorted([&c, &b, &a, &d].map(Clone::clone).into()).unwrap(), back);
    }

    #[test]
    fn what_a_body_reads_from_around_it_comes_before_its_node() {
        let branch = |name: &str, inner: Vec<NodeProto>| AttributeProto {
            name: Some(name.into()),
            g: Some(GraphProto {
                node: inner,
                output: vec![ValueInfoProto { name: Some("o".into()), ..Default::default() }],
                ..Default::default()
            }),
            ..Default::default()
        };
        // `hidden` is made in the branch, out of order: the one around is another's.
        let then = vec![node("Add", &["hidden", "late"], "o", vec![]), node("Abs", &["x"], "hidden", vec![])];
        let choice = node(
            "If",
            &["c"],
            "y",
            vec![branch("then_branch", then), branch("else_branch", vec![node("Neg", &["x"], "o", vec![])])],
        );
        let nodes = vec![choice, node("Relu", &["y"], "hidden", vec![]), node("Abs", &["x"], "late", vec![])];
        let graph = GraphProto { node: nodes, ..Default::default() };
        let mut model = ModelProto { graph: Some(graph), ..Default::default() };
        sort(&mut model).unwrap();
        let graph = model.graph.unwrap();
        assert_eq!(graph.node.iter().map(|one| one.out(0)).collect::<Vec<_>>(), ["late", "y", "hidden"]);
        let inner = graph.node[1].bodies().next().unwrap();
        assert_eq!(inner.node.iter().map(|one| one.out(0)).collect::<Vec<_>>(), ["hidden", "o"]);
    }

    #[test]
    fn a_circle_is_named() {
        let why = sorted(vec![
            node("Add", &["x", "c"], "a", vec![]),
            node("Relu", &["a"], "b", vec![]),
            node("Relu", &["b"], "c", vec![]),
        ])
        .unwrap_err();
        assert!(why.contains("circle") && why.contains("b -> c -> a -> b"), "{why}");
        let why = sorted(vec![node("Add", &["x", "own"], "own", vec![])]).unwrap_err();
        assert!(why.contains("own -> own"), "{why}");
        // As deep as no stack is.
        let chain = (0..200_000).rev().map(|n| node("Relu", &[&n.to_string()], &(n + 1).to_string(), vec![]));
        assert_eq!(sorted(chain.collect()).unwrap()[..2], ["1", "2"]);
    }
}
