//! Attention blocks by their structure: a product of two tensors that both come from the picture, a
//! softmax over it, and a product of that with a third.

use super::onnx::NodeProto;
use super::unfuse;
use super::web::Web;

/// One factor of an attention product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// The tensor.
    pub tensor: String,
    /// The axis that numbers its tokens.
    pub token_axis: usize,
    /// The axis of a head's channels (of all heads' in fused operators).
    pub channel_axis: usize,
}

/// Where queries, keys and values stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Factors {
    /// Each as a tensor.
    Apart {
        /// Rows that ask.
        query: Operand,
        /// Rows that are compared.
        key: Operand,
        /// Rows that are mixed.
        value: Operand,
    },
    /// Inside a fused operator that projects by itself, number of the node.
    Inside(usize),
}

/// One attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    /// The node of the softmax, or of the fused operator.
    pub node: usize,
    /// Its inputs.
    pub factors: Factors,
    /// The mixed values.
    pub output: String,
}

/// Between the product and the softmax.
const BEFORE: [&str; 20] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Where",
    "Cast",
    "Reshape",
    "Identity",
    "Unsqueeze",
    "Squeeze",
    "Clip",
    "Tanh",
    "Min",
    "Max",
    "Expand",
    "Neg",
    "Dropout",
    "Flatten",
    "QuantizeLinear",
    "DequantizeLinear",
];
/// Between the softmax and the values.
const AFTER: [&str; 15] = [
    "Cast",
    "Dropout",
    "Identity",
    "Reshape",
    "Where",
    "IsNaN",
    "Mul",
    "Transpose",
    "Expand",
    "Unsqueeze",
    "Squeeze",
    "Flatten",
    "Slice",
    "QuantizeLinear",
    "DequantizeLinear",
];
/// More nodes than these lie between no product and its softmax.
const FARTHEST: usize = 24;

/// All attention blocks, in the order of the graph.
pub fn find(web: &Web) -> Vec<Attention> {
    let blocks = web.nodes.iter().enumerate().filter_map(|(n, one)| match one.op_type() {
        "Softmax" | "BiasSoftmax" => around_softmax(web, n),
        "MultiHeadAttention" | "Attention" => fused(web, n),
        _ => None,
    });
    blocks.collect()
}

/// Operators that do all of an attention and could not be taken apart, in words; `found` are the nodes that were.
pub fn not_understood(web: &Web, found: &[usize]) -> Vec<String> {
    let strange = web.nodes.iter().enumerate().filter(|(n, one)| {
        one.op_type().contains("Attention") && !found.contains(n) && web.shape(one.out(0)).is_some()
    });
    strange
        .map(|(_, one)| format!("{}: this form of {} is not understood", one.out(0), one.op_type()))
        .collect()
}

fn fused(web: &Web, n: usize) -> Option<Attention> {
    let one = &web.nodes[n];
    let output = one.out(0).to_owned();
    if one.domain() == "com.microsoft" && one.op_type() == "Attention" {
        return Some(Attention { node: n, factors: Factors::Inside(n), output });
    }
    let operand = |k: usize| {
        let laid_open = unfuse::apart(&output, ["query", "key", "value"][k]);
        let given = one.arg(k).map(str::to_owned);
        let tensor = if web.shape(&laid_open).is_some() { laid_open } else { given? };
        let rank = web.shape(&tensor)?.len();
        let fits = rank == 3 || rank == 4;
        fits.then(|| Operand { tensor, token_axis: rank - 2, channel_axis: rank - 1 })
    };
    let (query, key, value) = (operand(0)?, operand(1)?, operand(2)?);
    Some(Attention { node: n, factors: Factors::Apart { query, key, value }, output })
}

fn around_softmax(web: &Web, n: usize) -> Option<Attention> {
    let softmax = &web.nodes[n];
    let rank = web.shape(softmax.out(0))?.len();
    let axis = super::movement::axis(softmax.int("axis").unwrap_or(-1), rank)?;
    // Over the keys, which are the columns; a product the other way round has them as rows.
    let upright = if axis + 1 == rank {
        true
    } else if axis + 2 == rank {
        false
    } else {
        return None;
    };
    let product = before(web, softmax)?;
    let (rows, columns) = factors(web, product)?;
    let (query, key) = if upright { (rows, columns) } else { (columns, rows) };
    let (value, output) = after(web, softmax.out(0))?;
    Some(Attention { node: n, factors: Factors::Apart { query, key, value }, output })
}

