//! How a tensor becomes `[h * w, C]`: which of its rows are the cells of the grid in order, which axes are
//! channels. Class tokens drop out, windows are undone, heads are joined.

use super::cells::Cells;
use super::movement::NOBODY;
use super::onnx::{NodeProto, TensorProto, int, int_tensor, ints, node};
use crate::grid::Grid;

/// The plan of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readout {
    /// The tensor.
    pub tensor: String,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// The grid.
    pub grid: Grid,
    /// Axes that number positions, in order.
    pub positions: Vec<usize>,
    /// Axes that number channels, in order.
    pub channels: Vec<usize>,
    /// The position of each cell.
    pub rows: Vec<usize>,
    /// The wanted channels; all if `None`.
    pub picks: Option<Vec<usize>>,
    /// Positions that are no cells: class and register tokens, padding of windows.
    pub others: usize,
}

impl Readout {
    /// The plan for a tensor whose cells are known. Its channels lie along `channel_axis`, or along all
    /// axes on which the cell does not change.
    ///
    /// # Errors
    /// Why it is no map of features.
    pub fn plan(tensor: &str, cells: &Cells, channel_axis: Option<usize>) -> Result<Readout, String> {
        let array = &cells.array;
        let rank = array.dims.len();
        let channels: Vec<usize> = match channel_axis {
            Some(axis) => vec![axis],
            None => (0..rank).filter(|&axis| !array.varies[axis] && array.dims[axis] > 1).collect(),
        };
        if let Some(axis) = channels.iter().find(|&&axis| array.varies.get(axis) != Some(&false)) {
            return Err(format!("{tensor} holds several cells side by side on axis {axis}"));
        }
        let positions: Vec<usize> = (0..rank).filter(|axis| !channels.contains(axis)).collect();
        // The labels of the positions alone: one element of each channel axis will do.
        let mut bare = array.clone();
        for &axis in &channels {
            bare = bare.slice(axis, 0, 1, 1);
        }
        let labels = bare.labels(&positions.iter().chain(&channels).copied().collect::<Vec<_>>());
        let mut rows = vec![usize::MAX; cells.grid.len()];
        let mut others = 0;
        for (position, &cell) in labels.iter().enumerate() {
            match usize::try_from(cell).ok().and_then(|cell| rows.get_mut(cell)) {
                Some(row) if *row == usize::MAX => *row = position,
                // The same cell twice (overlapping windows): the first one counts.
                Some(_) => {}
                None => others += usize::from(cell == NOBODY),
            }
        }
        if rows.is_empty() || rows.contains(&usize::MAX) {
            let missing = rows.iter().filter(|&&row| row == usize::MAX).count();
            return Err(format!("{tensor} lacks {missing} of {} cells", rows.len()));
        }
        Ok(Readout {
            tensor: tensor.to_owned(),
            dims: array.dims.clone(),
            grid: cells.grid,
            positions,
            channels,
            rows,
            picks: None,
            others,
        })
    }

    /// The same with these channels only.
    pub fn with_picks(self, picks: Vec<usize>) -> Readout {
        let all = picks.len() == self.all_channels() && picks.iter().enumerate().all(|(n, &pick)| n == pick);
        Readout { picks: (!all).then_some(picks), ..self }
    }

    fn all_channels(&self) -> usize {
        self.channels.iter().map(|&axis| self.dims[axis]).product()
    }

    /// Numbers per cell.
    pub fn width(&self) -> usize {
        self.picks.as_ref().map_or(self.all_channels(), Vec::len)
    }

    /// Positions in the tensor.
    fn all_positions(&self) -> usize {
        self.positions.iter().map(|&axis| self.dims[axis]).product()
    }

    /// The plan carried out on the tensor's numbers: `grid x width`, cell by cell. What the nodes of
    /// [`Readout::nodes`] are checked against.
    pub fn gather(&self, data: &[f32]) -> Vec<f32> {
        let mut strides = vec![1; self.dims.len()];
        for axis in (0..self.dims.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * self.dims[axis + 1];
        }
        let offset = |axes: &[usize], mut number: usize| {
            let mut offset = 0;
            for &axis in axes.iter().rev() {
                offset += number % self.dims[axis] * strides[axis];
                number /= self.dims[axis].max(1);
            }
            offset
        };
        let picks: Vec<usize> = self.picks.clone().unwrap_or_else(|| (0..self.all_channels()).collect());
        let picks: Vec<usize> = picks.iter().map(|&pick| offset(&self.channels, pick)).collect();
        let row = |&row: &usize| {
            let start = offset(&self.positions, row);
            picks
                .iter()
                .map(move |&pick| data.get(start + pick).copied().unwrap_or(f32::NAN))
                .collect::<Vec<_>>()
        };
        self.rows.iter().flat_map(row).collect()
    }

