//! The road as cells: what class scores say, without what was taken for it by mistake, with what stands on it.

use crate::grid::{Grid, Logits};

/// A group of road cells smaller than this share of the largest one is a mistake: a stray cell at the other side of the
/// picture would make all that lies between part of the road.
const LEAST_SHARE: f64 = 0.05;

/// Tells which cells are road; keeps its buffers from picture to picture.
#[derive(Debug, Clone, Default)]
pub struct Road {
    classes: Vec<usize>,
    cells: Vec<bool>,
    /// The number of each cell's group, from 1; 0 for none.
    groups: Vec<u32>,
    sizes: Vec<usize>,
    stack: Vec<usize>,
}

impl Road {
    /// Of the classes with these numbers.
    pub fn new(classes: Vec<usize>) -> Road {
        Road { classes, ..Road::default() }
    }

    /// The numbers of its classes.
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// Marks the cells that are road, row by row: where one of the classes is the likeliest, in a group of some size,
    /// and what lies between the outermost of these cells in a row.
    pub fn step(&mut self, logits: &Logits) -> &mut Vec<bool> {
        self.on_classes(logits);
        self.drop_small_groups(logits.grid);
        join_rows(logits.grid, &mut self.cells);
        &mut self.cells
    }

    /// Marks the cells whose largest logit is that of one of the classes.
    fn on_classes(&mut self, logits: &Logits) {
        let (cells, classes) = (logits.grid.len(), &self.classes);
        let likeliest = |cell: usize| {
            let logit = |class: usize| logits.data[class * cells + cell];
            (0..logits.classes).fold(0, |best, class| if logit(class) > logit(best) { class } else { best })
        };
        self.cells.clear();
        self.cells.extend((0..cells).map(|cell| logits.classes > 0 && classes.contains(&likeliest(cell))));
    }

    /// Unmarks cells whose 4-connected group is small beside the largest one.
    fn drop_small_groups(&mut self, grid: Grid) {
        let (cells, groups) = (&mut self.cells, &mut self.groups);
        groups.clear();
        groups.resize(cells.len(), 0);
        // Group 0 is that of the cells that are not marked.
        self.sizes.clear();
        self.sizes.push(0);
        for from in 0..cells.len() {
            if !cells[from] || groups[from] != 0 {
                continue;
            }
            let (group, mut size) = (self.sizes.len() as u32, 0);
            groups[from] = group;
            self.stack.push(from);
            while let Some(at) = self.stack.pop() {
                size += 1;
                let column = at % grid.cols;
                let near = [
                    (column > 0).then(|| at - 1),
                    (column + 1 < grid.cols).then_some(at + 1),
                    at.checked_sub(grid.cols),
                    (at + grid.cols < cells.len()).then_some(at + grid.cols),
                ];
                for next in near.into_iter().flatten() {
                    if cells[next] && groups[next] == 0 {
                        groups[next] = group;
                        self.stack.push(next);
                    }
                }
            }
            self.sizes.push(size);
        }
        let least = LEAST_SHARE * self.sizes.iter().copied().max().unwrap_or_default() as f64;
        for (cell, group) in cells.iter_mut().zip(groups) {
            *cell &= self.sizes[*group as usize] as f64 >= least;
        }
    }
}

/// Marks what lies between the outermost marked cells of each row.
fn join_rows(grid: Grid, cells: &mut [bool]) {
    for row in cells.chunks_exact_mut(grid.cols.max(1)) {
        if let (Some(first), Some(last)) = (row.iter().position(|c| *c), row.iter().rposition(|c| *c)) {
            row[first..=last].fill(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;

    /// Two classes, the second of which is road.
    fn seen(rows: &[String]) -> Logits {
        let grid = Grid { rows: rows.len(), cols: rows[0].len() };
        let on = || rows.iter().flat_map(|row| row.bytes().map(|c| c == b'#'));
        let data = on().map(|on| f32::from(u8::from(!on))).chain(on().map(|on| f32::from(u8::from(on))));
        Logits { classes: 2, grid, data: Pooled::unpooled(data.collect()) }
    }

    #[test]
    fn a_stray_cell_joins_no_row() {
        let mut rows = vec![".".repeat(40); 10];
        for row in &mut rows[5..] {
            *row = format!("{}{}{}", ".".repeat(10), "#".repeat(20), ".".repeat(10));
        }
        let without = rows.clone();
        // A cell at the edge in the road's own rows, one above, and a car on the road.
        rows[7].replace_range(39..40, "#");
        rows[1].replace_range(2..3, "#");
        rows[6].replace_range(15..20, ".....");
        let want: Vec<bool> = without.concat().bytes().map(|c| c == b'#').collect();
        let mut road = Road::new(vec![1]);
        assert_eq!(*road.step(&seen(&rows)), want);
        // The other side of a central reservation stays.
        rows[8].replace_range(34..40, "######");
        assert_eq!(road.step(&seen(&rows))[8 * 40..][..40].iter().filter(|c| **c).count(), 30);
        // The same again gives the same; nothing at all gives nothing.
        assert_eq!(road.step(&seen(&without)), &want);
        assert!(road.step(&seen(&vec![".".repeat(4); 3])).iter().all(|c| !c));
        assert!(road.step(&Logits::default()).is_empty());
    }
}
