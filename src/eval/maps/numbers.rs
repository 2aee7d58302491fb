//! Bytes of an array as scores: number format, byte order, order of axes.

use half::{bf16, f16};

use super::{ScoreImage, Scores};

/// A floating-point format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

/// How a plane of numbers lies in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// The number format.
    pub element: Element,
    /// The most significant byte comes first.
    pub big_endian: bool,
    /// Columns follow one another, not rows.
    pub fortran: bool,
}

impl Layout {
    /// Length in bytes.
    pub fn bytes(self) -> usize {
        let size = match self.element {
            Element::F16 | Element::Bf16 => 2,
            Element::F32 => 4,
            Element::F64 => 8,
        };
        self.width * self.height * size
    }

    /// The map in `data`.
    ///
    /// # Errors
    /// If `data` has another length than the layout.
    pub fn decode(self, data: &[u8]) -> Result<ScoreImage, String> {
        let (width, height) = (self.width, self.height);
        let want = self.bytes();
        if data.len() != want {
            return Err(format!("it holds {} bytes of scores, its header promises {want}", data.len()));
        }
        let scores = match self.element {
            Element::F16 => Scores::F32(self.plane(data, |b| f16::from_le_bytes(b).to_f32())),
            Element::Bf16 => Scores::F32(self.plane(data, |b| bf16::from_le_bytes(b).to_f32())),
            Element::F32 => Scores::F32(self.plane(data, f32::from_le_bytes)),
            Element::F64 => Scores::F64(self.plane(data, f64::from_le_bytes)),
        };
        Ok(ScoreImage { width, height, scores })
    }

    fn plane<const N: usize, T: Copy>(self, data: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (cells, _) = data.as_chunks::<N>();
        let numbers: Vec<T> = cells
            .iter()
            .map(|cell| {
                let mut cell = *cell;
                if self.big_endian {
                    cell.reverse();
                }
                number(cell)
            })
            .collect();
        if !self.fortran {
            return numbers;
        }
        let at = |i: usize| numbers[i % self.width * self.height + i / self.width];
        (0..numbers.len()).map(at).collect()
    }
}
