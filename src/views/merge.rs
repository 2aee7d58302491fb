//! The maps of all views blended into one.

use super::axis::{Axis, Place};
use super::{Blend, Layout, Placed, Window};
use crate::grid::{Distances, Grid};

/// What makes a view's distances comparable with those of the whole picture: `distance x gain + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Deviation of normal distances of the whole picture where the view covers it, by that of the view's.
    pub gain: f64,
    /// What moves their means together.
    pub offset: f64,
}

impl Scale {
    /// Distances as they are.
    pub const NONE: Scale = Scale { gain: 1.0, offset: 0.0 };

    /// The scale that gives the `own` (mean, deviation) of a view the mean and the deviation of the `whole` picture.
    pub fn between(own: (f64, f64), whole: (f64, f64)) -> Scale {
        let gain = whole.1 / own.1;
        match gain.is_finite() && own.0.is_finite() && whole.0.is_finite() {
            true => Scale { gain, offset: whole.0 - gain * own.0 },
            false => Scale::NONE,
        }
    }
}

/// Blends maps; keeps its tables as long as the grids stay the same.
///
/// The merged map lies on the finest grid that any view asks for. With x_v the scaled distances of view v, interpolated
/// bilinearly, its tiles blended by weights that fall linearly to their borders and sum to 1; c_v how far the view
/// covers a place, falling linearly from 1 to 0 at borders of its crop inside the picture; w_v its weight (the whole
/// picture has x_0 and weight and cover 1):
///
/// - mean: (x_0 + sum w_v c_v x_v) / (1 + sum w_v c_v)
/// - max: view by view, x <- x + c_v max(0, x_v - x), from x_0: the largest where all cover it
///
/// A place is infinite where the nearest cell of the whole picture, or of a view that covers it, cannot be judged
/// (infinite or NaN).
#[derive(Debug, Clone)]
pub struct Merger {
    layout: Layout,
    /// Of each view.
    scales: Vec<Scale>,
    tables: Option<Tables>,
    sums: Vec<f32>,
    weights: Vec<f32>,
    layer: Vec<f32>,
}

#[derive(Debug, Clone)]
struct Tables {
    frame: (usize, usize),
    whole: Grid,
    parts: Vec<Grid>,
    merged: Grid,
    /// Columns and rows of the whole picture, then of each view.
    axes: Vec<(Axis, Axis)>,
}

impl Merger {
    /// For the views of `layout`; `scales` has one for each, or none for distances as they are.
    pub fn new(layout: &Layout, scales: Vec<Scale>) -> Merger {
        Merger {
            layout: layout.clone(),
            scales,
            tables: None,
            sums: Vec::new(),
            weights: Vec::new(),
            layer: Vec::new(),
        }
    }

    /// Fills `out` with the blend of the distances of the `whole` picture and of `parts`, one for each window of the
    /// layout in its order. `frame` is the picture's width and height; the merged map has no more cells than it pixels,
    /// unless the whole picture's has.
    ///
    /// # Errors
    /// In words, if there are more or fewer parts than windows, or a grid does not fit its numbers.
    pub fn step(
        &mut self,
        frame: (usize, usize),
        whole: &Distances,
        parts: &[Distances],
        out: &mut Distances,
    ) -> Result<(), String> {
        let sound = |d: &Distances| !d.grid.is_empty() && d.data.len() == d.grid.len();
        if parts.len() != self.layout.len() || !sound(whole) || !parts.iter().all(sound) {
            return Err(format!("{} maps for {} views and tiles", parts.len(), self.layout.len()));
        }
        let alike = |(view, own): (&Placed, &[Distances])| {
            let cols = view.columns.len();
            own.iter().enumerate().all(|(i, tile)| {
                tile.grid.rows == own[i / cols * cols].grid.rows && tile.grid.cols == own[i % cols].grid.cols
            })
        };
        if !self.layout.by_view(parts).all(alike) {
            return Err("the tiles of a view are of unequal size".to_owned());
        }
        let known = self.tables.take().filter(|tables| tables.fit(frame, whole, parts));
        let tables = known.unwrap_or_else(|| Tables::new(&self.layout, frame, whole.grid, parts));
        let merged = tables.merged;
        let Merger { layout, scales, sums, weights, layer, .. } = self;
        let [of_whole, of_views @ ..] = &tables.axes[..] else { return Err("no views".to_owned()) };
        tiles(of_whole, std::slice::from_ref(whole), Scale::NONE, merged, sums);
        weights.clear();
        weights.resize(merged.len(), 1.0);
        for (number, ((view, maps), axes)) in layout.by_view(parts).zip(of_views).enumerate() {
            let scale = scales.get(number).copied().unwrap_or(Scale::NONE);
            tiles(axes, maps, scale, merged, layer);
            let (columns, rows) = axes;
            for (row, down) in rows.cover.iter().enumerate().filter(|(_, down)| **down > 0.0) {
                let cells = row * merged.cols..(row + 1) * merged.cols;
                let places =
                    sums[cells.clone()].iter_mut().zip(&mut weights[cells.clone()]).zip(&layer[cells]);
                for (((sum, weight), value), across) in places.zip(&columns.cover) {
                    let cover = down * across;
                    if cover <= 0.0 {
                        continue;
                    }
                    match layout.combine {
                        Blend::Mean => {
                            let own = view.weight as f32 * cover;
                            *sum += own * value;
                            *weight += own;
                        }
                        // What is infinite already stays it.
                        Blend::Max if sum.is_finite() => *sum += cover * (value - *sum).max(0.0),
                        Blend::Max => {}
                    }
                }
            }
        }
        out.grid = merged;
        out.data.clear();
        out.data.extend(sums.iter().zip(&*weights).map(|(sum, weight)| match sum.is_finite() {
            true => sum / weight,
            false => f32::INFINITY,
        }));
        self.tables = Some(tables);
        Ok(())
    }
}

