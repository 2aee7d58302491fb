//! Reading an output of the model: which numbers belong to which patch, padding and class tokens
//! left out.

use super::placement::Placement;
use crate::grid::{Grid, Patch};
use crate::model::{self, SkipTokens};

/// More tokens at the front than this are no class and register tokens but a misunderstanding.
const MOST_SKIPPED: usize = 64;

/// How an output is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[1, skip + rows * cols, C]`.
    Tokens {
        /// Tokens at the front that are no patches.
        skip: usize,
    },
    /// `[1, C, rows, cols]`.
    Map,
    /// `[1, rows, cols, C]`.
    Cells,
}

/// How the cells of one output are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readout {
    /// Side of a cell in input pixels.
    pub patch: usize,
    /// Whether the last row and column of cells may reach beyond the input: models that pad it there have them.
    pub padded: bool,
    /// Order of the numbers.
    pub layout: Layout,
}

/// One output of one run on an input of this size.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Input and content.
    pub placement: Placement,
    /// What came out.
    pub shape: Vec<i64>,
}

fn sides(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect()
}

impl Readout {
    /// Finds out the layout from runs on one or two input sizes.
    ///
    /// # Errors
    /// If the shapes fit no patch grid, or not the `patch` and `skip` that were configured.
    pub fn find(
        seen: &[Seen],
        patch: Option<usize>,
        skip: SkipTokens,
        hint: Option<usize>,
        order: model::Layout,
    ) -> Result<Readout, String> {
        let Some(first) = seen.first() else {
            return Err("the model was not run".to_owned());
        };
        let (width, height) = (first.placement.width, first.placement.height);
        let shape = &first.shape;
        let failed = |why: &str| Err(format!("its shape is {shape:?} for a {width}x{height} input: {why}"));
        let sides_now = sides(shape);
        let map = match (order, &sides_now[..]) {
            (model::Layout::Nchw, &[1, _, rows, cols]) => Some((rows, cols, Layout::Map)),
            (model::Layout::Nhwc, &[1, rows, cols, _]) => Some((rows, cols, Layout::Cells)),
            _ => None,
        };
        match (map, &sides_now[..]) {
            (Some((rows, cols, layout)), _) if rows > 0 && cols > 0 => {
                if let Some(found) = (Grid { rows, cols }).patch_of(width, height, patch) {
                    return Ok(Readout { patch: found.side, padded: found.padded, layout });
                }
                failed(
                    "that is no map [1, C, rows, cols] of square patches; keys split into heads do not count, take them before the split",
                )
            }
            (None, &[1, tokens, _]) if tokens > 0 => {
                let candidates = match patch {
                    Some(patch) => patch..=patch,
                    None => 1..=width.min(height),
                };
                // Best first: patches that fill the input, those of the patch embedding, fewest left over. Only a known
                // patch may reach beyond the input: among all of them one would always fit.
                let known = |side| patch == Some(side) || hint == Some(side);
                let best = candidates
                    .flat_map(|side| [false, true].map(|padded| Patch { side, padded }))
                    .filter(|one| !one.padded || known(one.side))
                    .filter_map(|cell| {
                        let patch = cell.side;
                        let left = |one: &Seen| {
                            sides(&one.shape).get(1)?.checked_sub(one.placement.input_grid(cell).len())
                        };
                        let over = left(first)?;
                        let constant = seen.iter().all(|one| left(one) == Some(over));
                        let wanted = match skip {
                            SkipTokens::Auto => over <= MOST_SKIPPED,
                            SkipTokens::Count(n) => over == n,
                        };
                        let filled = width.is_multiple_of(patch) && height.is_multiple_of(patch);
                        (constant && wanted).then_some((
                            !filled,
                            hint != Some(patch),
                            over,
                            cell.padded,
                            patch,
                        ))
                    })
                    .min();
                match best {
                    Some((_, _, skip, padded, patch)) => {
                        Ok(Readout { patch, padded, layout: Layout::Tokens { skip } })
                    }
                    None => failed(
                        "no patch size and number of leading tokens explain that; check `patch` and `skip_tokens`",
                    ),
                }
            }
            _ => failed("tokens [1, N, C] or a map [1, C, rows, cols] are needed"),
        }
    }

    fn cell(&self) -> Patch {
        Patch { side: self.patch, padded: self.padded }
    }

    /// Numbers per cell in an output of this `shape`.
    ///
    /// # Errors
    /// If the shape is not what an input of this `placement` must give.
    pub fn width(&self, shape: &[i64], placement: &Placement) -> Result<usize, String> {
        let Grid { rows, cols } = placement.input_grid(self.cell());
        match (self.layout, &sides(shape)[..]) {
            (Layout::Map, &[1, width, h, w]) if (h, w) == (rows, cols) => Ok(width),
            (Layout::Cells, &[1, h, w, width]) if (h, w) == (rows, cols) => Ok(width),
            (Layout::Tokens { skip }, &[1, n, width]) if n == skip + rows * cols => Ok(width),
            _ => Err(format!(
                "its shape is {shape:?} for a {}x{} input, not that of {rows}x{cols} patches",
                placement.width, placement.height
            )),
        }
    }

