//! Which cell of which grid each element of a tensor belongs to, followed through the graph from the
//! picture: convolutions start a new grid, everything between them carries the cells along, however
//! tokens are reshaped, windowed, shifted, or joined by class tokens.

use std::collections::HashMap;
use std::rc::Rc;

use super::array::Array;
use super::movement::{self, NOBODY};
use super::onnx::NodeProto;
use super::web::Web;
use crate::grid::Grid;

/// The cells of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    /// The grid.
    pub grid: Grid,
    /// The number of each element's cell, row by row, or [`NOBODY`] for class tokens and padding.
    pub array: Array,
}

/// Operators that place elements by other data.
const SHUFFLES: [&str; 6] =
    ["TopK", "GridSample", "GatherElements", "GatherND", "ScatterElements", "ReverseSequence"];

/// The cells of every tensor of which they are known.
pub type CellMap = HashMap<String, Rc<Cells>>;

/// Operators that compute each cell from its neighbourhood and may change the grid.
const SPATIAL: [&str; 12] = [
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "LpPool",
    "Resize",
    "Upsample",
    "ConvInteger",
    "QLinearConv",
    "FusedConv",
    "NhwcFusedConv",
    "DeformConv",
];

/// Follows the cells of the picture through the graph.
pub fn follow(web: &Web) -> CellMap {
    let mut map = CellMap::new();
    if let Some(&[1, c, rows, cols]) = web.shape(web.input) {
        let array = Array::counting(&[1, c, rows, cols], vec![false, false, true, true]);
        map.insert(web.input.to_owned(), Rc::new(Cells { grid: Grid { rows, cols }, array }));
    }
    for one in web.nodes {
        for (name, cells) in step(web, one, &map) {
            if web.shape(&name) == Some(&cells.array.dims[..]) {
                map.insert(name, cells);
            }
        }
    }
    map
}

type Found = Vec<(String, Rc<Cells>)>;

fn step(web: &Web, one: &NodeProto, map: &CellMap) -> Found {
    let Some(out) = web.shape(one.out(0)) else {
        return Found::new();
    };
    let first = one.arg(0).and_then(|name| map.get(name));
    let op = one.op_type();
    let single = |cells: Option<Cells>| {
        cells.map(|cells| vec![(one.out(0).to_owned(), Rc::new(cells))]).unwrap_or_default()
    };
    if SPATIAL.contains(&op) {
        return single(first.and_then(|cells| spatial(one, cells, out)));
    }
    match op {
        "MatMul"
        | "FusedMatMul"
        | "Gemm"
        | "MatMulInteger"
        | "MatMulNBits"
        | "DynamicQuantizeMatMul"
        | "MatMulIntegerToFloat" => single(product(web, one, map, out)),
        "Einsum" => single(einsum(one, map, out)),
        "Attention" | "MultiHeadAttention" => single(first.and_then(|cells| widened(cells, out))),
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            let kept = first.filter(|cells| cells.array.dims == out);
            let outputs = [0, 3].map(|n| one.out(n)).into_iter().filter(|name| !name.is_empty());
            kept.map(|cells| outputs.map(|name| (name.to_owned(), Rc::clone(cells))).collect())
                .unwrap_or_default()
        }
        _ if op.starts_with("Reduce") || matches!(op, "ArgMax" | "ArgMin") => {
            single(first.and_then(|cells| reduced(web, one, cells, out)))
        }
        _ => match moved(web, one, map) {
            Some(found) => found,
            None if is_movement(op) || SHUFFLES.contains(&op) => Found::new(),
            None => elementwise(one, map, out),
        },
    }
}

fn is_movement(op: &str) -> bool {
    [
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Expand",
        "Tile",
        "Slice",
        "Split",
        "Gather",
        "Concat",
        "Pad",
        "DepthToSpace",
        "SpaceToDepth",
    ]
    .contains(&op)
}