    /// Nodes and constants that turn the tensor into `output`, `[h * w, C]`; names begin with `output`.
    pub fn nodes(&self, output: &str) -> (Vec<NodeProto>, Vec<TensorProto>) {
        let mut made = Made { nodes: Vec::new(), constants: Vec::new(), output, at: self.tensor.clone() };
        let perm: Vec<usize> = self.positions.iter().chain(&self.channels).copied().collect();
        if !perm.is_sorted() {
            made.step("Transpose", &[], vec![ints("perm", perm.iter().map(|&axis| axis as i64).collect())]);
        }
        let shape = [self.all_positions() as i64, self.all_channels() as i64];
        if perm.len() != 2 {
            made.step("Reshape", &[("shape", &shape)], Vec::new());
        }
        let whole: Vec<usize> = (0..self.all_channels()).collect();
        let picks = self.picks.as_ref().unwrap_or(&whole);
        // Runs are cut by one slice; anything else is gathered.
        let cuts: Vec<(i64, &[usize], usize)> =
            vec![(0, &self.rows[..], self.all_positions()), (1, &picks[..], self.all_channels())];
        let (mut starts, mut ends, mut axes) = (Vec::new(), Vec::new(), Vec::new());
        for (axis, wanted, all) in &cuts {
            if is_run(wanted) && wanted.len() != *all {
                starts.push(wanted[0] as i64);
                ends.push((wanted[0] + wanted.len()) as i64);
                axes.push(*axis);
            }
        }
        if !axes.is_empty() {
            made.step("Slice", &[("starts", &starts), ("ends", &ends), ("axes", &axes)], Vec::new());
        }
        for (axis, wanted, _) in cuts {
            if !is_run(wanted) {
                let wanted: Vec<i64> = wanted.iter().map(|&index| index as i64).collect();
                made.step("Gather", &[("indices", &wanted)], vec![int("axis", axis)]);
            }
        }
        made.nodes.push(node("Identity", &[&made.at], output, Vec::new()));
        (made.nodes, made.constants)
    }
}

fn is_run(wanted: &[usize]) -> bool {
    wanted.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

struct Made<'a> {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    output: &'a str,
    at: String,
}

impl Made<'_> {
    fn step(&mut self, op: &str, numbers: &[(&str, &[i64])], attribute: Vec<super::onnx::AttributeProto>) {
        let to = format!("{}/{}", self.output, op.to_lowercase());
        let to = if self.nodes.iter().any(|one| one.out(0) == to) { format!("{to}_2") } else { to };
        let names: Vec<String> = numbers.iter().map(|(what, _)| format!("{to}/{what}")).collect();
        for (name, (_, values)) in names.iter().zip(numbers) {
            self.constants.push(int_tensor(name, values));
        }
        let inputs: Vec<&str> =
            [self.at.as_str()].into_iter().chain(names.iter().map(String::as_str)).collect();
        self.nodes.push(node(op, &inputs, &to, attribute));
        self.at = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::array::Array;

    #[test]
    fn class_tokens_windows_and_heads_come_out_right() {
        // 1 class token, then 2 x 2 cells in two windows of one column each.
        let order = [NOBODY, 0, 2, 1, 3];
        let array =
            Array { dims: vec![1, 2, 5, 3], varies: vec![false, false, true, false], data: order.to_vec() };
        let cells = Cells { grid: Grid { rows: 2, cols: 2 }, array };
        let plan = Readout::plan("t", &cells, None).unwrap();
        assert_eq!((plan.width(), plan.others, plan.rows.as_slice()), (6, 1, &[1, 3, 2, 4][..]));
        let data: Vec<f32> = (0..30).map(|n| n as f32).collect();
        // Cell 1 is token 3: head 0 at 9.., head 1 at 15 + 9...
        assert_eq!(plan.gather(&data)[6..12], [9.0, 10.0, 11.0, 24.0, 25.0, 26.0]);
        let narrow = plan.with_picks(vec![3, 4, 5]);
        assert_eq!(narrow.gather(&data)[3..6], [24.0, 25.0, 26.0]);
        let missing = Array { data: vec![NOBODY, 0, 2, 1, 1], ..cells.array };
        assert!(Readout::plan("t", &Cells { array: missing, ..cells }, None).is_err());
    }
}
