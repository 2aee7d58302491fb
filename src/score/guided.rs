//! Upsampling along the edges of the picture: a guided filter (He, Sun and Tang, 2013; its fast form of 2015). In
//! small windows the score is fitted as a line over the brightness, `score = a * brightness + b`; a and b vary
//! slowly and are interpolated, so that the score changes where the picture does.

use super::Upsampler;
use crate::grid::{Grid, PixelScores, ScoreMap};
use crate::luma::Luma;

/// Columns of the small picture in which lines are fitted, about.
const COLUMNS: usize = 320;

/// Interpolates score maps along the edges of pictures; keeps its buffers from frame to frame.
#[derive(Debug, Clone)]
pub struct GuidedUpsampler {
    radius: f32,
    epsilon: f32,
    to_small: Upsampler,
    to_whole: [Upsampler; 2],
    bilinear: Vec<f32>,
    guide: Vec<f32>,
    product: Vec<f32>,
    square: Vec<f32>,
    means: [Vec<f32>; 4],
    lines: [Vec<f32>; 2],
    column: Vec<f32>,
}

impl GuidedUpsampler {
    /// Windows reach `radius` cells of the map to each side. Where the variance of the brightness (0 to 1) in a
    /// window is far below `epsilon`, the score is smoothed; where it is far above, it follows the picture.
    pub fn new(radius: f32, epsilon: f32) -> GuidedUpsampler {
        GuidedUpsampler {
            radius,
            epsilon,
            to_small: Upsampler::new(),
            to_whole: [Upsampler::new(), Upsampler::new()],
            bilinear: Vec::new(),
            guide: Vec::new(),
            product: Vec::new(),
            square: Vec::new(),
            means: Default::default(),
            lines: Default::default(),
            column: Vec::new(),
        }
    }

    /// Fills `out` with the scores of the picture's pixels, never beyond the range of the map's. Cells that cannot
    /// be judged are treated as [`Upsampler::step`] treats them.
    pub fn step(&mut self, map: &ScoreMap, luma: &Luma, out: &mut PixelScores) {
        let (width, height) = (luma.width, luma.height);
        let judged = map.data.iter().copied().filter(|s| s.is_finite());
        let (low, high) = judged.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), s| (a.min(s), b.max(s)));
        let fits = map.data.len() == map.grid.len() && luma.pixels.len() == width * height;
        if low > high || !fits || width == 0 || height == 0 {
            return self.to_small.step(map, width, height, out);
        }
        let side = (width / COLUMNS).max(1);
        let small = Grid { rows: height.div_ceil(side), cols: width.div_ceil(side) };
        reduce(luma, side, small, &mut self.guide);
        self.to_small.resample_filled(map.grid, &map.data, small.cols, small.rows, &mut self.bilinear);
        let radius = (self.radius * small.cols as f32 / map.grid.cols as f32).round().max(1.0) as usize;
        self.fit(small, radius);
        (out.width, out.height) = (width, height);
        let [slopes, levels] = &mut self.to_whole;
        let mut slopes = slopes.rows(small, &self.lines[0], width, height);
        let mut levels = levels.rows(small, &self.lines[1], width, height);
        out.data.resize(width * height, 0.0);
        for (y, (row, luma)) in
            out.data.chunks_exact_mut(width).zip(luma.pixels.chunks_exact(width)).enumerate()
        {
            let ((a0, a1, ay), (b0, b1, by)) = (slopes.at(y), levels.at(y));
            for (x, (score, luma)) in row.iter_mut().zip(luma).enumerate() {
                let a = a0[x] + (a1[x] - a0[x]) * ay;
                let b = b0[x] + (b1[x] - b0[x]) * by;
                *score = (a * (f32::from(*luma) * (1.0 / 255.0)) + b).clamp(low, high);
            }
        }
        Upsampler::paint(map.grid, &map.data, width, height, &mut out.data);
    }

    /// The line of each cell: means over the windows that hold it.
    fn fit(&mut self, small: Grid, radius: usize) {
        let (guide, score) = (&self.guide, &self.bilinear);
        self.product.clear();
        self.product.extend(guide.iter().zip(score).map(|(g, s)| g * s));
        self.square.clear();
        self.square.extend(guide.iter().map(|g| g * g));
        for (mean, of) in self.means.iter_mut().zip([guide, score, &self.product, &self.square]) {
            window_means(of, small, radius, &mut self.column, mean);
        }
        let [mean_g, mean_s, mean_gs, mean_gg] = &mut self.means;
        for (((g, s), gs), gg) in
            mean_g.iter_mut().zip(mean_s.iter_mut()).zip(mean_gs.iter()).zip(mean_gg.iter())
        {
            let a = (gs - *g * *s) / ((gg - *g * *g).max(0.0) + self.epsilon);
            (*g, *s) = (a, *s - a * *g);
        }
        let [slopes, levels] = &mut self.lines;
        window_means(mean_g, small, radius, &mut self.column, slopes);
        window_means(mean_s, small, radius, &mut self.column, levels);
    }
}

