//! From a factor of attention back to the linear layer that made it, and which of the layer's channels
//! it is: past splits into queries, keys and values, into heads and windows, past scaling, normalising
//! and rotation by position (RoPE). What is found is what the layer gave *before* the rotation: free of the
//! place in the picture, which is what a search for the nearest neighbour wants.

use std::collections::{BTreeSet, HashMap};

use super::array::Array;
use super::attention::Operand;
use super::movement;
use super::onnx::NodeProto;
use super::web::Web;

/// The tensor that a linear layer (bias included) made, and the part of it that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// The layer's output.
    pub tensor: String,
    /// Its channel axis.
    pub channel_axis: usize,
    /// The wanted channels, heads one after the other.
    pub channels: Vec<usize>,
    /// Number of heads.
    pub heads: usize,
    /// True if pairs of channels are turned into each other between here and the product, by their position.
    pub rotated: bool,
}

/// More nodes than these lie between no layer and its attention.
const FARTHEST: usize = 200;
/// Labels beyond this many elements are not followed.
const LARGEST: usize = 1 << 27;

/// Where a walk back ends.
struct Layer<'a> {
    tensor: &'a str,
    channel_axis: usize,
}

/// The layer that `operand` comes from.
///
/// # Errors
/// Why it is not found, or its channels not told apart.
pub fn find(web: &Web, operand: &Operand) -> Result<Projection, String> {
    // A bias that is added elsewhere than right behind the layer is part of the factor all the same.
    let last = web.making(&operand.tensor);
    if let Some(one) =
        last.filter(|one| one.op_type() == "Add" && web.changing(one).len() == 1 && !adds_bias(web, one))
    {
        return Err(format!("{} adds a constant behind its layer", one.out(0)));
    }
    let layer = layer(web, &operand.tensor)
        .ok_or_else(|| format!("no linear layer is found before {}", operand.tensor))?;
    let found = channels(web, &layer, operand);
    let (channels, heads, rotated) = found
        .ok_or_else(|| format!("the way from {} to {} cannot be followed", layer.tensor, operand.tensor))?;
    let tensor = layer.tensor.to_owned();
    Ok(Projection { tensor, channel_axis: layer.channel_axis, channels, heads, rotated })
}

fn is_linear(web: &Web, one: &NodeProto) -> bool {
    match one.op_type() {
        "MatMul" | "Gemm" | "FusedMatMul" | "MatMulNBits" | "DynamicQuantizeMatMul" => {
            web.changing(one).len() == 1
        }
        // The scale of what is multiplied changes, too.
        "MatMulIntegerToFloat" => one.arg(1).is_some_and(|weights| web.is_constant(weights)),
        "Mul" => scales_integers(web, one),
        _ => false,
    }
}

/// True if `one` makes floats of a product in integers, whose scale changes from picture to picture.
fn scales_integers(web: &Web, one: &NodeProto) -> bool {
    let product = |name: &String| {
        let cast = web.making(name).filter(|one| one.op_type() == "Cast")?;
        web.making(cast.arg(0)?).filter(|one| one.op_type() == "MatMulInteger")
    };
    one.input.iter().any(|name| product(name).is_some())
}

/// True if `one` adds the bias of the linear layer that made its other input.
fn adds_bias(web: &Web, one: &NodeProto) -> bool {
    if one.op_type() != "Add" {
        return false;
    }
    let [from] = web.changing(one)[..] else {
        return false;
    };
    let bias =
        one.input.iter().find(|name| *name != from).and_then(|name| web.dims(name)).unwrap_or_default();
    let made_by = web.making(web.before_rounding(from));
    let flat = bias.iter().rev().skip(1).all(|&dim| dim == 1);
    flat && made_by.is_some_and(|one| is_linear(web, one)) && web.shape(from) == web.shape(one.out(0))
}

fn layer<'a>(web: &Web<'a>, tensor: &str) -> Option<Layer<'a>> {
    let mut at = web.maker(tensor)?;
    for _ in 0..FARTHEST {
        let one = &web.nodes[at];
        let tensor = one.out(0);
        let rank = web.shape(tensor).or_else(|| web.shape(one.out(0)))?.len();
        if adds_bias(web, one) || is_linear(web, one) {
            return Some(Layer { tensor, channel_axis: rank.checked_sub(1)? });
        }
        if one.op_type() == "Conv" {
            return Some(Layer { tensor, channel_axis: 1 });
        }
        let next = web.changing(one).into_iter().next()?;
        at = web.maker(next)?;
    }
    None
}

