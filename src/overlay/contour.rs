//! The line around everything above the threshold, drawn where a small window sees both
//! sides of it. Works on the mask alone, so non-finite scores need no care.

use super::canvas::{Canvas, Ink};

/// Columns that are looked at together; even, so that chroma samples are not shared.
const BLOCK: usize = 64;

/// Columns that are drawn together where the line passes; even as well.
const STEP: usize = 16;

/// Flag of a block that has marked pixels.
const INSIDE: u8 = 1;
/// Flag of a block that has unmarked pixels. A border passes where both flags meet.
const OUTSIDE: u8 = 2;

/// Which pixels exceed the threshold, and the rows needed to trace their border.
#[derive(Debug, Default)]
pub struct Contour {
    width: usize,
    /// 1 where the score exceeds the threshold; only valid in rows that are `marked`.
    mask: Vec<u8>,
    /// Which rows were marked; in the others nothing exceeds the threshold.
    marked: Vec<bool>,
    /// Per row, the flags of its blocks.
    flags: Vec<u8>,
    /// The flags of the blocks in a window of rows.
    window: Vec<u8>,
    /// Marked pixels in the window's rows, per column, the border columns repeated outwards.
    columns: Vec<u8>,
    /// Blocks of the present rows that a border passes: first and the one past the last.
    runs: Vec<(usize, usize)>,
    /// Coverage of two rows.
    coverage: Vec<u8>,
}

/// Half the line's width in pixels: lines are 2 px wide up to 1079 rows, 4 px (with soft
/// sides) at 1080, 6 px at 2160.
pub fn line_radius(height: usize) -> usize {
    ((height + 360) / 720).clamp(1, 6)
}

impl Contour {
    /// Forgets all marks and takes on a size.
    pub fn start(&mut self, width: usize, height: usize) {
        self.width = width;
        self.mask.resize(width * height, 0);
        self.marked.clear();
        self.marked.resize(height, false);
        self.flags.clear();
        self.flags.resize(width.div_ceil(BLOCK) * height, OUTSIDE);
    }

    /// Marks what exceeds `threshold` in row `y` and counts (all do if `counted` is empty). NaN does not exceed
    /// it, infinity does.
    pub fn mark(&mut self, y: usize, scores: &[f32], threshold: f32, counted: &[bool]) {
        let row = &mut self.mask[y * self.width..(y + 1) * self.width];
        for (mark, &score) in row.iter_mut().zip(scores) {
            *mark = u8::from(score > threshold);
        }
        row.iter_mut().zip(counted).for_each(|(mark, counts)| *mark &= u8::from(*counts));
        self.marked[y] = true;
        let blocks = self.width.div_ceil(BLOCK);
        let flags = &mut self.flags[y * blocks..(y + 1) * blocks];
        for (flags, block) in flags.iter_mut().zip(row.chunks(BLOCK)) {
            let (any, all) = block.iter().fold((0, 1), |(any, all), &m| (any | m, all & m));
            *flags = (any * INSIDE) | ((1 - all) * OUTSIDE);
        }
    }

    /// Draws the line. At the picture's edge regions are taken to go on, so no line runs
    /// along it.
    pub fn draw(&mut self, canvas: &mut Canvas<'_>, ink: Ink) {
        let (width, height) = (self.width, self.marked.len());
        let radius = line_radius(height);
        self.columns.resize(width + 2 * radius, 0);
        let blocks = width.div_ceil(BLOCK);
        for y in (0..height).step_by(2) {
            let rows = y.saturating_sub(radius)..(y + 2 + radius).min(height);
            if !self.marked[rows.clone()].contains(&true) {
                continue;
            }
            self.window.clear();
            self.window.resize(blocks, 0);
            for flags in self.flags[rows.start * blocks..rows.end * blocks].chunks(blocks) {
                for (all, &row) in self.window.iter_mut().zip(flags) {
                    *all |= row;
                }
            }
            let mixed = |block: usize| {
                let near = &self.window[block.saturating_sub(1)..(block + 2).min(blocks)];
                near.iter().fold(0, |all, &flags| all | flags) == INSIDE | OUTSIDE
            };
            // Neighbouring blocks are traced in one go.
            let mut runs = std::mem::take(&mut self.runs);
            runs.clear();
            for block in (0..blocks).filter(|&block| mixed(block)) {
                match runs.last_mut() {
                    Some((_, end)) if *end == block => *end = block + 1,
                    _ => runs.push((block, block + 1)),
                }
            }
            for &(first, end) in &runs {
                self.draw_run(canvas, ink, y, first * BLOCK, (end * BLOCK).min(width));
            }
            self.runs = runs;
        }
    }

