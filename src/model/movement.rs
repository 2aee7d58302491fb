//! Operators that move elements about without changing them, done to labels.

use super::array::Array;
use super::onnx::NodeProto;
use super::web::Web;

/// The label of elements that come from nowhere: padding, constants.
pub const NOBODY: i32 = -1;

/// An axis counted from the front.
pub fn axis(value: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    usize::try_from(if value < 0 { value + rank } else { value }).ok().filter(|&axis| (axis as i64) < rank)
}

/// What happens to the labels of a node's inputs if it only moves elements: the labels of each
/// output. `None` for other operators, and for what cannot be followed. `label` gives what is known of
/// an input; other inputs count as [`NOBODY`].
pub fn apply(web: &Web, one: &NodeProto, label: &dyn Fn(&str) -> Option<Array>) -> Option<Vec<Array>> {
    let out = web.shape(one.out(0))?;
    let data = || label(one.arg(0)?);
    let numbers = |n: usize| web.numbers(one.arg(n)?);
    let whole = match one.op_type() {
        "Identity" | "Cast" | "Dropout" | "CastLike" => data()?,
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => data()?.reshape(out)?,
        "Transpose" => {
            let data = data()?;
            let rank = data.dims.len();
            let perm: Option<Vec<usize>> = one.ints("perm").iter().map(|&p| axis(p, rank)).collect();
            let perm = perm.filter(|perm| !perm.is_empty()).unwrap_or_else(|| (0..rank).rev().collect());
            if perm.len() != rank {
                return None;
            }
            data.transpose(&perm)
        }
        "Expand" => data()?.broadcast(out)?,
        "Tile" => {
            let data = data()?;
            let parts: Vec<usize> = out.iter().zip(&data.dims).map(|(o, d)| o / (*d).max(1)).collect();
            let mut tiled = data;
            for (along, &times) in parts.iter().enumerate().filter(|(_, times)| **times > 1) {
                let copies = vec![tiled; times];
                tiled = Array::concat(along, &copies)?;
            }
            tiled
        }
        "Slice" => slice(one, data()?, out, &numbers)?,
        "Split" => return split(web, one, data()?),
        "Gather" => {
            let (data, picks) = (data()?, numbers(1)?);
            let along = axis(one.int("axis").unwrap_or(0), data.dims.len())?;
            let len = data.dims[along] as i64;
            let picks: Option<Vec<usize>> = picks
                .iter()
                .map(|&p| usize::try_from(if p < 0 { p + len } else { p }).ok().filter(|&p| (p as i64) < len))
                .collect();
            data.pick(along, &picks?).reshape(out)?
        }
        "Concat" => {
            let along = axis(one.int("axis")?, out.len())?;
            let parts: Option<Vec<Array>> = one
                .input
                .iter()
                .map(|name| label(name).or_else(|| Some(Array::constant(&web.dims(name)?, NOBODY))))
                .collect();
            Array::concat(along, &parts?)?
        }
        "Pad" => pad(one, data()?, out, &numbers)?,
        "DepthToSpace" | "SpaceToDepth" => blocks(one, data()?, out)?,
        _ => return None,
    };
    (whole.dims == out).then(|| vec![whole.collapsed()])
}

type Numbers<'a> = dyn Fn(usize) -> Option<Vec<i64>> + 'a;

fn slice(one: &NodeProto, data: Array, out: &[usize], numbers: &Numbers) -> Option<Array> {
    let attribute = |name: &str| Some(one.ints(name).to_vec()).filter(|values| !values.is_empty());
    let starts = numbers(1).or_else(|| attribute("starts"))?;
    let axes = numbers(3).or_else(|| attribute("axes")).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = numbers(4).unwrap_or_else(|| vec![1; starts.len()]);
    let mut data = data;
    for ((start, along), step) in starts.iter().zip(axes).zip(steps) {
        let along = axis(along, data.dims.len())?;
        let len = data.dims[along] as i64;
        let start = if *start < 0 { start.saturating_add(len) } else { *start };
        let start = if step < 0 { start.clamp(0, (len - 1).max(0)) } else { start.clamp(0, len) };
        data = data.slice(along, start, step, *out.get(along)?);
    }
    Some(data)
}

fn split(web: &Web, one: &NodeProto, data: Array) -> Option<Vec<Array>> {
    let along = axis(one.int("axis").unwrap_or(0), data.dims.len())?;
    let mut start = 0;
    let mut parts = Vec::new();
    for name in &one.output {
        // An output that nobody wants has no name and no shape, but the last.
        let count = web.shape(name)?.get(along).copied()?;
        parts.push(data.slice(along, start, 1, count).collapsed());
        start += count as i64;
    }
    Some(parts)
}

fn pad(one: &NodeProto, data: Array, out: &[usize], numbers: &Numbers) -> Option<Array> {
    let rank = data.dims.len();
    let pads = numbers(1).or_else(|| Some(one.ints("pads").to_vec()))?;
    let axes: Vec<usize> = match numbers(3) {
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Option<_>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return None;
    }
    let mut data = data;
    for (n, &along) in axes.iter().enumerate() {
        let (before, after) = (pads[n], pads[n + axes.len()]);
        let edge = |many: i64, data: &Array| {
            let mut dims = data.dims.clone();
            dims[along] = usize::try_from(many).unwrap_or(0);
            Array::constant(&dims, NOBODY)
        };
        // Negative padding cuts.
        let (cut, keep) = (before.min(0).abs(), data.dims[along] as i64 + before.min(0) + after.min(0));
        data = data.slice(along, cut, 1, usize::try_from(keep).ok()?);
        let (first, last) = (edge(before.max(0), &data), edge(after.max(0), &data));
        let parts: Vec<Array> = [first, data, last].into_iter().filter(|part| part.dims[along] > 0).collect();
        data = Array::concat(along, &parts)?;
    }
    (data.dims == out).then_some(data)
}

fn blocks(one: &NodeProto, data: Array, out: &[usize]) -> Option<Array> {
    let side = usize::try_from(one.int("blocksize")?).ok().filter(|&side| side > 0)?;
    let &[n, c, h, w] = &data.dims[..] else {
        return None;
    };
    let moved = if one.op_type() == "SpaceToDepth" {
        data.reshape(&[n, c, h / side, side, w / side, side])?.transpose(&[0, 3, 5, 1, 2, 4])
    } else if one.text("mode").as_deref() == Some("CRD") {
        data.reshape(&[n, c / (side * side), side, side, h, w])?.transpose(&[0, 1, 4, 2, 5, 3])
    } else {
        data.reshape(&[n, side, side, c / (side * side), h, w])?.transpose(&[0, 3, 4, 1, 5, 2])
    };
    moved.reshape(out)
}
