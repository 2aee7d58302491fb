//! Which windows of the picture the views look at.

use super::{Blend, Crop, Tiles, View, ViewsConfig, Window};

/// One view with its tiles in place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// All that it covers.
    pub crop: Window,
    /// Left and right edge of each column of tiles, from left to right, in shares of the picture.
    pub(super) columns: Vec<(f64, f64)>,
    /// Top and bottom edge of each row of tiles.
    pub(super) rows: Vec<(f64, f64)>,
    /// Share of a tile over which its weight rises from its border.
    pub(super) overlap: f64,
    /// Weight beside the whole picture's.
    pub(super) weight: f64,
    /// Input height of each tile in pixels, if not that of the model's rule.
    pub height: Option<usize>,
}

/// All views beside the whole picture, in the order of the configuration; tiles row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The views.
    pub views: Vec<Placed>,
    pub(super) combine: Blend,
}

impl Layout {
    /// The layout of a configuration that was checked; `None` if there is but the whole picture.
    pub fn of(config: &ViewsConfig) -> Option<Layout> {
        let views: Vec<Placed> = config.more.iter().map(Placed::of).collect();
        (!views.is_empty()).then_some(Layout { views, combine: config.combine })
    }

    /// Number of all windows: so many runs of the model.
    pub fn len(&self) -> usize {
        self.views.iter().map(Placed::len).sum()
    }

    /// True without any window.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All windows in their order, with the view that each belongs to.
    pub fn windows(&self) -> impl Iterator<Item = (&Placed, Window)> {
        self.views.iter().flat_map(|view| view.windows().map(move |window| (view, window)))
    }

    /// `items`, one for each window, view by view.
    pub fn by_view<'a, T>(&'a self, items: &'a [T]) -> impl Iterator<Item = (&'a Placed, &'a [T])> {
        let mut rest = items;
        self.views.iter().map(move |view| {
            let (own, others) = rest.split_at(view.len().min(rest.len()));
            rest = others;
            (view, own)
        })
    }
}

impl Placed {
    fn of(view: &View) -> Placed {
        let View { crop: Crop([left, top, right, bottom]), tiles: Tiles { cols, rows }, .. } = *view;
        Placed {
            crop: view.crop.window(),
            columns: cut(left, right, cols, view.overlap),
            rows: cut(top, bottom, rows, view.overlap),
            overlap: view.overlap,
            weight: view.weight,
            height: view.height,
        }
    }

    /// Number of its tiles.
    pub fn len(&self) -> usize {
        self.columns.len() * self.rows.len()
    }

    /// Never: a view has one tile at least.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its tiles, row by row.
    pub fn windows(&self) -> impl Iterator<Item = Window> {
        self.rows.iter().flat_map(|&(top, bottom)| {
            self.columns.iter().map(move |&(left, right)| Window { left, top, right, bottom })
        })
    }

    /// Whether it shows all of the picture.
    pub fn is_whole(&self) -> bool {
        self.crop == Window::WHOLE
    }
}

/// `from..to` cut into `count` pieces of equal length, of which neighbours share `overlap` of that length.
fn cut(from: f64, to: f64, count: usize, overlap: f64) -> Vec<(f64, f64)> {
    let length = (to - from) / (count as f64 - (count as f64 - 1.0) * overlap);
    let start = |piece: usize| from + piece as f64 * length * (1.0 - overlap);
    // The last edge exactly, so that nothing at the border of the picture is left out by rounding.
    let end = |piece: usize| if piece + 1 == count { to } else { start(piece) + length };
    (0..count).map(|piece| (start(piece), end(piece))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_crop_and_overlap_by_the_share() {
        for (count, overlap) in [(1, 0.25), (2, 0.25), (3, 0.0), (5, 0.4), (4, 0.8)] {
            let tiles = cut(0.2, 0.8, count, overlap);
            assert_eq!((tiles[0].0, tiles[count - 1].1), (0.2, 0.8), "{count} by {overlap}");
            let length = tiles[0].1 - tiles[0].0;
            for pair in tiles.windows(2) {
                assert!((pair[1].1 - pair[1].0 - length).abs() < 1e-12);
                assert!((pair[0].1 - pair[1].0 - overlap * length).abs() < 1e-12, "{count} by {overlap}");
            }
        }
    }

    #[test]
    fn windows_go_row_by_row_and_view_by_view() {
        let more = vec![
            View { tiles: Tiles { cols: 2, rows: 2 }, overlap: 0.0, ..View::default() },
            View { height: Some(64), ..View::default() },
        ];
        let layout = Layout::of(&ViewsConfig { more, ..ViewsConfig::default() }).unwrap();
        let starts: Vec<_> = layout.windows().map(|(_, window)| (window.left, window.top)).collect();
        assert_eq!(starts, [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.0, 0.0)]);
        let items: Vec<usize> = (0..layout.len()).collect();
        let grouped: Vec<&[usize]> = layout.by_view(&items).map(|(_, own)| own).collect();
        assert_eq!(grouped, [&[0, 1, 2, 3][..], &[4]]);
        assert!(Layout::of(&ViewsConfig::default()).is_none());
    }
}
