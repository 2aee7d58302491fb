//! What one run of a graph tells: the shape of every tensor, and the value of everything that does not
//! depend on the picture. The run itself happens elsewhere; here is what to ask and what to make of it.

use std::collections::{HashMap, HashSet};

use super::config::InputSize;
use super::onnx::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, node};
use super::rewrite;

/// Shapes in elements, by tensor.
pub type Shapes = HashMap<String, Vec<usize>>;

/// Operators that give other numbers at every run.
const RANDOM: [&str; 6] =
    ["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"];
/// Operators whose result is as long as the data decide.
const LENGTH_BY_DATA: [&str; 7] =
    ["NonZero", "Unique", "Compress", "NonMaxSuppression", "If", "Loop", "StringSplit"];
/// Operators that take the shape of their result from the numbers of a further input.
const SHAPE_BY_INPUT: [&str; 9] =
    ["Reshape", "Expand", "Tile", "Slice", "Pad", "Resize", "TopK", "OneHot", "Split"];
/// Operators that make sequences, which have no shape.
const SEQUENCES: [&str; 6] =
    ["SplitToSequence", "SequenceConstruct", "SequenceInsert", "SequenceEmpty", "SequenceErase", "Optional"];

/// Which tensors change with the picture, for an input of fixed size.
#[derive(Debug, Default)]
struct Dependence {
    /// Their numbers do.
    numbers: HashSet<String>,
    /// Their shape does.
    shape: HashSet<String>,
}

impl Dependence {
    fn of(graph: &GraphProto, input: &str) -> Dependence {
        let mut on = Dependence { numbers: HashSet::from([input.to_owned()]), shape: HashSet::new() };
        for one in &graph.node {
            let op = one.op_type();
            let reads = one.reads();
            let numbers = reads.iter().any(|name| on.numbers.contains(*name));
            let shape = reads.iter().any(|name| on.shape.contains(*name));
            let by_input = SHAPE_BY_INPUT.contains(&op)
                && one.input.iter().skip(1).any(|name| on.numbers.contains(name));
            let of_shape = matches!(op, "Shape" | "Size");
            let made = matches!(op, "Range" | "ConstantOfShape") && numbers;
            let changes = if of_shape { shape } else { numbers || RANDOM.contains(&op) };
            let bends = !of_shape && (shape || by_input || made || numbers && LENGTH_BY_DATA.contains(&op));
            for output in one.output.iter().filter(|name| !name.is_empty()) {
                if changes {
                    on.numbers.insert(output.clone());
                }
                if bends {
                    on.shape.insert(output.clone());
                }
            }
        }
        on
    }
}

/// True if the node is better left in the graph than replaced by its result: results of these are
/// larger than what they are made of.
fn stays(one: &NodeProto) -> bool {
    one.op_type() == "DequantizeLinear"
}

/// A model that tells the wanted when it is run.
#[derive(Debug)]
pub struct Probe {
    /// To be run on an input of the size that it declares.
    pub model: ModelProto,
    /// Tensor and the output that holds its shape.
    shapes: Vec<(String, String)>,
    /// Tensors that are outputs themselves.
    values: Vec<String>,
}

/// Conditions of `If` nodes that do not depend on the picture: to be asked for first.
pub fn open_conditions(graph: &GraphProto, input: &str) -> Vec<String> {
    let on = Dependence::of(graph, input);
    let conditions = graph.node.iter().filter(|one| one.op_type() == "If").filter_map(|one| one.arg(0));
    conditions.filter(|name| !on.numbers.contains(*name)).map(str::to_owned).collect()
}

/// A probe of the tensors `values` only.
pub fn probe_values(model: &ModelProto, values: Vec<String>) -> Probe {
    let mut model = model.clone();
    if let Some(graph) = &mut model.graph {
        graph.output = values.iter().map(|name| bare(name)).collect();
        let constants: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        // A constant cannot be an output as it is.
        let copied: Vec<String> =
            values.iter().filter(|name| constants.contains(name.as_str())).cloned().collect();
        for name in copied {
            let copy = rewrite::fresh(graph, &format!("{name}_copy"));
            graph.node.push(node("Identity", &[&name], &copy, Vec::new()));
            for output in graph.output.iter_mut().filter(|output| output.name() == name) {
                *output = bare(&copy);
            }
        }
        let wanted: Vec<String> = graph.output.iter().map(|output| output.name().to_owned()).collect();
        rewrite::keep_only(graph, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    }
    Probe { model, shapes: Vec::new(), values }
}

/// A probe of all shapes, and of the values at the border between what depends on the picture `input`
/// and what does not.
pub fn probe(model: &ModelProto, input: &str) -> Probe {
    let mut model = model.clone();
    let (mut shapes, mut values) = (Vec::new(), Vec::new());
    if let Some(graph) = &mut model.graph {
        let mark = rewrite::mark(graph, "farout_shape_");
        let on = Dependence::of(graph, input);
        let made: HashSet<&str> = graph.node.iter().flat_map(|one| &one.output).map(String::as_str).collect();
        let staying: HashSet<&str> =
            graph.node.iter().filter(|one| stays(one)).map(|one| one.out(0)).collect();
        let mut seen = HashSet::new();
        let mut asking = Vec::new();
        for one in &graph.node {
            let kept = stays(one) || one.output.iter().any(|name| on.numbers.contains(name));
            if !kept {
                continue;
            }
            for name in one.reads() {
                let border = made.contains(name) && !on.numbers.contains(name) && !staying.contains(name);
                if border && seen.insert(name) {
                    values.push(name.to_owned());
                }
            }
            if SEQUENCES.contains(&one.op_type()) {
                continue;
            }
            for name in one.output.iter().filter(|name| !name.is_empty()) {
                let output = format!("{mark}{}", shapes.len());
                asking.push(node("Shape", &[name], &output, Vec::new()));
                shapes.push((name.clone(), output));
            }
        }
        let output = format!("{mark}{}", shapes.len());
        asking.push(node("Shape", &[input], &output, Vec::new()));
        shapes.push((input.to_owned(), output));
        graph.node.extend(asking);
        graph.output = values
            .iter()
            .map(|name| bare(name))
            .chain(shapes.iter().map(|(_, output)| bare(output)))
            .collect();
        graph.value_info.clear();
    }
    Probe { model, shapes, values }
}

/// An output whose type the runtime finds out.
fn bare(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.to_owned()), ..Default::default() }
}