    /// Where the numbers of the cells that the picture covers begin and how many there are, if they lie one after another in
    /// the output, cell by cell, so that nothing has to be copied.
    pub fn in_place(&self, width: usize, placement: &Placement) -> Option<(usize, usize)> {
        let (grid, whole) = (placement.grid(self.patch), placement.input_grid(self.cell()));
        let first = match self.layout {
            Layout::Tokens { skip } => skip,
            Layout::Cells => 0,
            Layout::Map => return None,
        };
        (grid.cols == whole.cols && !grid.is_empty()).then_some((first * width, grid.len() * width))
    }

    /// Copies the cells that the picture covers, `grid x C`, cell by cell. Returns grid and C.
    ///
    /// # Errors
    /// As [`Readout::width`].
    pub fn cell_major(
        &self,
        shape: &[i64],
        data: &[f32],
        placement: &Placement,
        out: &mut Vec<f32>,
    ) -> Result<(Grid, usize), String> {
        let width = self.width(shape, placement)?;
        let (grid, whole) = (placement.grid(self.patch), placement.input_grid(self.cell()));
        out.resize(grid.len() * width, 0.0);
        if out.is_empty() {
            return Ok((grid, width));
        }
        for (r, row) in out.chunks_exact_mut(grid.cols * width).enumerate() {
            match self.layout {
                Layout::Tokens { skip } => {
                    let start = (skip + r * whole.cols) * width;
                    row.copy_from_slice(&data[start..start + row.len()]);
                }
                Layout::Cells => {
                    let start = r * whole.cols * width;
                    row.copy_from_slice(&data[start..start + row.len()]);
                }
                Layout::Map => transpose(&data[r * whole.cols..], whole.len(), grid.cols, width, row),
            }
        }
        Ok((grid, width))
    }

    /// Copies the cells that the picture covers, `C x grid`, channel by channel. Returns grid and C.
    ///
    /// # Errors
    /// As [`Readout::width`].
    pub fn channel_major(
        &self,
        shape: &[i64],
        data: &[f32],
        placement: &Placement,
        out: &mut Vec<f32>,
    ) -> Result<(Grid, usize), String> {
        let width = self.width(shape, placement)?;
        let (grid, whole) = (placement.grid(self.patch), placement.input_grid(self.cell()));
        out.resize(grid.len() * width, 0.0);
        if out.is_empty() {
            return Ok((grid, width));
        }
        for (i, row) in out.chunks_exact_mut(grid.cols).enumerate() {
            let (channel, r) = (i / grid.rows, i % grid.rows);
            match self.layout {
                Layout::Map => {
                    let start = channel * whole.len() + r * whole.cols;
                    row.copy_from_slice(&data[start..start + grid.cols]);
                }
                Layout::Tokens { .. } | Layout::Cells => {
                    let skip = if let Layout::Tokens { skip } = self.layout { skip } else { 0 };
                    let tokens = data[(skip + r * whole.cols) * width..].chunks_exact(width);
                    row.iter_mut().zip(tokens).for_each(|(to, token)| *to = token[channel]);
                }
            }
        }
        Ok((grid, width))
    }
}

