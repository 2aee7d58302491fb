//! Bilinear interpolation of a score map to pixels: half-pixel centres, clamped at the edges
//! (`align_corners = false`), separable, one row of cells interpolated once.

use crate::grid::{Grid, PixelScores, ScoreMap};

/// Interpolates score maps; keeps its tables from frame to frame.
#[derive(Debug, Clone, Default)]
pub struct Upsampler {
    cols: usize,
    /// For each pixel column: the cell to the left, and the weight of the one to the right of it.
    left: Vec<u32>,
    weight: Vec<f32>,
    /// Two rows of cells, interpolated to the width of the frame.
    above: Vec<f32>,
    below: Vec<f32>,
    /// The map with cells that cannot be judged filled in.
    filled: Vec<f32>,
}

impl Upsampler {
    /// Without any tables yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fills `out` with the scores of `width` x `height` pixels.
    ///
    /// A cell that cannot be judged (infinite or NaN) makes the pixels of its own area
    /// `f32::INFINITY`; to the interpolation around it, it counts as the mean of its finite neighbours,
    /// so that it does not spread. An empty map gives zeros.
    pub fn step(&mut self, map: &ScoreMap, width: usize, height: usize, out: &mut PixelScores) {
        (out.width, out.height) = (width, height);
        self.resample(map.grid, &map.data, width, height, &mut out.data);
    }

    /// The same from the cells of any map to `width` x `height` numbers.
    pub fn resample(&mut self, grid: Grid, cells: &[f32], width: usize, height: usize, out: &mut Vec<f32>) {
        if self.resample_filled(grid, cells, width, height, out) {
            Self::paint(grid, cells, width, height, out);
        }
    }

    /// The same, but without what makes pixels infinite; false if the map is empty.
    pub(super) fn resample_filled(
        &mut self,
        grid: Grid,
        cells: &[f32],
        width: usize,
        height: usize,
        out: &mut Vec<f32>,
    ) -> bool {
        // Every number is overwritten below; only the length matters.
        out.resize(width * height, 0.0);
        if grid.is_empty() || cells.len() != grid.len() || width == 0 || height == 0 {
            out.fill(0.0);
            return false;
        }
        let mut filled = std::mem::take(&mut self.filled);
        fill(cells, grid, &mut filled);
        let mut rows = self.rows(grid, &filled, width, height);
        for (y, out) in out.chunks_exact_mut(width).enumerate() {
            let (above, below, weight) = rows.at(y);
            for ((out, a), b) in out.iter_mut().zip(above).zip(below) {
                *out = a + (b - a) * weight;
            }
        }
        self.filled = filled;
        true
    }

    /// The rows of a picture of `width` x `height`, to be interpolated from `cells`, which are finite.
    pub(super) fn rows<'a>(
        &'a mut self,
        grid: Grid,
        cells: &'a [f32],
        width: usize,
        height: usize,
    ) -> PixelRows<'a> {
        self.prepare(grid.cols, width);
        PixelRows { tables: self, cells, grid, height, held: (usize::MAX, usize::MAX) }
    }

    fn prepare(&mut self, cols: usize, width: usize) {
        if self.cols == cols && self.left.len() == width {
            return;
        }
        self.cols = cols;
        self.left.clear();
        self.weight.clear();
        for x in 0..width {
            let (left, weight) = place(x, cols, width);
            self.left.push(left as u32);
            self.weight.push(weight);
        }
        self.above.resize(width, 0.0);
        self.below.resize(width, 0.0);
    }

    /// Makes the pixels of cells that are not finite infinite.
    pub(super) fn paint(grid: Grid, cells: &[f32], width: usize, height: usize, out: &mut [f32]) {
        let Grid { rows, cols } = grid;
        for (i, _) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_finite()) {
            let (row, col) = (i / cols, i % cols);
            let columns = (col * width).div_ceil(cols)..((col + 1) * width).div_ceil(cols);
            for y in (row * height).div_ceil(rows)..((row + 1) * height).div_ceil(rows) {
                out[y * width..(y + 1) * width][columns.clone()].fill(f32::INFINITY);
            }
        }
    }
}

/// Rows of pixels between two rows of cells that were widened to the width of the picture; ask for them in order.
pub(super) struct PixelRows<'a> {
    tables: &'a mut Upsampler,
    cells: &'a [f32],
    grid: Grid,
    height: usize,
    /// Which rows of cells `above` and `below` hold.
    held: (usize, usize),
}

impl PixelRows<'_> {
    /// The rows of cells above and below row `y` of pixels, and the weight of the one below.
    pub(super) fn at(&mut self, y: usize) -> (&[f32], &[f32], f32) {
        let (top, weight) = place(y, self.grid.rows, self.height);
        let bottom = (top + 1).min(self.grid.rows - 1);
        let Upsampler { cols, left, weight: weights, above, below, .. } = &mut *self.tables;
        if self.held.0 != top {
            if self.held.1 == top {
                std::mem::swap(above, below);
                self.held = (self.held.1, self.held.0);
            } else {
                widen(self.cells, top, *cols, left, weights, above);
                self.held.0 = top;
            }
        }
        if self.held.1 != bottom {
            widen(self.cells, bottom, *cols, left, weights, below);
            self.held.1 = bottom;
        }
        (above, below, weight)
    }
}

