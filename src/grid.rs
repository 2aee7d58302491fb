//! Arrays that know their patch grid: features, logits, distances and score maps.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::gpu_stream::GpuNumbers;
use crate::pool::Pooled;
use crate::views::Window;

/// Rows and columns of patches that cover the whole picture, padding excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
}

impl Grid {
    /// Number of patches.
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// True without any patch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The square patches, of this `side` if it is known, that give a `width x height` input this grid. Of several that
    /// fit, those that divide the input come first, then sides that networks have: powers of two, divisors of a side.
    /// Cells that reach beyond the input need such a reason, since among all sides one nearly always fits.
    pub fn patch_of(self, width: usize, height: usize, side: Option<usize>) -> Option<Patch> {
        let sides = side.map_or(1..=width.max(height), |side| side..=side);
        sides
            .filter(|&side| side > 0 && !self.is_empty())
            .flat_map(|side| [false, true].map(|padded| Patch { side, padded }))
            .filter(|one| one.grid(width, height) == self)
            .map(|one| {
                let divides = [width, height].map(|pixels| pixels.is_multiple_of(one.side));
                let usual = divides.contains(&true) || one.side.is_power_of_two();
                ((divides != [true; 2], !usual, one.padded, std::cmp::Reverse(one.side)), one)
            })
            .filter(|((_, unusual, padded, _), _)| side.is_some() || !(*unusual && *padded))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, one)| one)
    }

    /// Pixels of a `width x height` input from one row to the next, the nearest whole number where patches are not square.
    pub fn stride(self, width: usize, height: usize) -> usize {
        let nearest = (height + self.rows / 2) / self.rows.max(1);
        self.patch_of(width, height, None).map_or(nearest, |patch| patch.side)
    }
}

/// The pixels of a model's input that one cell of a grid stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patch {
    /// Side in pixels.
    pub side: usize,
    /// Whether the last row and column may reach beyond the input: models that pad it there have such cells. Else the
    /// pixels that are too few for a whole patch belong to none.
    pub padded: bool,
}

impl Patch {
    /// The grid of a `width x height` input.
    pub fn grid(self, width: usize, height: usize) -> Grid {
        let side = self.side.max(1);
        let cells = |pixels: usize| if self.padded { pixels.div_ceil(side) } else { pixels / side };
        Grid { rows: cells(height), cols: cells(width) }
    }
}

/// The features of one frame: one vector per patch, row by row.
#[derive(Debug, Clone, Default)]
pub struct Features {
    /// The patches.
    pub grid: Grid,
    /// Numbers per patch, C.
    pub width: usize,
    /// `grid.len() x width` numbers; none if they are on a GPU.
    pub data: Pooled<Vec<f32>>,
    /// The same numbers in a GPU's memory, where that is the only place that has them.
    pub on_gpu: Option<Arc<GpuNumbers>>,
}

impl Features {
    /// How many numbers there are, wherever they are.
    pub fn numbers(&self) -> usize {
        self.on_gpu.as_ref().map_or(self.data.len(), |numbers| numbers.len())
    }

    /// The same features with their numbers on the host: themselves, or `copy`, which is overwritten, if they have to be
    /// read back.
    ///
    /// # Errors
    /// If the GPU does not give them back.
    pub fn on_host<'a>(&'a self, copy: &'a mut Features) -> Result<&'a Features, String> {
        let Some(numbers) = &self.on_gpu else { return Ok(self) };
        (copy.grid, copy.width) = (self.grid, self.width);
        numbers
            .read(&mut copy.data)
            .map_err(|why| format!("the features cannot be read back from the GPU: {why}"))?;
        Ok(copy)
    }
}

/// What the numbers of [`Logits`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogitsKind {
    /// Scores that a softmax makes probabilities of.
    Classes,
    /// Of a mask classifier: sums over its queries of class probability times mask, "nothing" left out.
    Masks,
}

/// Class logits of one frame, `classes x rows x cols`, covering the whole picture.
#[derive(Debug, Clone, Default)]
pub struct Logits {
    /// Number of classes.
    pub classes: usize,
    /// Their own grid, often finer than that of the features.
    pub grid: Grid,
    /// `classes x grid.len()` numbers, class by class.
    pub data: Pooled<Vec<f32>>,
}

impl Logits {
    /// The class of each patch of `grid`, which covers the same picture: the largest logit (of equal ones the first)
    /// of the cell at the patch's centre.
    pub fn patch_classes(&self, grid: Grid, out: &mut Vec<u16>) {
        out.clear();
        out.extend((0..grid.len()).map(|patch| {
            let (row, col) = (patch / grid.cols, patch % grid.cols);
            let r = (2 * row + 1) * self.grid.rows / (2 * grid.rows);
            let c = (2 * col + 1) * self.grid.cols / (2 * grid.cols);
            self.class_of(r, c)
        }));
    }