/// The channels of `layer` in the order of `operand`'s heads, how many heads there are, and whether a rotation
/// lies between.
fn channels(web: &Web, layer: &Layer, operand: &Operand) -> Option<(Vec<usize>, usize, bool)> {
    let dims = web.shape(layer.tensor)?;
    let count = dims.iter().product::<usize>();
    if count == 0 || count > LARGEST {
        return None;
    }
    let first = follow(web, layer, operand, Side::First)?;
    let width = *first.dims.get(operand.channel_axis)?;
    // Batch axes (heads and windows), tokens, then the channels of one head.
    let mut perm: Vec<usize> = (0..first.dims.len())
        .filter(|&axis| axis != operand.channel_axis && axis != operand.token_axis)
        .collect();
    perm.extend([operand.token_axis, operand.channel_axis]);
    let mut labels = first.labels(&perm);
    let last = follow(web, layer, operand, Side::Last)?;
    let summed = first != last;
    if summed {
        own_order(&mut labels, &last.labels(&perm), width)?;
    }
    let (list, heads) = in_heads(dims, layer, &labels, width)?;
    Some((list, heads, summed || fused_rotation(web, layer, operand)))
}

/// A rotation makes each channel of a head of two of its channels: between them, `first` and `last` name all of
/// the head, which `first` gets in the order of the layer.
fn own_order(first: &mut [i32], last: &[i32], width: usize) -> Option<()> {
    let width = width.max(1);
    for (head, other) in first.chunks_exact_mut(width).zip(last.chunks_exact(width)) {
        if head == other {
            continue;
        }
        let all: BTreeSet<i32> = head.iter().chain(other).copied().collect();
        if all.len() != width {
            return None;
        }
        head.iter_mut().zip(all).for_each(|(label, own)| *label = own);
    }
    Some(())
}

/// True if an operator that rotates by position lies between the layer and the factor.
fn fused_rotation(web: &Web, layer: &Layer, operand: &Operand) -> bool {
    let (needed, start) = (web.needed(&[&operand.tensor]), web.maker(layer.tensor).unwrap_or(0));
    let mut between = web.nodes.iter().zip(needed).skip(start).filter(|(_, needed)| *needed);
    between.any(|(one, _)| one.op_type() == "RotaryEmbedding")
}

/// The channels in `labels` of a factor, head by head, each `width` wide, and how many heads there are.
fn in_heads(dims: &[usize], layer: &Layer, labels: &[i32], width: usize) -> Option<(Vec<usize>, usize)> {
    let inner: usize = dims[layer.channel_axis + 1..].iter().product();
    let split = |label: i32| {
        let label = usize::try_from(label).ok()?;
        let channel = label / inner % dims[layer.channel_axis];
        Some((label / (inner * dims[layer.channel_axis]) * inner + label % inner, channel))
    };
    // The first row met gives the list; all others must agree.
    let mut list: Vec<usize> = Vec::new();
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let (reference, _) = labels.iter().find_map(|&label| split(label))?;
    for (row, channel) in labels.iter().filter_map(|&label| split(label)) {
        if row == reference {
            list.push(channel);
        }
    }
    // Windows that overlap show a row several times over.
    let once =
        (1..=list.len()).find(|&n| list.len().is_multiple_of(n) && list[n..] == list[..list.len() - n]);
    let once = once.unwrap_or(list.len());
    list.truncate(once);
    for (row, channel) in labels.iter().filter_map(|&label| split(label)) {
        let at = seen.entry(row).or_insert(0);
        if list.get(*at % once) != Some(&channel) {
            return None;
        }
        *at += 1;
    }
    let heads = list.len().checked_div(width)?;
    (heads >= 1 && heads * width == list.len()).then_some((list, heads))
}

/// Which addend a sum of several elements of the layer is taken for.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// That which comes first in the layer.
    First,
    /// That which comes last in it.
    Last,
}

/// The labels of the layer's elements as they arrive in `operand`.
fn follow(web: &Web, layer: &Layer, operand: &Operand, side: Side) -> Option<Array> {
    let (first, last) = (web.maker(layer.tensor)?, web.maker(&operand.tensor)?);
    let dims = web.shape(layer.tensor)?;
    let mut known: HashMap<&str, Array> =
        HashMap::from([(layer.tensor, Array::counting(dims, vec![true; dims.len()]))]);
    let needed = web.needed(&[&operand.tensor]);
    for (n, one) in web.nodes.iter().enumerate().take(last + 1).skip(first + 1) {
        if !needed[n] || !one.input.iter().any(|name| known.contains_key(name.as_str())) {
            continue;
        }
        let label = |name: &str| known.get(name).cloned();
        let moved = movement::apply(web, one, &label);
        let Some(out) = web.shape(one.out(0)) else { continue };
        let arrays = match moved {
            Some(arrays) => arrays,
            // Scaling, normalising: each element goes on as itself. Rotating: as one of two.
            None => {
                let all: Vec<usize> = (0..out.len()).collect();
                let same = one.input.iter().filter_map(|name| known.get(name.as_str()));
                let order = |a: &&Array, b: &&Array| match side {
                    Side::First => a.labels(&all).cmp(&b.labels(&all)),
                    Side::Last => b.labels(&all).cmp(&a.labels(&all)),
                };
                match same.filter(|array| array.dims == out).min_by(order) {
                    Some(array) => vec![array.clone()],
                    None => continue,
                }
            }
        };
        for (name, array) in one.output.iter().zip(arrays) {
            known.insert(name, array);
        }
    }
    known.remove(operand.tensor.as_str())
}