/// `cols` cells of `width` channels that lie `plane` apart, to cell by cell. In blocks of 16
/// channels, so that each read stream and each written line stays in the cache.
fn transpose(data: &[f32], plane: usize, cols: usize, width: usize, out: &mut [f32]) {
    const BLOCK: usize = 16;
    for first in (0..width).step_by(BLOCK) {
        let many = BLOCK.min(width - first);
        for (x, cell) in out.chunks_exact_mut(width).take(cols).enumerate() {
            for (c, to) in cell[first..first + many].iter_mut().enumerate() {
                *to = data[(first + c) * plane + x];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(width: usize, height: usize) -> Placement {
        Placement { width, height, content_width: width, content_height: height }
    }

    fn seen(width: usize, height: usize, shape: &[i64]) -> Seen {
        Seen { placement: whole(width, height), shape: shape.to_vec() }
    }

    #[test]
    fn layouts_are_found_from_shapes() {
        let tokens = |patch, skip| Ok(Readout { patch, padded: false, layout: Layout::Tokens { skip } });
        let map = |patch| Ok(Readout { patch, padded: false, layout: Layout::Map });
        let padded = |patch, layout| Ok(Readout { patch, padded: true, layout });
        let auto = SkipTokens::Auto;
        let cases = [
            (vec![seen(224, 224, &[1, 257, 384]), seen(448, 224, &[1, 513, 384])], None, auto, tokens(14, 1)),
            (vec![seen(224, 224, &[1, 261, 384]), seen(448, 224, &[1, 517, 384])], None, auto, tokens(14, 5)),
            (vec![seen(768, 384, &[1, 1152, 192])], None, auto, tokens(16, 0)),
            (vec![seen(230, 230, &[1, 257, 8])], Some(14), auto, tokens(14, 1)),
            (vec![seen(224, 224, &[1, 257, 384])], None, SkipTokens::Count(1), tokens(14, 1)),
            (vec![seen(1024, 512, &[1, 128, 64, 128])], None, auto, map(8)),
            (vec![seen(1024, 512, &[1, 64, 32, 64])], Some(16), auto, map(16)),
            (vec![seen(1024, 512, &[1, 64, 32, 64])], Some(8), auto, Err(())),
            // 360 rows are 11 patches of 32 and a quarter of one.
            (vec![seen(640, 360, &[1, 64, 12, 20])], None, auto, padded(32, Layout::Map)),
            (vec![seen(640, 360, &[1, 64, 12, 20])], Some(32), auto, padded(32, Layout::Map)),
            (vec![seen(640, 360, &[1, 64, 11, 20])], None, auto, map(32)),
            (vec![seen(640, 360, &[1, 921, 8])], Some(16), auto, padded(16, Layout::Tokens { skip: 1 })),
            (vec![seen(1024, 512, &[1, 6, 2048, 64])], None, auto, Err(())),
            (vec![seen(224, 224, &[1, 257, 384])], None, SkipTokens::Count(4), Err(())),
            (vec![seen(224, 224, &[1, 1000])], None, auto, Err(())),
            (vec![seen(224, 224, &[2, 256, 8])], None, auto, Err(())),
            (vec![seen(224, 224, &[1, 0, 8])], None, auto, Err(())),
        ];
        for (runs, patch, skip, expected) in cases {
            let found = Readout::find(&runs, patch, skip, None, model::Layout::Nchw).map_err(|_why| ());
            assert_eq!(found, expected, "{runs:?} {patch:?} {skip:?}");
        }
    }

    /// Token and map hold the same numbers; both read-outs of both give the same picture.
    #[test]
    fn padding_and_class_tokens_are_cut_off() {
        let (whole, width, skip) = (Grid { rows: 3, cols: 4 }, 19, 2);
        let place = Placement { width: 32, height: 24, content_width: 24, content_height: 16 };
        let value = |cell: usize, c: usize| (cell * 100 + c) as f32;
        let tokens: Vec<f32> = (0..skip * width)
            .map(|_| -1.0)
            .chain((0..12).flat_map(|cell| (0..width).map(move |c| value(cell, c))))
            .collect();
        let cells_first = tokens[skip * width..].to_vec();
        let map: Vec<f32> = (0..width).flat_map(|c| (0..12).map(move |cell| value(cell, c))).collect();
        let cells = [0, 1, 2, 4, 5, 6];
        let by_cell: Vec<f32> =
            cells.iter().flat_map(|&cell| (0..width).map(move |c| value(cell, c))).collect();
        let by_channel: Vec<f32> =
            (0..width).flat_map(|c| cells.iter().map(move |&cell| value(cell, c))).collect();
        let layouts = [
            (Layout::Cells, vec![1, whole.rows as i64, whole.cols as i64, width as i64], &cells_first),
            (Layout::Tokens { skip }, vec![1, 14, width as i64], &tokens),
            (Layout::Map, vec![1, width as i64, whole.rows as i64, whole.cols as i64], &map),
        ];
        for (layout, shape, data) in layouts {
            let readout = Readout { patch: 8, padded: false, layout };
            let mut out = vec![9.0; 3];
            let grid = Grid { rows: 2, cols: 3 };
            assert_eq!(readout.cell_major(&shape, data, &place, &mut out), Ok((grid, width)));
            assert_eq!(out, by_cell, "{layout:?}");
            assert_eq!(readout.channel_major(&shape, data, &place, &mut out), Ok((grid, width)));
            assert_eq!(out, by_channel, "{layout:?}");
            assert!(readout.width(&shape[..2], &place).is_err());
            assert_eq!(readout.in_place(width, &place), None, "{layout:?}: columns are cut off");
            // Rows at the bottom may be.
            let place = Placement { content_width: 32, ..place };
            assert_eq!(
                readout.cell_major(&shape, data, &place, &mut out).unwrap().0,
                Grid { rows: 2, cols: 4 }
            );
            match readout.in_place(width, &place) {
                Some((first, count)) => assert_eq!(data[first..first + count], out, "{layout:?}"),
                None => assert_eq!(layout, Layout::Map),
            }
        }
    }
}
