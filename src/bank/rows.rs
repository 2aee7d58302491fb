//! Reference features as numbers: borrowed or owned, 16 or 32 bits wide.

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

/// How the numbers of a bank are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// IEEE half precision: half the memory, 11 bits.
    #[default]
    F16,
    /// IEEE single precision.
    F32,
}

impl DataType {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            DataType::F16 => "f16",
            DataType::F32 => "f32",
        }
    }
}

/// Features row by row, borrowed.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Half precision.
    F16(&'a [f16]),
    /// Single precision.
    F32(&'a [f32]),
}

impl<'a> Rows<'a> {
    /// Numbers in all.
    pub fn len(&self) -> usize {
        match self {
            Rows::F16(data) => data.len(),
            Rows::F32(data) => data.len(),
        }
    }

    /// True without any number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How they are stored.
    pub fn data_type(&self) -> DataType {
        match self {
            Rows::F16(_) => DataType::F16,
            Rows::F32(_) => DataType::F32,
        }
    }

    /// `count` numbers from `first` on.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn part(&self, first: usize, count: usize) -> Rows<'a> {
        match self {
            Rows::F16(data) => Rows::F16(&data[first..first + count]),
            Rows::F32(data) => Rows::F32(&data[first..first + count]),
        }
    }

    /// The numbers as they lie in memory.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Rows::F16(data) => bytemuck::cast_slice(data),
            Rows::F32(data) => bytemuck::cast_slice(data),
        }
    }

    /// Number of rows of `width` numbers.
    pub fn count(&self, width: usize) -> usize {
        self.len().checked_div(width).unwrap_or(0)
    }

    /// Writes the numbers from `first` on as f32 into `out`, whose length says how many.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn copy_to(&self, first: usize, out: &mut [f32]) {
        match self {
            Rows::F16(data) => data[first..first + out.len()].convert_to_f32_slice(out),
            Rows::F32(data) => out.copy_from_slice(&data[first..first + out.len()]),
        }
    }

    /// The rows in another order, or some of them: row i of the result is row `order[i]` of this.
    ///
    /// # Panics
    /// If `order` names a row that is not there.
    pub fn reordered(&self, order: &[usize], width: usize) -> RowsBuf {
        fn pick<T: Copy>(data: &[T], order: &[usize], width: usize) -> Vec<T> {
            order.iter().flat_map(|&row| data[row * width..(row + 1) * width].iter().copied()).collect()
        }
        match self {
            Rows::F16(data) => RowsBuf::F16(pick(data, order, width)),
            Rows::F32(data) => RowsBuf::F32(pick(data, order, width)),
        }
    }

    /// The first row with NaN or infinity. Looks at exponents only, so that a pass over the
    /// whole bank costs no more than reading it.
    pub fn first_not_finite(&self, width: usize) -> Option<usize> {
        let width = width.max(1);
        match self {
            Rows::F16(data) => {
                let bits: &[u16] = bytemuck::cast_slice(data);
                bits.chunks(width).position(|row| row.iter().fold(0, |m: u16, b| m.max(b & 0x7fff)) >= 0x7c00)
            }
            Rows::F32(data) => {
                let bits: &[u32] = bytemuck::cast_slice(data);
                bits.chunks(width)
                    .position(|row| row.iter().fold(0, |m: u32, b| m.max(b & 0x7fff_ffff)) >= 0x7f80_0000)
            }
        }
    }
}

/// Features row by row, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum RowsBuf {
    /// Half precision.
    F16(Vec<f16>),
    /// Single precision.
    F32(Vec<f32>),
}

impl RowsBuf {
    /// No rows yet.
    pub fn new(data_type: DataType) -> Self {
        match data_type {
            DataType::F16 => RowsBuf::F16(Vec::new()),
            DataType::F32 => RowsBuf::F32(Vec::new()),
        }
    }

    /// The numbers, borrowed.
    pub fn view(&self) -> Rows<'_> {
        match self {
            RowsBuf::F16(data) => Rows::F16(data),
            RowsBuf::F32(data) => Rows::F32(data),
        }
    }

    /// As many zeros as `numbers`.
    pub fn zeros(data_type: DataType, numbers: usize) -> Self {
        match data_type {
            DataType::F16 => RowsBuf::F16(vec![f16::ZERO; numbers]),
            DataType::F32 => RowsBuf::F32(vec![0.0; numbers]),
        }
    }

    /// Writes `numbers` over those from `first` on.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn overwrite(&mut self, first: usize, numbers: &[f32]) {
        let range = first..first + numbers.len();
        match self {
            RowsBuf::F16(data) => data[range].convert_from_f32_slice(numbers),
            RowsBuf::F32(data) => data[range].copy_from_slice(numbers),
        }
    }

    /// Puts `row` at `index` (in rows of its length), over what was there or at the end;
    /// rows between the end and `index` become zeros.
    pub fn set(&mut self, index: usize, row: &[f32]) {
        let range = index * row.len()..(index + 1) * row.len();
        match self {
            RowsBuf::F16(data) => {
                if data.len() < range.end {
                    data.resize(range.end, f16::ZERO);
                }
                data[range].convert_from_f32_slice(row);
            }
            RowsBuf::F32(data) => {
                if data.len() < range.end {
                    data.resize(range.end, 0.0);
                }
                data[range].copy_from_slice(row);
            }
        }
    }

    /// Adds the numbers that these little-endian bytes are, in its own format; a rest is left out.
    pub fn extend_from_bytes(&mut self, bytes: &[u8]) {
        match self {
            RowsBuf::F16(data) => data.extend(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b))),
            RowsBuf::F32(data) => data.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
        }
    }

    /// Adds numbers at the end, in its own format.
    pub fn extend(&mut self, numbers: Rows<'_>) {
        match (self, numbers) {
            (RowsBuf::F16(data), Rows::F16(more)) => data.extend_from_slice(more),
            (RowsBuf::F32(data), Rows::F32(more)) => data.extend_from_slice(more),
            (RowsBuf::F16(data), Rows::F32(more)) => data.extend(more.iter().map(|x| f16::from_f32(*x))),
            (RowsBuf::F32(data), Rows::F16(more)) => data.extend(more.iter().map(|x| x.to_f32())),
        }
    }

    /// As [`Rows::reordered`].
    ///
    /// # Panics
    /// If `order` names a row that is not there.
    pub fn reordered(&self, order: &[usize], width: usize) -> RowsBuf {
        self.view().reordered(order, width)
    }
}
