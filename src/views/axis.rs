//! Along one axis of the merged map: which cells of a view's tiles lie where, and what they weigh.

/// Weight of a tile at its very border. Not 0, so that weights can always be divided by their sum.
const LEAST: f64 = 1e-6;
/// Cell centres that rounding moves out of their tile by less than this still lie in it.
const ROUNDING: f64 = 1e-9;

/// One cell of the merged map, seen from a tile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// The cell of the merged map.
    pub(super) cell: usize,
    /// The tile's cell before it, and the share of the next one: bilinear interpolation between cell centres, clamped
    /// at the tile's border.
    pub(super) before: usize,
    pub(super) share: f32,
    /// Weight of the tile; over all tiles of the axis these sum to 1.
    pub(super) weight: f32,
}

impl Place {
    /// The cell after the one before, in a tile of `cells`.
    pub(super) fn after(&self, cells: usize) -> usize {
        (self.before + 1).min(cells - 1)
    }
}

/// Tiles of one view along one axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// Of each tile, the cells of the merged map whose centres lie in it.
    pub(super) tiles: Vec<Vec<Place>>,
    /// Of each cell of the merged map, how far the view covers it: 0 outside, rising to 1 inside of it.
    pub(super) cover: Vec<f32>,
}

impl Axis {
    /// `pieces` are the edges of the tiles in shares of the picture, `grids` their numbers of cells; `count` the
    /// cells of the merged map. Weights rise over `overlap` of a tile's length.
    pub(super) fn new(pieces: &[(f64, f64)], grids: &[usize], count: usize, overlap: f64) -> Axis {
        let (first, last) = (pieces[0].0, pieces[pieces.len() - 1].1);
        let centre = |cell: usize| (cell as f64 + 0.5) / count as f64;
        let rise = |away: f64, length: f64| match overlap * length {
            ramp if ramp > 0.0 => (away / ramp).clamp(LEAST, 1.0),
            _ => 1.0,
        };
        let weight = |(from, to): (f64, f64), at: f64| {
            if at < from - ROUNDING || at > to + ROUNDING {
                return 0.0;
            }
            let left = if from > first { rise(at - from, to - from) } else { 1.0 };
            let right = if to < last { rise(to - at, to - from) } else { 1.0 };
            left.min(right)
        };
        let sums: Vec<f64> =
            (0..count).map(|cell| pieces.iter().map(|piece| weight(*piece, centre(cell))).sum()).collect();
        let tile = |(piece, cells): (&(f64, f64), &usize)| {
            let place = |cell: usize| {
                let (at, (from, to)) = (centre(cell), *piece);
                let own = weight(*piece, at);
                if own <= 0.0 {
                    return None;
                }
                let place = ((at - from) / (to - from) * *cells as f64 - 0.5).clamp(0.0, *cells as f64 - 1.0);
                let before = (place as usize).min(cells.saturating_sub(2));
                let (share, weight) = ((place - before as f64) as f32, (own / sums[cell]) as f32);
                Some(Place { cell, before, share, weight })
            };
            (0..count).filter_map(place).collect()
        };
        let length = pieces[0].1 - pieces[0].0;
        let cover = |cell: usize| {
            let at = centre(cell);
            if at < first - ROUNDING || at > last + ROUNDING {
                return 0.0;
            }
            let left = if first > 0.0 { rise(at - first, length) } else { 1.0 };
            let right = if last < 1.0 { rise(last - at, length) } else { 1.0 };
            left.min(right) as f32
        };
        Axis { tiles: pieces.iter().zip(grids).map(tile).collect(), cover: (0..count).map(cover).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_wherever_the_view_reaches() {
        for (pieces, overlap) in [
            (vec![(0.0, 1.0)], 0.25),
            (vec![(0.0, 0.5), (0.5, 1.0)], 0.0),
            (vec![(0.0, 4.0 / 7.0), (3.0 / 7.0, 1.0)], 0.25),
            (vec![(0.1, 0.5), (0.2, 0.6), (0.3, 0.7)], 0.75),
        ] {
            for count in [1, 7, 46, 101] {
                let axis = Axis::new(&pieces, &vec![9; pieces.len()], count, overlap);
                let mut sums = vec![0.0f32; count];
                axis.tiles.iter().flatten().for_each(|place| sums[place.cell] += place.weight);
                for (cell, (sum, cover)) in sums.iter().zip(&axis.cover).enumerate() {
                    let reached = *cover > 0.0;
                    assert!((sum - f32::from(reached)).abs() < 1e-5, "{pieces:?}, cell {cell}: {sum}");
                }
            }
        }
    }

    #[test]
    fn weights_rise_linearly_towards_the_inside() {
        // Two tiles of 4/7 that share 1/7, between 3/7 and 4/7.
        let axis = Axis::new(&[(0.0, 4.0 / 7.0), (3.0 / 7.0, 1.0)], &[4, 4], 70, 0.25);
        let left = |cell: usize| axis.tiles[0].iter().find(|p| p.cell == cell).map_or(0.0, |p| p.weight);
        for cell in 0..70 {
            let at = (cell as f64 + 0.5) / 70.0;
            let want = ((4.0 / 7.0 - at) * 7.0).clamp(0.0, 1.0) as f32;
            assert!((left(cell) - want).abs() < 1e-4, "cell {cell}: {}, not {want}", left(cell));
        }
        // A crop of half the picture fades in over a quarter of its length.
        let crop = Axis::new(&[(0.25, 0.75)], &[4], 80, 0.25);
        assert_eq!((crop.cover[19], crop.cover[60], crop.cover[40]), (0.0, 0.0, 1.0));
        assert!((crop.cover[24] - 0.45).abs() < 1e-5, "{}", crop.cover[24]);
        // At the picture's own border nothing fades.
        assert_eq!(Axis::new(&[(0.0, 0.5)], &[4], 8, 0.5).cover[0], 1.0);
    }
}