    /// Draws rows `y` and `y + 1` between two columns.
    fn draw_run(&mut self, canvas: &mut Canvas<'_>, ink: Ink, y: usize, from: usize, to: usize) {
        let radius = line_radius(self.marked.len());
        let mut lines = std::mem::take(&mut self.coverage);
        lines.clear();
        lines.resize(2 * (to - from), 0);
        let (top, bottom) = lines.split_at_mut(to - from);
        for (row, line) in [(y, &mut *top), (y + 1, &mut *bottom)] {
            if row < self.marked.len() {
                self.sum_columns(row, radius, from, to);
                trace(&self.columns[from..to + 2 * radius], radius, line);
            }
        }
        let any = |row: &[u8]| row.iter().fold(0, |any, &c| any | c) != 0;
        for (step, (top, bottom)) in top.chunks(STEP).zip(bottom.chunks(STEP)).enumerate() {
            if any(top) || any(bottom) {
                let mut both = [0; 2 * STEP];
                let n = top.len();
                both[..n].copy_from_slice(top);
                both[n..2 * n].copy_from_slice(bottom);
                canvas.stamp(from + step * STEP, y, n, &both[..2 * n], ink);
            }
        }
        self.coverage = lines;
    }

    /// Fills `columns[from..to + 2 radius]`: entry `x + radius` counts the marks of column
    /// x in the rows `radius` above to `radius` below `row`, the picture's last rows and
    /// columns repeated outwards.
    fn sum_columns(&mut self, row: usize, radius: usize, from: usize, to: usize) {
        let (width, height) = (self.width, self.marked.len());
        let (low, high) = (from.saturating_sub(radius), (to + radius).min(width));
        let sums = &mut self.columns[low + radius..high + radius];
        sums.fill(0);
        for offset in 0..=2 * radius {
            let y = (row + offset).saturating_sub(radius).min(height - 1);
            if !self.marked[y] {
                continue;
            }
            let marks = &self.mask[y * width + low..y * width + high];
            for (sum, &mark) in sums.iter_mut().zip(marks) {
                *sum += mark;
            }
        }
        if low == 0 {
            let edge = self.columns[radius];
            self.columns[..radius].fill(edge);
        }
        if high == width {
            let edge = self.columns[radius + width - 1];
            self.columns[radius + width..].fill(edge);
        }
    }
}

/// Coverage of one row from the column sums around it: none where the window lies wholly
/// on one side, full where a straight border passes through the middle.
fn trace(columns: &[u8], radius: usize, coverage: &mut [u8]) {
    let side = 2 * radius + 1;
    let all = (side * side) as u8;
    let full = (radius * side) as u16;
    let gain = 255u16.div_ceil(full);
    for (offset, _) in (0..side).enumerate() {
        for (sum, &column) in coverage.iter_mut().zip(&columns[offset..]) {
            *sum += column;
        }
    }
    for c in coverage {
        let balance = u16::from((*c).min(all - *c));
        *c = (balance * gain).min(255) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, PixelFormat};
    use crate::pool::Pool;

    /// Luma-like picture (RGB's red) of the contour around what `inside` says.
    fn traced(width: usize, height: usize, inside: impl Fn(usize, usize) -> bool) -> Vec<u8> {
        let mut frame = Frame::take(&Pool::new(), PixelFormat::Rgb, width, height);
        frame.pixels.fill(0);
        let mut contour = Contour::default();
        contour.start(width, height);
        for y in 0..height {
            let row: Vec<f32> = (0..width).map(|x| f32::from(u8::from(inside(x, y)))).collect();
            contour.mark(y, &row, 0.5, &[]);
        }
        contour.draw(&mut Canvas::new(&mut frame).unwrap(), [255; 3]);
        frame.pixels.chunks_exact(3).map(|p| p[0]).collect()
    }

    #[test]
    fn a_square_gets_a_line_of_two_pixels() {
        let line = traced(20, 16, |x, y| (5..12).contains(&x) && (4..10).contains(&y));
        let row: Vec<usize> = (0..20).filter(|&x| line[7 * 20 + x] == 255).collect();
        assert_eq!(row, [4, 5, 11, 12]);
        let column: Vec<usize> = (0..16).filter(|&y| line[y * 20 + 8] == 255).collect();
        assert_eq!(column, [3, 4, 9, 10]);
    }

    #[test]
    fn neither_full_nor_empty_pictures_have_a_line_nor_does_the_edge() {
        assert!(traced(33, 9, |_, _| true).iter().all(|&p| p == 0));
        assert!(traced(33, 9, |_, _| false).iter().all(|&p| p == 0));
        let line = traced(33, 9, |x, _| x < 10);
        for y in 0..9 {
            let row: Vec<usize> = (0..33).filter(|&x| line[y * 33 + x] > 0).collect();
            assert_eq!(row, [9, 10], "row {y}");
        }
    }

    #[test]
    fn lines_widen_with_the_picture() {
        let widths = [360, 720, 1080, 2160, 100_000].map(|h| 2 * line_radius(h));
        assert_eq!(widths, [2, 2, 4, 6, 12]);
    }
}
