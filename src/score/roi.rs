//! The region of interest: where alarms count. Polygons, the road as the model sees it, or both.

use serde::{Deserialize, Serialize};

use super::road::Road;
use crate::grid::{Grid, Logits};

/// Corners in shares of the picture's width and height, from the top left.
pub type Polygon = Vec<[f32; 2]>;

/// One polygon or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "roi is a list of corners [x, y] from 0 to 1, or a list of such lists")]
pub enum Polygons {
    /// One.
    One(Polygon),
    /// Their union.
    Many(Vec<Polygon>),
}

impl Polygons {
    /// All of them.
    pub fn all(&self) -> &[Polygon] {
        match self {
            Polygons::One(one) => std::slice::from_ref(one),
            Polygons::Many(many) => many,
        }
    }

    /// What is wrong with them.
    ///
    /// # Errors
    /// Fewer than three corners, or one that is not within the picture.
    pub fn check(&self) -> Result<(), String> {
        for polygon in self.all() {
            if polygon.len() < 3 {
                return Err(format!("score.roi has a polygon of {} corners, give at least 3", polygon.len()));
            }
            if let Some([x, y]) = polygon.iter().find(|c| !c.iter().all(|v| (0.0..=1.0).contains(v))) {
                return Err(format!(
                    "score.roi has a corner at [{x}, {y}]; corners are shares of the picture's width and height, 0 to 1"
                ));
            }
        }
        Ok(())
    }
}

/// Tells which pixels count; keeps its buffers from frame to frame.
#[derive(Debug, Clone)]
pub struct Roi {
    polygons: Vec<Polygon>,
    /// The road, and by how much of the picture's height it is widened.
    road: Option<(Road, f32)>,
    size: (usize, usize),
    /// The pixels within the polygons.
    inside: Vec<bool>,
    /// Spare cells for widening it.
    widened: Vec<bool>,
    mask: Vec<bool>,
}

impl Roi {
    /// Pixels within one of `polygons` (all, without any) that are also on the road: where one of these classes is
    /// the likeliest, or between such cells of a row (a thing on the road), or at most `margin` of the picture's
    /// height away.
    pub fn new(polygons: &[Polygon], road: Option<(Vec<usize>, f32)>) -> Roi {
        Roi {
            polygons: polygons.to_vec(),
            road: road.map(|(classes, margin)| (Road::new(classes), margin)),
            size: (0, 0),
            inside: Vec::new(),
            widened: Vec::new(),
            mask: Vec::new(),
        }
    }

    /// Whether it looks at logits.
    pub fn needs_logits(&self) -> bool {
        self.road.is_some()
    }

    /// For each of `width` x `height` pixels, row by row, whether it counts. Without logits the polygons alone
    /// decide.
    pub fn step(&mut self, logits: Option<&Logits>, width: usize, height: usize) -> &[bool] {
        self.step_moved(logits, [0.0, 0.0], width, height)
    }

    /// The same with logits of an earlier frame: what is at x, y now was at x + dx, y + dy there.
    pub fn step_moved(
        &mut self,
        logits: Option<&Logits>,
        [dx, dy]: [f32; 2],
        width: usize,
        height: usize,
    ) -> &[bool] {
        if self.size != (width, height) {
            self.size = (width, height);
            fill(&self.polygons, width, height, &mut self.inside);
        }
        let (Some((road, margin)), Some(logits)) = (&mut self.road, logits.filter(|l| !l.grid.is_empty()))
        else {
            return &self.inside;
        };
        let grid = logits.grid;
        let cells = road.step(logits);
        let reach = |cells: usize, pixels: usize| {
            (*margin * height as f32 * cells as f32 / pixels.max(1) as f32).ceil() as usize
        };
        widen(grid, (reach(grid.cols, width), reach(grid.rows, height)), cells, &mut self.widened);
        self.mask.clear();
        // What has come into the picture since is taken for what was at its edge.
        let then = |at: usize, by: f32, length: usize| {
            (at as f32 + by).round().clamp(0.0, length.saturating_sub(1) as f32) as usize
        };
        for (y, inside) in self.inside.chunks_exact(width.max(1)).enumerate() {
            let cells = &cells[then(y, dy, height) * grid.rows / height * grid.cols..][..grid.cols];
            let counts =
                |(x, inside): (usize, &bool)| *inside && cells[then(x, dx, width) * grid.cols / width];
            self.mask.extend(inside.iter().enumerate().map(counts));
        }
        &self.mask
    }
}

/// Marks the pixels whose middle lies within a polygon or on its left edge, by the even-odd rule; all of them without a polygon.
fn fill(polygons: &[Polygon], width: usize, height: usize, out: &mut Vec<bool>) {
    out.clear();
    out.resize(width * height, polygons.is_empty());
    let mut crossings: Vec<f32> = Vec::new();
    for polygon in polygons {
        for (y, row) in out.chunks_exact_mut(width.max(1)).enumerate() {
            let middle = (y as f32 + 0.5) / height as f32;
            crossings.clear();
            for (from, to) in polygon.iter().zip(polygon.iter().cycle().skip(1)) {
                if (from[1] <= middle) != (to[1] <= middle) {
                    let share = (middle - from[1]) / (to[1] - from[1]);
                    crossings.push(from[0] + (to[0] - from[0]) * share);
                }
            }
            crossings.sort_by(f32::total_cmp);
            for pair in crossings.as_chunks::<2>().0 {
                let pixel = |x: f32| (x * width as f32 - 0.5).ceil().clamp(0.0, width as f32) as usize;
                row[pixel(pair[0])..pixel(pair[1])].fill(true);
            }
        }
    }
}

