//! The graph as a web: who makes a tensor, who reads it, what is constant, what shape it has.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::onnx::{GraphProto, NodeProto, TensorProto};
use super::trace::{Shapes, Traced};

/// Look-ups over a folded graph.
#[derive(Debug)]
pub struct Web<'a> {
    /// The nodes, each after those it reads from.
    pub nodes: &'a [NodeProto],
    /// Name of the image input.
    pub input: &'a str,
    shapes: &'a Shapes,
    maker: HashMap<&'a str, usize>,
    readers: HashMap<&'a str, Vec<usize>>,
    constants: HashMap<&'a str, &'a TensorProto>,
    /// Made of constants alone.
    settled: HashSet<&'a str>,
}

impl<'a> Web<'a> {
    /// The web of a traced graph.
    pub fn new(traced: &'a Traced) -> Web<'a> {
        let graph: &GraphProto = traced.graph();
        let constants: HashMap<&str, &TensorProto> =
            graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect();
        let (mut maker, mut readers) = (HashMap::new(), HashMap::<&str, Vec<usize>>::new());
        let mut settled: HashSet<&str> = constants.keys().copied().collect();
        for (n, one) in graph.node.iter().enumerate() {
            for name in one.output.iter().filter(|name| !name.is_empty()) {
                maker.insert(name.as_str(), n);
            }
            let reads = one.reads();
            for &name in &reads {
                let list = readers.entry(name).or_default();
                if list.last() != Some(&n) {
                    list.push(n);
                }
            }
            if !reads.is_empty() && reads.iter().all(|name| settled.contains(name)) {
                settled.extend(one.output.iter().map(String::as_str));
            }
        }
        Web {
            nodes: &graph.node,
            input: &traced.input,
            shapes: &traced.shapes,
            maker,
            readers,
            constants,
            settled,
        }
    }

    /// The number of the node that makes `name`.
    pub fn maker(&self, name: &str) -> Option<usize> {
        self.maker.get(name).copied()
    }

    /// The node that makes `name`.
    pub fn making(&self, name: &str) -> Option<&'a NodeProto> {
        self.nodes.get(self.maker(name)?)
    }

    /// The tensor that `name` holds rounded to integers and made floats again, as often as that was done.
    pub fn before_rounding<'n>(&self, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        let mut name = name;
        while let Some(made) = self.making(name).filter(|one| one.op_type() == "DequantizeLinear")
            && let Some(rounded) = made.arg(0).and_then(|from| self.making(from))
            && rounded.op_type() == "QuantizeLinear"
            && let Some(from) = rounded.arg(0)
        {
            name = from;
        }
        name
    }

    /// Numbers of the nodes that read `name`, ascending.
    pub fn readers(&self, name: &str) -> &[usize] {
        self.readers.get(name).map_or(&[], Vec::as_slice)
    }

    /// True if `name` does not change with the picture.
    pub fn is_constant(&self, name: &str) -> bool {
        self.settled.contains(name)
    }

    /// The constant `name`, if it is stored as such.
    pub fn constant(&self, name: &str) -> Option<&'a TensorProto> {
        self.constants.get(name).copied()
    }

    /// The whole numbers of the constant `name`.
    pub fn numbers(&self, name: &str) -> Option<Vec<i64>> {
        self.constant(name)?.whole_numbers()
    }

    /// Dimensions of a tensor that is no constant.
    pub fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    /// Dimensions of any tensor.
    pub fn dims(&self, name: &str) -> Option<Vec<usize>> {
        if let Some(shape) = self.shape(name) {
            return Some(shape.to_vec());
        }
        let tensor = self.constant(name)?;
        tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect()
    }

    /// Inputs that change with the picture.
    pub fn changing<'n>(&self, one: &'n NodeProto) -> Vec<&'n str> {
        one.input
            .iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty() && !self.is_constant(name))
            .collect()
    }

    /// The tensors that every way from the picture to `name` goes through, the nearest first, `name` included.
    pub fn passed<'n>(&self, name: &'n str) -> Vec<&'n str>
    where
        'a: 'n,
    {
        // Backwards: what is needed and not looked into yet, by the node that makes it. A tensor that stands alone
        // there when all behind it is looked into has no way around it.
        let mut open: BTreeMap<usize, HashSet<&str>> = BTreeMap::new();
        let mut passed = Vec::new();
        open.extend(self.maker(name).map(|n| (n, HashSet::from([name]))));
        let mut reads_picture = false;
        while let Some((n, names)) = open.pop_last() {
            if open.is_empty() && !reads_picture {
                let sum = self.sum_inside(n).filter(|sum| names.len() > 1 || !names.contains(sum));
                passed.extend(names.iter().filter(|_| names.len() == 1));
                passed.extend(sum);
            }
            for from in self.nodes[n].reads() {
                match self.maker(from) {
                    Some(maker) if !self.is_constant(from) => {
                        open.entry(maker).or_default().insert(from);
                    }
                    _ => reads_picture = reads_picture || from == self.input,
                }
            }
        }
        passed
    }

    /// The sum that node `n` gives besides the norm over it, if it makes both.
    fn sum_inside(&self, n: usize) -> Option<&'a str> {
        let one = &self.nodes[n];
        let fused = matches!(one.op_type(), "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization");
        Some(one.out(3)).filter(|sum| fused && !sum.is_empty())
    }

    /// Which nodes depend on `name`, as a mask over the nodes.
    pub fn depending(&self, name: &str) -> Vec<bool> {
        let mut on = vec![false; self.nodes.len()];
        let mut open: Vec<usize> = self.readers(name).to_vec();
        // The norm over a sum depends on it, be it made by the same node.
        let node = self.maker(name).filter(|&n| self.sum_inside(n) == Some(name));
        open.extend(node.iter().flat_map(|&n| self.readers(self.nodes[n].out(0))));
        while let Some(n) = open.pop() {
            if !std::mem::replace(&mut on[n], true) {
                open.extend(self.nodes[n].output.iter().flat_map(|output| self.readers(output)));
            }
        }
        on
    }

    /// Numbers of all nodes that `names` need, as a mask over the nodes.
    pub fn needed(&self, names: &[&str]) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        let mut open: Vec<usize> = names.iter().filter_map(|name| self.maker(name)).collect();
        while let Some(n) = open.pop() {
            if !std::mem::replace(&mut needed[n], true) {
                open.extend(self.nodes[n].reads().iter().filter_map(|name| self.maker(name)));
            }
        }
        needed
    }
}