/// A convolution or the like over an image-shaped tensor starts the grid of its output.
fn spatial(one: &NodeProto, cells: &Cells, out: &[usize]) -> Option<Cells> {
    let &[1, _, rows, cols] = out else {
        return None;
    };
    let pointwise = one.op_type() == "Conv"
        && one.ints("kernel_shape").iter().all(|&side| side == 1)
        && one.ints("strides").iter().all(|&step| step == 1);
    if pointwise && let Some(array) = channels_merged(cells, 1, out) {
        return Some(array);
    }
    // Only what lies row by row as in the picture can be convolved into a picture.
    let array = &cells.array;
    let lies = array.dims.len() == 4 && !array.varies[0] && !array.varies[1];
    let one_row = array.dims.get(2) == Some(&1) || array.dims.get(3) == Some(&1);
    let falling = array.data.iter().filter(|&&cell| cell != NOBODY).is_sorted();
    (lies && falling && (!one_row || cells.grid.rows == 1 || cells.grid.cols == 1)).then(|| Cells {
        grid: Grid { rows, cols },
        array: Array::counting(out, vec![false, false, true, true]).collapsed(),
    })
}

/// Labels whose `axis` is mixed into new channels, which makes one cell of all that it held.
fn channels_merged(cells: &Cells, axis: usize, out: &[usize]) -> Option<Cells> {
    let array = &cells.array;
    let len = *out.get(axis)?;
    if array.dims.len() != out.len() {
        return None;
    }
    if !array.varies[axis] {
        let array = array.stretched(axis, len)?;
        return (array.dims == out).then_some(Cells { grid: cells.grid, array });
    }
    // Patches as channels: each row of channels holds one block of cells.
    let rank = array.dims.len();
    let mut perm: Vec<usize> = (0..rank).filter(|&a| a != axis).collect();
    perm.push(axis);
    let labels = array.labels(&perm);
    let Grid { rows, cols } = cells.grid;
    let mut block: Option<(usize, usize)> = None;
    let mut merged = Vec::new();
    for row in labels.chunks_exact(array.dims[axis].max(1)) {
        let valid = row.iter().filter_map(|&cell| usize::try_from(cell).ok());
        let (mut top, mut left, mut bottom, mut right) = (usize::MAX, usize::MAX, 0, 0);
        for cell in valid {
            let (y, x) = (cell / cols, cell % cols);
            (top, left, bottom, right) = (top.min(y), left.min(x), bottom.max(y), right.max(x));
        }
        if top == usize::MAX {
            merged.push(NOBODY);
            continue;
        }
        let size = (bottom - top + 1, right - left + 1);
        let (h, w) = *block.get_or_insert(size);
        if size != (h, w) || top % h != 0 || left % w != 0 {
            return None;
        }
        merged.push(i32::try_from((top / h) * cols.div_ceil(w) + left / w).ok()?);
    }
    let (h, w) = block?;
    let mut dims: Vec<usize> = perm.iter().map(|&a| array.dims[a]).collect();
    dims.pop();
    let whole = Array { varies: vec![true; dims.len()], dims: dims.clone(), data: merged }.collapsed();
    dims.insert(axis, 1);
    let array = whole.reshape(&dims)?.stretched(axis, len)?;
    let grid = Grid { rows: rows.div_ceil(h), cols: cols.div_ceil(w) };
    (array.dims == out).then_some(Cells { grid, array })
}

/// A matrix product: rows keep their cells, channels are mixed.
fn product(web: &Web, one: &NodeProto, map: &CellMap, out: &[usize]) -> Option<Cells> {
    let turned = |key: &str| one.int(key).unwrap_or(0) != 0;
    let (left, right) = (one.arg(0)?, one.arg(1)?);
    let last = out.len().checked_sub(1)?;
    if let Some(cells) = map.get(left).filter(|_| !turned("transA")) {
        // Batches of the left factor may be broadcast.
        let mut dims = out.to_vec();
        dims[last] = *cells.array.dims.last()?;
        let cells = Cells { grid: cells.grid, array: cells.array.broadcast(&dims)? };
        if web.is_constant(right) || !cells.array.varies[last] {
            return channels_merged(&cells, last, out);
        }
    }
    let cells = map.get(right)?;
    let before = last.checked_sub(1)?;
    if turned("transB") || cells.array.dims.len() != out.len() {
        return None;
    }
    let array = cells.array.stretched(before, out[before])?;
    array.varies[last].then_some(Cells { grid: cells.grid, array })
}