/// The cell before the centre of pixel `at` of `pixels`, and the weight of the next one.
fn place(at: usize, cells: usize, pixels: usize) -> (usize, f32) {
    let centre = (at as f64 + 0.5) * cells as f64 / pixels as f64 - 0.5;
    let clamped = centre.clamp(0.0, (cells - 1) as f64);
    // The last cell has no next one: it is the next of the one before, with weight 1.
    let before = (clamped as usize).min(cells.saturating_sub(2));
    (before, (clamped - before as f64) as f32)
}

/// One row of cells, interpolated to the columns of the frame.
fn widen(cells: &[f32], row: usize, cols: usize, left: &[u32], weight: &[f32], out: &mut [f32]) {
    let cells = &cells[row * cols..(row + 1) * cols];
    for ((out, left), weight) in out.iter_mut().zip(left).zip(weight) {
        let a = cells[*left as usize];
        let b = cells[(*left as usize + 1).min(cols - 1)];
        *out = a + (b - a) * weight;
    }
}

/// Copies `cells`, with the mean of the finite neighbours (0 without any) where a cell is not finite.
fn fill(cells: &[f32], grid: Grid, out: &mut Vec<f32>) {
    out.clear();
    out.extend_from_slice(cells);
    for (i, cell) in out.iter_mut().enumerate().filter(|(_, cell)| !cell.is_finite()) {
        let (row, col) = (i / grid.cols, i % grid.cols);
        let (mut sum, mut count) = (0.0, 0);
        for r in row.saturating_sub(1)..grid.rows.min(row + 2) {
            for c in col.saturating_sub(1)..grid.cols.min(col + 2) {
                let near = cells[r * grid.cols + c];
                if near.is_finite() {
                    sum += near;
                    count += 1;
                }
            }
        }
        *cell = if count > 0 { sum / count as f32 } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;

    fn map(rows: usize, cols: usize, data: Vec<f32>) -> ScoreMap {
        ScoreMap { grid: Grid { rows, cols }, data: Pooled::unpooled(data) }
    }

    /// The definition, pixel by pixel.
    fn naive(map: &ScoreMap, width: usize, height: usize) -> Vec<f32> {
        let Grid { rows, cols } = map.grid;
        let at = |r: i64, c: i64| {
            f64::from(
                map.data[r.clamp(0, rows as i64 - 1) as usize * cols + c.clamp(0, cols as i64 - 1) as usize],
            )
        };
        let mut out = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let sy = (y as f64 + 0.5) * rows as f64 / height as f64 - 0.5;
                let sx = (x as f64 + 0.5) * cols as f64 / width as f64 - 0.5;
                let (r, c) = (sy.floor() as i64, sx.floor() as i64);
                let (fy, fx) = (sy - sy.floor(), sx - sx.floor());
                let row = |r| at(r, c) * (1.0 - fx) + at(r, c + 1) * fx;
                out.push((row(r) * (1.0 - fy) + row(r + 1) * fy) as f32);
            }
        }
        out
    }

    #[test]
    fn it_is_bilinear_at_every_size() {
        let mut up = Upsampler::new();
        let mut out = PixelScores::default();
        for (rows, cols, width, height) in [
            (26, 46, 640, 360),
            (1, 1, 7, 5),
            (1, 5, 33, 4),
            (5, 1, 3, 31),
            (4, 6, 6, 4),
            (9, 11, 4, 3),
            (2, 2, 639, 361),
        ] {
            let map = map(rows, cols, (0..rows * cols).map(|i| ((i * 7919) % 101) as f32 - 50.0).collect());
            up.step(&map, width, height, &mut out);
            assert_eq!((out.width, out.height, out.data.len()), (width, height, width * height));
            for (i, (got, want)) in out.data.iter().zip(naive(&map, width, height)).enumerate() {
                assert!(
                    (got - want).abs() < 1e-3,
                    "{rows}x{cols} to {width}x{height}, pixel {i}: {got}, not {want}"
                );
            }
        }
    }

    #[test]
    fn a_cell_that_cannot_be_judged_stays_in_its_own_area() {
        for bad in [f32::INFINITY, f32::NAN, f32::NEG_INFINITY] {
            let mut cells = vec![2.0; 12];
            cells[5] = bad;
            let mut out = PixelScores::default();
            Upsampler::new().step(&map(3, 4, cells), 40, 30, &mut out);
            for (i, score) in out.data.iter().enumerate() {
                let inside = (10..20).contains(&(i / 40)) && (10..20).contains(&(i % 40));
                assert_eq!(*score, if inside { f32::INFINITY } else { 2.0 }, "pixel {i}");
            }
        }
        let mut out = PixelScores::default();
        Upsampler::new().step(&map(1, 2, vec![f32::NAN; 2]), 8, 8, &mut out);
        assert!(out.data.iter().all(|s| *s == f32::INFINITY));
        Upsampler::new().step(&ScoreMap::default(), 8, 8, &mut out);
        assert!(out.data.iter().all(|s| *s == 0.0));
    }
}