/// Marks what is at most so many columns and rows away from a marked cell.
fn widen(grid: Grid, (columns, rows): (usize, usize), cells: &mut [bool], spare: &mut Vec<bool>) {
    let cols = grid.cols;
    spare.clear();
    spare.resize(cells.len(), false);
    for (row, out) in cells.chunks_exact(cols.max(1)).zip(spare.chunks_exact_mut(cols.max(1))) {
        for at in row.iter().enumerate().filter(|(_, c)| **c).map(|(at, _)| at) {
            out[at.saturating_sub(columns)..cols.min(at + columns + 1)].fill(true);
        }
    }
    cells.fill(false);
    for (y, row) in spare.chunks_exact(cols.max(1)).enumerate() {
        for near in y.saturating_sub(rows)..grid.rows.min(y + rows + 1) {
            cells[near * cols..(near + 1) * cols].iter_mut().zip(row).for_each(|(cell, c)| *cell |= c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;

    fn picture(mask: &[bool], width: usize) -> Vec<String> {
        mask.chunks(width).map(|row| row.iter().map(|c| if *c { '#' } else { '.' }).collect()).collect()
    }

    #[test]
    fn polygons_are_filled_by_the_middles_of_pixels() {
        let mut roi = Roi::new(&[vec![[0.0, 1.0], [0.5, 0.0], [1.0, 1.0]]], None);
        assert_eq!(picture(roi.step(None, 8, 4), 8), ["...#....", "..###...", ".#####..", "#######."]);
        // Another size, two polygons, one of them concave.
        let horseshoe = vec![
            [0.0, 0.0],
            [0.25, 0.0],
            [0.25, 0.75],
            [0.75, 0.75],
            [0.75, 0.0],
            [1.0, 0.0],
            [1.0, 1.0],
            [0.0, 1.0],
        ];
        let mut roi = Roi::new(&[horseshoe, vec![[0.4, 0.1], [0.6, 0.1], [0.6, 0.5], [0.4, 0.5]]], None);
        assert_eq!(picture(roi.step(None, 8, 4), 8), ["##.##.##", "##.##.##", "##....##", "########"]);
        assert_eq!(picture(roi.step(None, 4, 4), 4), ["#..#", "#..#", "#..#", "####"]);
        assert!(Roi::new(&[], None).step(None, 3, 3).iter().all(|c| *c));
        assert!(roi.step(None, 0, 0).is_empty());
    }

    #[test]
    fn the_road_holds_what_stands_on_it() {
        // Class 1 is road: the lower rows, with a hole.
        let seen = ["......", "......", "..##..", ".#..#.", "######"];
        let grid = Grid { rows: 5, cols: 6 };
        let road: Vec<bool> = seen.iter().flat_map(|row| row.bytes().map(|c| c == b'#')).collect();
        let data = (0..3).flat_map(|class| {
            road.iter().map(move |on| match (class, on) {
                (1, true) => 2.0,
                (2, false) => 1.0,
                _ => 0.0,
            })
        });
        let logits = Logits { classes: 3, grid, data: Pooled::unpooled(data.collect()) };
        let mut roi = Roi::new(&[], Some((vec![1], 0.0)));
        assert!(roi.needs_logits());
        assert_eq!(
            picture(roi.step(Some(&logits), 6, 5), 6),
            ["......", "......", "..##..", ".####.", "######"]
        );
        // A fifth of the height is one cell.
        let mut roi = Roi::new(&[], Some((vec![1], 0.2)));
        let wide = ["......", ".####.", "######", "######", "######"];
        assert_eq!(picture(roi.step(Some(&logits), 6, 5), 6), wide);
        let twice = picture(roi.step(Some(&logits), 12, 10), 12);
        for (i, row) in twice.iter().enumerate() {
            let cells: String = wide[i / 2].chars().flat_map(|c| [c, c]).collect();
            assert_eq!(*row, cells);
        }
        // Both: within the left half, and on the road.
        let left = vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]];
        let mut roi = Roi::new(&[left], Some((vec![0, 1], 0.0)));
        assert_eq!(
            picture(roi.step(Some(&logits), 6, 5), 6),
            ["......", "......", "..#...", ".##...", "###..."]
        );
        // Seen two columns to the left and a row up: it has moved right and down.
        let mut roi = Roi::new(&[], Some((vec![1], 0.0)));
        assert_eq!(
            picture(roi.step_moved(Some(&logits), [-2.0, -1.0], 6, 5), 6),
            ["......", "......", "......", "....##", "...###"]
        );
        // Nothing is road: nothing counts.
        let mut roi = Roi::new(&[], Some((vec![0], 0.5)));
        assert!(roi.step(Some(&logits), 6, 5).iter().all(|c| !c));
    }

    #[test]
    fn polygons_are_read_alone_or_several_and_checked() {
        #[derive(Debug, Deserialize)]
        struct Section {
            roi: Polygons,
        }
        let read = |text: &str| toml::from_str::<Section>(text).map(|section| section.roi);
        let one = read("roi = [[0, 1], [0.5, 0.25], [1, 1]]").unwrap();
        assert_eq!(one.all().len(), 1);
        assert_eq!(one.check(), Ok(()));
        assert_eq!(
            read("roi = [[[0, 1], [0.5, 0.25], [1, 1]], [[0,0],[1,0],[0,1]]]").unwrap().all().len(),
            2
        );
        assert!(read("roi = [[0, 1], [0.5, 0.25]]").unwrap().check().unwrap_err().contains("2 corners"));
        assert!(
            read("roi = [[0, 1], [640, 0.25], [1, 1]]").unwrap().check().unwrap_err().contains("[640, 0.25]")
        );
        assert!(read("roi = \"road\"").unwrap_err().to_string().contains("list of corners"));
    }
}