/// The mean brightness, 0 to 1, of squares of `side` pixels.
fn reduce(luma: &Luma, side: usize, small: Grid, out: &mut Vec<f32>) {
    out.clear();
    out.resize(small.len(), 0.0);
    for (y, row) in luma.pixels.chunks_exact(luma.width).enumerate() {
        let sums = &mut out[y / side * small.cols..][..small.cols];
        for (sum, square) in sums.iter_mut().zip(row.chunks(side)) {
            *sum += square.iter().map(|v| u32::from(*v)).sum::<u32>() as f32;
        }
    }
    for (i, mean) in out.iter_mut().enumerate() {
        let high = side.min(luma.height - i / small.cols * side);
        let wide = side.min(luma.width - i % small.cols * side);
        *mean /= (high * wide * 255) as f32;
    }
}

/// The means over windows that reach `radius` to each side, within the map.
fn window_means(of: &[f32], grid: Grid, radius: usize, column: &mut Vec<f32>, out: &mut Vec<f32>) {
    let Grid { rows, cols } = grid;
    out.clear();
    out.resize(grid.len(), 0.0);
    // Sums over the rows of the window, moved down row by row, then over its columns.
    column.clear();
    column.resize(cols, 0.0);
    let row = |y: usize| &of[y * cols..(y + 1) * cols];
    for y in 0..rows.min(radius) {
        column.iter_mut().zip(row(y)).for_each(|(sum, x)| *sum += x);
    }
    for y in 0..rows {
        if y + radius < rows {
            column.iter_mut().zip(row(y + radius)).for_each(|(sum, x)| *sum += x);
        }
        if y > radius {
            column.iter_mut().zip(row(y - radius - 1)).for_each(|(sum, x)| *sum -= x);
        }
        let high = rows.min(y + radius + 1) - y.saturating_sub(radius);
        let mut sum: f32 = column.iter().take(radius).sum();
        for (x, mean) in out[y * cols..(y + 1) * cols].iter_mut().enumerate() {
            if x + radius < cols {
                sum += column[x + radius];
            }
            if x > radius {
                sum -= column[x - radius - 1];
            }
            let wide = cols.min(x + radius + 1) - x.saturating_sub(radius);
            *mean = sum / (high * wide) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;

    fn map(rows: usize, cols: usize, data: Vec<f32>) -> ScoreMap {
        ScoreMap { grid: Grid { rows, cols }, data: Pooled::unpooled(data) }
    }

    fn luma(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Luma {
        let pixels = (0..width * height).map(|i| value(i % width, i / width)).collect();
        Luma { width, height, pixels }
    }

    /// The means over windows, cell by cell.
    fn naive_means(of: &[f64], grid: Grid, radius: usize) -> Vec<f64> {
        let Grid { rows, cols } = grid;
        let mean = |i: usize| {
            let (y, x) = (i / cols, i % cols);
            let (mut sum, mut count) = (0.0, 0.0);
            for y in y.saturating_sub(radius)..rows.min(y + radius + 1) {
                for x in x.saturating_sub(radius)..cols.min(x + radius + 1) {
                    sum += of[y * cols + x];
                    count += 1.0;
                }
            }
            sum / count
        };
        (0..grid.len()).map(mean).collect()
    }

    #[test]
    fn without_reduction_it_is_the_guided_filter_of_the_bilinear_map() {
        let (width, height) = (60, 40);
        let grid = Grid { rows: height, cols: width };
        let scores = map(5, 6, (0..30).map(|i| ((i * 7919) % 23) as f32).collect());
        let picture = luma(width, height, |x, y| ((x * x + 31 * y * (x / 7)) % 251) as u8);
        let mut bilinear = PixelScores::default();
        Upsampler::new().step(&scores, width, height, &mut bilinear);
        let mut got = PixelScores::default();
        GuidedUpsampler::new(0.5, 0.01).step(&scores, &picture, &mut got);
        // Windows of half a cell: 5 pixels.
        let g: Vec<f64> = picture.pixels.iter().map(|v| f64::from(*v) / 255.0).collect();
        let s: Vec<f64> = bilinear.data.iter().map(|v| f64::from(*v)).collect();
        let mean =
            |of: &dyn Fn(usize) -> f64| naive_means(&(0..g.len()).map(of).collect::<Vec<_>>(), grid, 5);
        let (mg, ms) = (mean(&|i| g[i]), mean(&|i| s[i]));
        let (mgs, mgg) = (mean(&|i| g[i] * s[i]), mean(&|i| g[i] * g[i]));
        let a: Vec<f64> =
            (0..g.len()).map(|i| (mgs[i] - mg[i] * ms[i]) / (mgg[i] - mg[i] * mg[i] + 0.01)).collect();
        let b: Vec<f64> = (0..g.len()).map(|i| ms[i] - a[i] * mg[i]).collect();
        let (ma, mb) = (naive_means(&a, grid, 5), naive_means(&b, grid, 5));
        assert_eq!((got.width, got.height), (width, height));
        for (i, got) in got.data.iter().enumerate() {
            let want = (ma[i] * g[i] + mb[i]).clamp(0.0, 22.0);
            assert!((f64::from(*got) - want).abs() < 1e-3, "pixel {i}: {got}, not {want}");
        }
    }

    #[test]
    fn the_score_changes_where_the_picture_does() {
        // A bright thing whose edge lies beside the middle of a patch of 16 pixels, in a picture that is reduced by 2.
        let (width, height, edge) = (640, 320, 336);
        let picture = luma(width, height, |x, _| if x < edge { 60 } else { 200 });
        let score = |i: usize| match i % 40 {
            0..=19 => 1.0,
            20 => 5.0,
            _ => 9.0,
        };
        let scores = map(20, 40, (0..800).map(score).collect());
        let wrong = |pixels: &PixelScores| {
            pixels.data.iter().enumerate().filter(|(i, s)| (i % width >= edge) != (**s > 5.0)).count()
                / height
        };
        let (mut bilinear, mut guided) = (PixelScores::default(), PixelScores::default());
        Upsampler::new().step(&scores, width, height, &mut bilinear);
        let mut upsampler = GuidedUpsampler::new(2.0, 0.001);
        upsampler.step(&scores, &picture, &mut guided);
        assert_eq!((wrong(&bilinear), wrong(&guided)), (8, 0));
        let jump = |pixels: &PixelScores| pixels.data[edge] - pixels.data[edge - 1];
        assert!(jump(&guided) > 10.0 * jump(&bilinear), "{} against {}", jump(&guided), jump(&bilinear));
        assert!(guided.data.iter().all(|s| (1.0..=9.0).contains(s)));
        // In a plain picture it is a smoothed bilinear map; the next picture may have another size.
        let plain = luma(100, 50, |_, _| 128);
        upsampler.step(&map(2, 4, vec![2.0; 8]), &plain, &mut guided);
        assert!(
            (guided.width, guided.height) == (100, 50) && guided.data.iter().all(|s| (s - 2.0).abs() < 1e-4)
        );
    }

    #[test]
    fn what_cannot_be_judged_stays_in_its_own_area() {
        let picture = luma(40, 30, |x, y| (x * 5 + y) as u8);
        let mut upsampler = GuidedUpsampler::new(1.0, 0.001);
        for bad in [f32::INFINITY, f32::NAN] {
            let mut cells = vec![2.0; 12];
            cells[5] = bad;
            let mut out = PixelScores::default();
            upsampler.step(&map(3, 4, cells), &picture, &mut out);
            for (i, score) in out.data.iter().enumerate() {
                let inside = (10..20).contains(&(i / 40)) && (10..20).contains(&(i % 40));
                assert!(
                    if inside { *score == f32::INFINITY } else { (score - 2.0).abs() < 1e-3 },
                    "pixel {i}: {score}"
                );
            }
        }
        let mut out = PixelScores::default();
        upsampler.step(&map(1, 2, vec![f32::NAN; 2]), &picture, &mut out);
        assert!(out.data.iter().all(|s| *s == f32::INFINITY));
        upsampler.step(&ScoreMap::default(), &picture, &mut out);
        assert!(out.data.iter().all(|s| *s == 0.0));
        upsampler.step(&map(1, 2, vec![1.0; 2]), &Luma::default(), &mut out);
        assert!(out.data.is_empty());
    }
}