fn einsum(one: &NodeProto, map: &CellMap, out: &[usize]) -> Option<Cells> {
    let equation: String = one.text("equation")?.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, output) = equation.split_once("->")?;
    let letters: Vec<char> = output.chars().collect();
    if letters.len() != out.len() {
        return None;
    }
    for (name, term) in one.input.iter().zip(inputs.split(',')) {
        let Some(cells) = map.get(name) else { continue };
        let term: Vec<char> = term.chars().collect();
        let array = &cells.array;
        let lost =
            term.iter().enumerate().any(|(n, c)| array.varies.get(n) == Some(&true) && !letters.contains(c));
        if term.len() != array.dims.len() || lost || !array.varies.contains(&true) {
            continue;
        }
        // Axes that the output lacks vary nowhere: one element of each will do.
        let mut kept = array.clone();
        for (n, letter) in term.iter().enumerate() {
            if !letters.contains(letter) {
                kept = kept.slice(n, 0, 1, 1);
            }
        }
        let present: Vec<usize> = letters.iter().filter_map(|c| term.iter().position(|t| t == c)).collect();
        let rest: Vec<usize> = (0..term.len()).filter(|n| !present.contains(n)).collect();
        let turned = kept.transpose(&[rest, present].concat());
        let dims: Vec<usize> =
            letters.iter().map(|c| term.iter().position(|t| t == c).map_or(1, |n| array.dims[n])).collect();
        let array = turned.reshape(&dims)?.broadcast(out)?;
        return Some(Cells { grid: cells.grid, array });
    }
    None
}

/// A fused attention gives each query row one row of the result.
fn widened(cells: &Cells, out: &[usize]) -> Option<Cells> {
    channels_merged(cells, out.len().checked_sub(1)?, out)
}

/// A reduction over axes along which no cell changes keeps the cells of what is left.
fn reduced(web: &Web, one: &NodeProto, cells: &Cells, out: &[usize]) -> Option<Cells> {
    let rank = cells.array.dims.len();
    let told = match one.op_type() {
        "ArgMax" | "ArgMin" => vec![one.int("axis").unwrap_or(0)],
        _ => one.arg(1).and_then(|name| web.numbers(name)).unwrap_or_else(|| one.ints("axes").to_vec()),
    };
    let axes: Vec<usize> = told.iter().map(|&axis| movement::axis(axis, rank)).collect::<Option<_>>()?;
    if axes.is_empty() || axes.iter().any(|&axis| cells.array.varies[axis]) {
        return None;
    }
    let left = axes.iter().fold(cells.array.clone(), |array, &axis| array.slice(axis, 0, 1, 1));
    Some(Cells { grid: cells.grid, array: left.reshape(out)? })
}

fn moved(web: &Web, one: &NodeProto, map: &CellMap) -> Option<Found> {
    let known: Vec<&Rc<Cells>> = one.input.iter().filter_map(|name| map.get(name)).collect();
    let grid = known.first()?.grid;
    // Tokens of several grids side by side belong to none.
    if one.op_type() == "Concat" && known.iter().any(|cells| cells.grid != grid) {
        return Some(Found::new());
    }
    let label = |name: &str| map.get(name).map(|cells| cells.array.clone());
    let arrays = movement::apply(web, one, &label)?;
    let found = one.output.iter().zip(arrays);
    Some(found.map(|(name, array)| (name.clone(), Rc::new(Cells { grid, array }))).collect())
}

/// Anything else that keeps the shape of an input, or broadcasts it, keeps its cells.
fn elementwise(one: &NodeProto, map: &CellMap, out: &[usize]) -> Found {
    let inputs = || one.input.iter().filter_map(|name| map.get(name));
    let same = inputs().filter(|cells| cells.array.dims == out).max_by_key(|cells| {
        cells.array.data.iter().filter(|&&cell| cell != NOBODY).count().min(cells.grid.len())
    });
    let found = match same {
        Some(cells) => Some(Rc::clone(cells)),
        None => inputs()
            .find_map(|cells| Some(Rc::new(Cells { grid: cells.grid, array: cells.array.broadcast(out)? }))),
    };
    found.map(|cells| vec![(one.out(0).to_owned(), cells)]).unwrap_or_default()
}
