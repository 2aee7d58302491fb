//! The residual stream of a transformer: what a block puts out, and the norms over it.

use std::collections::{HashMap, HashSet};

use super::attention::Attention;
use super::onnx::NodeProto;
use super::web::Web;

/// More nodes than these lie between no attention and the sum it goes into.
const FARTHEST: usize = 160;

/// Normalised tensors by what they normalise: operators of their own, and the older chain
/// mean, difference, square, mean, root, quotient, gain, offset.
pub fn norms<'a>(web: &Web<'a>) -> HashMap<&'a str, Vec<&'a str>> {
    let mut norms: HashMap<&str, Vec<&str>> = HashMap::new();
    for one in web.nodes {
        let found = match one.op_type() {
            "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => {
                one.arg(0).zip(one.output.first().map(String::as_str))
            }
            // Sum and norm in one.
            "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
                Some(one.out(3)).filter(|sum| !sum.is_empty()).zip(one.output.first().map(String::as_str))
            }
            "Div" => written_out(web, one),
            _ => None,
        };
        if let Some((from, to)) = found {
            norms.entry(from).or_default().push(to);
        }
    }
    norms
}

/// `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps)`, with gain and offset where they follow.
fn written_out<'a>(web: &Web<'a>, quotient: &'a NodeProto) -> Option<(&'a str, &'a str)> {
    let difference = web.making(quotient.arg(0)?).filter(|one| one.op_type() == "Sub")?;
    let root = web.making(quotient.arg(1)?).filter(|one| one.op_type() == "Sqrt")?;
    let (from, mean) = (difference.arg(0)?, difference.arg(1)?);
    let mean = web.making(mean).filter(|one| one.op_type() == "ReduceMean")?;
    let padded = web.making(root.arg(0)?).filter(|one| one.op_type() == "Add")?;
    let variance = web.making(web.changing(padded).first()?)?;
    if mean.arg(0) != Some(from) || variance.op_type() != "ReduceMean" {
        return None;
    }
    let mut to = quotient.out(0);
    for op in ["Mul", "Add"] {
        if let &[n] = web.readers(to)
            && web.nodes[n].op_type() == op
            && web.changing(&web.nodes[n]).len() == 1
        {
            to = web.nodes[n].out(0);
        }
    }
    Some((from, to))
}

/// True if `one` only changes the shape of what it reads, or rounds it.
fn reshapes(one: &NodeProto) -> bool {
    matches!(
        one.op_type(),
        "Identity"
            | "Reshape"
            | "Transpose"
            | "Squeeze"
            | "Unsqueeze"
            | "Flatten"
            | "Cast"
            | "Dropout"
            | "QuantizeLinear"
            | "DequantizeLinear"
    )
}

/// What a block with attention puts out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The sum in which attention joins the stream.
    pub joined: String,
    /// The stream before it.
    pub before: String,
    /// The block's output, behind its second half if it has one.
    pub output: String,
}

/// The streams of the blocks; `None` where attention joins none.
pub fn find(web: &Web, blocks: &[Attention], norms: &HashMap<&str, Vec<&str>>) -> Vec<Option<Stream>> {
    let ends = blocks.iter().skip(1).map(|next| next.node).chain([web.nodes.len()]);
    blocks.iter().zip(ends).map(|(block, end)| of_block(web, block, end, norms)).collect()
}

/// The two addends of a sum that both change with the picture.
fn addends<'n>(web: &Web, one: &'n NodeProto) -> Option<(&'n str, &'n str, &'n str)> {
    let sum = match one.op_type() {
        "Add" | "Sum" if one.input.len() == 2 => one.out(0),
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            if one.out(3).is_empty() {
                one.out(0)
            } else {
                one.out(3)
            }
        }
        _ => return None,
    };
    let (a, b) = (one.arg(0)?, one.arg(1)?);
    (!web.is_constant(a) && !web.is_constant(b)).then_some((a, b, sum))
}

fn of_block(web: &Web, block: &Attention, end: usize, norms: &HashMap<&str, Vec<&str>>) -> Option<Stream> {
    let start = web.maker(&block.output)?;
    let mut reached = HashSet::from([block.output.as_str()]);
    let (mut joined, mut before, mut at) = (None, None, start);
    for (n, one) in web.nodes.iter().enumerate().skip(start + 1).take(FARTHEST) {
        if !one.input.iter().any(|name| reached.contains(name.as_str())) {
            continue;
        }
        if let Some((a, b, sum)) = addends(web, one)
            && reached.contains(a) != reached.contains(b)
        {
            (joined, before, at) = (Some(sum), Some(if reached.contains(a) { b } else { a }), n);
            break;
        }
        reached.extend(one.output.iter().map(String::as_str));
    }
    let (joined, before) = (joined?, before?);
    let output = second_half(web, joined, at, end, norms);
    Some(Stream { joined: joined.to_owned(), before: before.to_owned(), output: output.to_owned() })
}

/// The sum behind the block's second half, or `joined` if the next block comes first.
fn second_half<'a>(
    web: &Web<'a>,
    joined: &'a str,
    at: usize,
    end: usize,
    norms: &HashMap<&'a str, Vec<&'a str>>,
) -> &'a str {
    // The stream itself under other shapes, normalised once (blocks that normalise behind the sum).
    let mut itself: HashSet<&str> = HashSet::from([joined]);
    let mut normed: HashSet<&str> = norms.get(joined).into_iter().flatten().copied().collect();
    let mut reached: HashSet<&str> = HashSet::from([joined]);
    for one in web.nodes.iter().take(end).skip(at + 1).take(FARTHEST) {
        if !one.input.iter().any(|name| reached.contains(name.as_str())) {
            continue;
        }
        if let Some((a, b, sum)) = addends(web, one) {
            for (skip, other) in [(a, b), (b, a)] {
                let known = itself.contains(skip) || normed.contains(skip);
                if known && reached.contains(other) && !itself.contains(other) {
                    return sum;
                }
            }
        }
        if reshapes(one) {
            if one.input.iter().any(|name| itself.contains(name.as_str())) {
                itself.extend(one.output.iter().map(String::as_str));
                for name in &one.output {
                    normed.extend(norms.get(name.as_str()).into_iter().flatten());
                }
            } else if one.input.iter().any(|name| normed.contains(name.as_str())) {
                normed.extend(one.output.iter().map(String::as_str));
            }
        }
        reached.extend(one.output.iter().map(String::as_str));
    }
    joined
}

/// The tensor that `name` is another shape of, as far back as that goes.
pub fn original<'a>(web: &Web<'a>, name: &'a str) -> &'a str {
    let mut name = name;
    while let Some(one) = web.making(name).filter(|one| reshapes(one))
        && let Some(from) = one.input.first()
    {
        name = from;
    }
    name
}
