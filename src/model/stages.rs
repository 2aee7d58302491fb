//! The stages of a convolutional net: the last map of each stride, before anything is enlarged again.

use std::collections::{BTreeMap, HashSet};

use super::cells::CellMap;
use super::movement::NOBODY;
use super::web::Web;
use crate::grid::Grid;

/// Strides below this belong to the stem and are no stage.
const FIRST_STRIDE: usize = 4;

/// Operators after a sum that are still part of it.
const ACTIVATIONS: [&str; 12] = [
    "Relu",
    "Gelu",
    "Sigmoid",
    "HardSwish",
    "HardSigmoid",
    "LeakyRelu",
    "Elu",
    "Clip",
    "PRelu",
    "Mish",
    "Selu",
    "Celu",
];

/// One map `[1, C, rows, cols]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The tensor.
    pub tensor: String,
    /// Input pixels per cell, vertically.
    pub stride: usize,
}

/// A map in the order of the graph.
struct Map<'a> {
    node: usize,
    tensor: &'a str,
    grid: Grid,
    /// A sum of two maps, or the activation of one.
    residual: bool,
}

/// The stages, finest first; empty if fewer than two strides have maps that are sums of branches and
/// `anyhow` is false.
pub fn find(web: &Web, cells: &CellMap, anyhow: bool) -> Vec<Stage> {
    let maps = maps(web, cells);
    let residual: HashSet<(usize, usize)> =
        maps.iter().filter(|map| map.residual).map(|map| (map.grid.rows, map.grid.cols)).collect();
    if residual.len() < 2 && !anyhow {
        return Vec::new();
    }
    let coarsest = maps.iter().map(|map| map.grid.len()).min();
    let end = maps
        .iter()
        .rfind(|map| map.residual)
        .or_else(|| maps.iter().rfind(|map| Some(map.grid.len()) == coarsest));
    let Some(end) = end else {
        return Vec::new();
    };
    let body = web.needed(&[end.tensor]);
    let bottlenecks = bottlenecks(web, &body);
    let mut best: BTreeMap<std::cmp::Reverse<usize>, (&Map, u8)> = BTreeMap::new();
    for map in maps.iter().filter(|map| body[map.node]) {
        // A sum of branches, else what is handed to the next convolution as it is (not expanded inside a
        // block), else whatever everything goes through.
        let handed_on = web.nodes[map.node].op_type() == "Conv"
            && web.readers(map.tensor).iter().all(|&n| web.nodes[n].op_type() == "Conv");
        let rank = match (bottlenecks[map.node], map.residual, handed_on) {
            (true, true, _) => 3,
            (true, false, true) => 2,
            (true, false, false) => 1,
            (false, _, _) => 0,
        };
        let place = best.entry(std::cmp::Reverse(map.grid.len())).or_insert((map, rank));
        if rank >= place.1 {
            *place = (map, rank);
        }
    }
    let (height, width) = match web.shape(web.input) {
        Some(&[_, _, height, width]) => (height, width),
        _ => (0, 0),
    };
    let stage = |map: &Map| Stage { tensor: map.tensor.to_owned(), stride: map.grid.stride(width, height) };
    let stages: Vec<Stage> = best.values().map(|(map, _)| stage(map)).collect();
    let skip = stages.iter().take_while(|stage| stage.stride < FIRST_STRIDE).count();
    if skip == stages.len() { stages } else { stages[skip..].to_vec() }
}

fn maps<'a>(web: &Web<'a>, cells: &CellMap) -> Vec<Map<'a>> {
    let mut enlarged: HashSet<&str> = HashSet::new();
    let mut sums: HashSet<&str> = HashSet::new();
    let mut maps = Vec::new();
    for (n, one) in web.nodes.iter().enumerate() {
        let name = one.out(0);
        let grid_of = |name: &str| cells.get(name).map(|cells| cells.grid);
        let grows = matches!(one.op_type(), "Resize" | "Upsample" | "ConvTranspose" | "DepthToSpace")
            && one.arg(0).and_then(grid_of).zip(grid_of(name)).is_none_or(|(from, to)| to.len() > from.len());
        if grows || one.input.iter().any(|input| enlarged.contains(input.as_str())) {
            enlarged.extend(one.output.iter().map(String::as_str));
            continue;
        }
        let (Some(&[1, channels, rows, cols]), Some(known)) = (web.shape(name), cells.get(name)) else {
            continue;
        };
        let grid = Grid { rows, cols };
        let lies = !known.array.varies[1]
            && known.array.data.iter().all(|&cell| cell != NOBODY)
            && known.array.data.is_sorted();
        if known.grid != grid || !lies || channels < 4 || grid.len() < 2 {
            continue;
        }
        let changing = web.changing(one);
        let sum = one.op_type() == "Add"
            && changing.len() == 2
            && changing.iter().all(|input| web.shape(input) == web.shape(name));
        let active =
            ACTIVATIONS.contains(&one.op_type()) && one.arg(0).is_some_and(|from| sums.contains(from));
        if sum || active {
            sums.insert(name);
        }
        maps.push(Map { node: n, tensor: name, grid, residual: sum || active });
    }
    maps
}

/// Nodes of the body whose result is all that the rest of the body reads of what came before.
fn bottlenecks(web: &Web, body: &[bool]) -> Vec<bool> {
    let mut passing = vec![0_i64; web.nodes.len() + 1];
    let mut span = |from: usize, readers: &[usize]| {
        let last = readers.iter().copied().filter(|&n| body[n]).max();
        if let Some(last) = last.filter(|&last| last > from) {
            passing[from] += 1;
            passing[last] -= 1;
        }
    };
    span(0, web.readers(web.input));
    for (n, one) in web.nodes.iter().enumerate().filter(|(n, _)| body[*n]) {
        for name in &one.output {
            // From behind the node that makes it to before the last that reads it.
            span(n + 1, web.readers(name));
        }
    }
    let mut count = 0;
    (0..web.nodes.len())
        .map(|n| {
            count += passing[n];
            count == 0 && body[n]
        })
        .collect()
}