impl Probe {
    /// The shapes and values in what a run gave, in the order of the outputs.
    ///
    /// # Errors
    /// If outputs are missing.
    pub fn read(&self, outputs: Vec<TensorProto>) -> Result<(Shapes, HashMap<String, TensorProto>), String> {
        if outputs.len() != self.values.len() + self.shapes.len() {
            return Err("the run gave other outputs than were asked for".to_owned());
        }
        let mut outputs = outputs.into_iter();
        let mut values = HashMap::new();
        for (name, mut value) in self.values.iter().zip(outputs.by_ref()) {
            // What could not be read stays computed in the graph.
            if value.data_type.is_none() {
                continue;
            }
            value.name = Some(name.clone());
            values.insert(name.clone(), value);
        }
        let mut shapes = Shapes::new();
        for ((name, _), shape) in self.shapes.iter().zip(outputs) {
            let dims = shape.whole_numbers().unwrap_or_default();
            shapes.insert(name.clone(), dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect());
        }
        Ok((shapes, values))
    }
}

/// A graph for one input size: nothing in it but nodes that depend on the picture, and constants.
#[derive(Debug)]
pub struct Traced {
    /// The model with the folded graph; its outputs are those of the file.
    pub model: ModelProto,
    /// Name of the image input, float32 `[1, 3, height, width]`.
    pub input: String,
    /// Its size.
    pub size: InputSize,
    /// The shape of every tensor that is no constant.
    pub shapes: Shapes,
    /// Tensors of the file that were mere copies, each with the one that it was a copy of.
    pub copies: HashMap<String, String>,
}

impl Traced {
    /// Replaces everything in `model` that does not depend on the picture by its value.
    pub fn fold(
        mut model: ModelProto,
        input: &str,
        size: InputSize,
        mut shapes: Shapes,
        values: HashMap<String, TensorProto>,
    ) -> Traced {
        let graph = model.graph.get_or_insert_default();
        let on = Dependence::of(graph, input);
        // Backwards: what depends on the picture, and what that reads without its value being known.
        let mut wanted: HashSet<String> = HashSet::new();
        let mut kept = Vec::new();
        for one in std::mem::take(&mut graph.node).into_iter().rev() {
            let is = |set: &HashSet<String>| one.output.iter().any(|name| set.contains(name));
            if stays(&one) || is(&on.numbers) || is(&wanted) {
                wanted.extend(
                    one.reads().into_iter().filter(|name| !values.contains_key(*name)).map(str::to_owned),
                );
                kept.push(one);
            }
        }
        kept.reverse();
        graph.node = kept;
        let kept: HashSet<String> = graph.node.iter().flat_map(|one| one.output.iter().cloned()).collect();
        let mut values: Vec<(String, TensorProto)> =
            values.into_iter().filter(|(name, _)| !kept.contains(name)).collect();
        // The same model gives the same bytes.
        values.sort_by(|a, b| a.0.cmp(&b.0));
        graph.initializer.extend(values.into_iter().map(|(_, value)| value));
        graph.output.retain(|output| kept.contains(output.name()) || output.name() == input);
        let outputs: Vec<String> = graph.output.iter().map(|output| output.name().to_owned()).collect();
        let all: Vec<&str> = kept.iter().chain(&outputs).map(String::as_str).collect();
        let outputs = graph.output.clone();
        rewrite::keep_only(graph, &all);
        graph.output = outputs;
        graph.value_info.clear();
        let copies = rewrite::drop_copies(graph);
        let constants: HashSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        shapes.retain(|name, _| !constants.contains(name.as_str()) && !copies.contains_key(name));
        Traced { model, input: input.to_owned(), size, shapes, copies }
    }

    /// The name by which the tensor `name` of the file is known here.
    pub fn known_as<'n>(&'n self, name: &'n str) -> &'n str {
        self.copies.get(name).map_or(name, String::as_str)
    }

    /// The folded graph.
    pub fn graph(&self) -> &GraphProto {
        static EMPTY: std::sync::OnceLock<GraphProto> = std::sync::OnceLock::new();
        self.model.graph.as_ref().unwrap_or_else(|| EMPTY.get_or_init(GraphProto::default))
    }
}