fn is_product(web: &Web, one: &NodeProto) -> bool {
    matches!(one.op_type(), "MatMul" | "FusedMatMul" | "Einsum") && web.changing(one).len() == 2
}

/// The product that the softmax is taken of.
fn before<'a>(web: &Web<'a>, softmax: &'a NodeProto) -> Option<&'a NodeProto> {
    let mut open = vec![softmax.arg(0)?];
    for _ in 0..FARTHEST {
        let one = web.making(open.pop()?)?;
        if is_product(web, one) {
            return Some(one);
        }
        if BEFORE.contains(&one.op_type()) {
            open.extend(web.changing(one).into_iter().rev());
        }
        // The first input is followed first.
    }
    None
}

/// The two factors, that of the rows and that of the columns of the product.
fn factors(web: &Web, one: &NodeProto) -> Option<(Operand, Operand)> {
    let (left, right) = (one.arg(0)?, one.arg(1)?);
    let operand = |tensor: &str, token_axis, channel_axis| Operand {
        tensor: tensor.to_owned(),
        token_axis,
        channel_axis,
    };
    if one.op_type() == "Einsum" {
        let equation: String = one.text("equation")?.chars().filter(|c| !c.is_whitespace()).collect();
        let (inputs, output) = equation.split_once("->")?;
        let (a, b) = inputs.split_once(',')?;
        let at = |term: &str, wanted: char| term.chars().position(|c| c == wanted);
        let summed = a.chars().find(|&c| b.contains(c) && !output.contains(c))?;
        let row = output.chars().nth_back(1)?;
        let column = output.chars().last()?;
        // Whichever factor has the rows.
        let of = |tensor, term: &str, tokens| Some(operand(tensor, at(term, tokens)?, at(term, summed)?));
        return match a.contains(row) && b.contains(column) {
            true => Some((of(left, a, row)?, of(right, b, column)?)),
            false => Some((of(right, b, row)?, of(left, a, column)?)),
        };
    }
    let rank = |tensor: &str| web.shape(tensor).map(<[usize]>::len).filter(|&rank| rank >= 2);
    let turned = |key: &str| one.int(key).unwrap_or(0) != 0;
    let (a, b) = (rank(left)?, rank(right)?);
    let rows = if turned("transA") { operand(left, a - 1, a - 2) } else { operand(left, a - 2, a - 1) };
    let columns = if turned("transB") { operand(right, b - 2, b - 1) } else { operand(right, b - 1, b - 2) };
    Some((rows, columns))
}

/// The values that the softmax mixes, and the result.
fn after(web: &Web, softmax: &str) -> Option<(Operand, String)> {
    let mut open = std::collections::VecDeque::from([softmax]);
    let mut seen = 0;
    while let Some(name) = open.pop_front() {
        for &n in web.readers(name) {
            let one = &web.nodes[n];
            if is_product(web, one) {
                return Some((value(web, one, name)?, one.out(0).to_owned()));
            }
            seen += 1;
            if AFTER.contains(&one.op_type()) && seen < FARTHEST {
                open.push_back(one.out(0));
            }
        }
    }
    None
}

fn value(web: &Web, one: &NodeProto, weights: &str) -> Option<Operand> {
    let other = one.input.iter().find(|name| *name != weights)?;
    let rank = web.shape(other)?.len();
    if one.op_type() == "Einsum" {
        let (rows, columns) = (one.arg(0)?, one.arg(1)?);
        let equation: String = one.text("equation")?.chars().filter(|c| !c.is_whitespace()).collect();
        let (inputs, output) = equation.split_once("->")?;
        let (a, b) = inputs.split_once(',')?;
        let (term, weight_term) = if other == rows { (a, b) } else { (b, a) };
        debug_assert!(other == rows || other == columns);
        let summed = term.chars().position(|c| weight_term.contains(c) && !output.contains(c))?;
        let channel = term.chars().position(|c| !weight_term.contains(c) && output.contains(c))?;
        return Some(Operand { tensor: other.clone(), token_axis: summed, channel_axis: channel });
    }
    let second = one.arg(1) == Some(other.as_str());
    let turned = |key: &str| one.int(key).unwrap_or(0) != 0;
    let upright = if second { !turned("transB") } else { turned("transA") };
    let (row, column) = (rank.checked_sub(2)?, rank - 1);
    let (token_axis, channel_axis) = if upright { (row, column) } else { (column, row) };
    Some(Operand { tensor: other.clone(), token_axis, channel_axis })
}