impl Tables {
    fn fit(&self, frame: (usize, usize), whole: &Distances, parts: &[Distances]) -> bool {
        self.frame == frame
            && self.whole == whole.grid
            && self.parts.iter().eq(parts.iter().map(|part| &part.grid))
    }

    fn new(layout: &Layout, frame: (usize, usize), whole: Grid, parts: &[Distances]) -> Tables {
        let mut merged = whole;
        for ((_, window), part) in layout.windows().zip(parts) {
            let dense = |cells: usize, share: f64, pixels: usize, least: usize| {
                ((cells as f64 / share).round() as usize).min(pixels).max(least)
            };
            merged.rows = dense(part.grid.rows, window.height(), frame.1, merged.rows);
            merged.cols = dense(part.grid.cols, window.width(), frame.0, merged.cols);
        }
        let Window { left, right, top, bottom } = Window::WHOLE;
        let mut axes = vec![(
            Axis::new(&[(left, right)], &[whole.cols], merged.cols, 0.0),
            Axis::new(&[(top, bottom)], &[whole.rows], merged.rows, 0.0),
        )];
        for (view, own) in layout.by_view(parts) {
            // Tiles of a row are as high as each other, of a column as wide: they are parts of one grid.
            let across: Vec<usize> = own[..view.columns.len()].iter().map(|part| part.grid.cols).collect();
            let down: Vec<usize> =
                own.iter().step_by(view.columns.len()).map(|part| part.grid.rows).collect();
            axes.push((
                Axis::new(&view.columns, &across, merged.cols, view.overlap),
                Axis::new(&view.rows, &down, merged.rows, view.overlap),
            ));
        }
        Tables { frame, whole, parts: parts.iter().map(|part| part.grid).collect(), merged, axes }
    }
}

/// Blends the tiles of one view on the merged grid; cells that it does not reach are 0.
fn tiles((columns, rows): &(Axis, Axis), maps: &[Distances], scale: Scale, merged: Grid, out: &mut Vec<f32>) {
    out.clear();
    out.resize(merged.len(), 0.0);
    for (number, map) in maps.iter().enumerate() {
        let (row, column) = (number / columns.tiles.len(), number % columns.tiles.len());
        for down in &rows.tiles[row] {
            let line = &mut out[down.cell * merged.cols..(down.cell + 1) * merged.cols];
            for across in &columns.tiles[column] {
                let value = f64::from(at(map, down, across)) * scale.gain + scale.offset;
                line[across.cell] += down.weight * across.weight * value as f32;
            }
        }
    }
}

/// The bilinear interpolation of `map` between four cells; of those that are finite, if the nearest one is.
fn at(map: &Distances, down: &Place, across: &Place) -> f32 {
    let Grid { rows, cols } = map.grid;
    let cell = |row: usize, col: usize| map.data[row * cols + col];
    let (below, right) = (down.after(rows), across.after(cols));
    let [a, b] = [cell(down.before, across.before), cell(down.before, right)];
    let [c, d] = [cell(below, across.before), cell(below, right)];
    let (top, bottom) = (a + (b - a) * across.share, c + (d - c) * across.share);
    let value = top + (bottom - top) * down.share;
    if value.is_finite() {
        return value;
    }
    let nearest = match (down.share < 0.5, across.share < 0.5) {
        (true, true) => a,
        (true, false) => b,
        (false, true) => c,
        (false, false) => d,
    };
    if !nearest.is_finite() {
        return f32::INFINITY;
    }
    let (v, u) = (down.share, across.share);
    let weighed = [(a, (1.0 - v) * (1.0 - u)), (b, (1.0 - v) * u), (c, v * (1.0 - u)), (d, v * u)];
    let finite = weighed.iter().filter(|(value, _)| value.is_finite());
    let (sum, weight) = finite.fold((0.0, 0.0), |(s, w), (value, own)| (s + value * own, w + own));
    sum / weight
}

#[cfg(test)]
mod tests;