    /// The same for patches that cover but the part of the picture in `window`.
    pub fn patch_classes_in(&self, window: Window, grid: Grid, out: &mut Vec<u16>) {
        let at = |start: f64, length: f64, patch: usize, patches: usize, cells: usize| {
            let share = start + (patch as f64 + 0.5) / patches as f64 * length;
            ((share * cells as f64) as usize).min(cells.saturating_sub(1))
        };
        out.clear();
        out.extend((0..grid.len()).map(|patch| {
            let (row, col) = (patch / grid.cols, patch % grid.cols);
            let r = at(window.top, window.height(), row, grid.rows, self.grid.rows);
            let c = at(window.left, window.width(), col, grid.cols, self.grid.cols);
            self.class_of(r, c)
        }));
    }

    /// The class with the largest logit in a cell, of equal ones the first.
    fn class_of(&self, row: usize, col: usize) -> u16 {
        let (cells, cell) = (self.grid.len(), row * self.grid.cols + col);
        let mut best = (f32::NEG_INFINITY, 0);
        for class in 0..self.classes {
            let logit = self.data.get(class * cells + cell).copied().unwrap_or(f32::NAN);
            if logit > best.0 {
                best = (logit, class as u16);
            }
        }
        best.1
    }
}

/// Per patch: mean L2 distance (unsquared) to the k nearest reference features.
#[derive(Debug, Clone, Default)]
pub struct Distances {
    /// The patches.
    pub grid: Grid,
    /// `grid.len()` distances.
    pub data: Pooled<Vec<f32>>,
}

/// Anomaly scores, higher = more out of distribution, on a grid that covers the whole picture.
/// The score of a pixel is the bilinear interpolation between cell centres.
#[derive(Debug, Clone, Default)]
pub struct ScoreMap {
    /// The cells.
    pub grid: Grid,
    /// `grid.len()` scores.
    pub data: Pooled<Vec<f32>>,
}

/// A score map interpolated to the pixels of its frame.
#[derive(Debug, Clone, Default)]
pub struct PixelScores {
    /// Frame width in pixels.
    pub width: usize,
    /// Frame height in pixels.
    pub height: usize,
    /// `height x width` scores, row by row.
    pub data: Pooled<Vec<f32>>,
}

/// Whether one size (width, height in pixels) is the other, scaled: sides may miss the exact aspect ratio by the pixel
/// that rounding costs.
pub fn same_shape((w, h): (usize, usize), (other_w, other_h): (usize, usize)) -> bool {
    // The height that the other's width would have at this aspect ratio, and the reverse.
    let scaled = |a: usize, b: usize, c: usize| (a * b + c / 2) / c.max(1);
    scaled(h, other_w, w).abs_diff(other_h) <= 1 || scaled(w, other_h, h).abs_diff(other_w) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_size_is_the_same_shape() {
        for (image, mask, same) in [
            ((1280, 720), (640, 360), true),
            ((2048, 1024), (2048, 1024), true),
            ((1281, 720), (640, 360), true),
            ((1280, 720), (720, 1280), false),
            ((1280, 720), (1280, 700), false),
        ] {
            assert_eq!(same_shape(image, mask), same, "{image:?} {mask:?}");
        }
    }

    #[test]
    fn patches_are_found_where_pixels_are_left_over() {
        // Side as it is, width, height, whether the last cells reach beyond the input.
        for (side, width, height, padded) in [
            (32, 640, 360, true),
            (32, 960, 540, true),
            (32, 800, 600, true),
            (64, 1920, 1080, true),
            (32, 480, 270, false),
            (64, 1280, 720, false),
            (14, 225, 225, false),
            (14, 644, 364, false),
            (16, 768, 384, false),
        ] {
            let patch = Patch { side, padded };
            let grid = patch.grid(width, height);
            let found = grid.patch_of(width, height, None).unwrap();
            assert_eq!((found.side, found.grid(width, height)), (side, grid), "{width}x{height}");
            assert_eq!(grid.patch_of(width, height, Some(side)).map(|one| one.side), Some(side));
            assert_eq!(grid.stride(width, height), side);
        }
        assert_eq!(
            Grid { rows: 12, cols: 12 }.patch_of(360, 360, Some(32)),
            Some(Patch { side: 32, padded: true })
        );
        assert_eq!(Grid { rows: 6, cols: 2048 }.patch_of(1024, 512, None), None);
    }
}
