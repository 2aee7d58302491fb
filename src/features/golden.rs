//! The golden frame: an input that everybody can make again, and the features that the CPU gave for it. What
//! runs on a GPU is held against them before it goes live.

use serde::{Deserialize, Serialize};

use super::placement::Placement;
use super::preprocess::ModelInput;
use crate::digest::{digest_of, hex, unhex};
use crate::grid::{Features, Grid};

/// Cells that are kept of a frame's features.
const CELLS: usize = 32;
/// More numbers than any model needs for them.
const MOST: usize = 1 << 20;
const FORMAT: u32 = 1;

/// Features of some cells of the golden frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// The grid of all cells.
    pub grid: Grid,
    /// Numbers per cell.
    pub width: usize,
    /// `cells x width` numbers, of cells that are spread evenly over the grid.
    pub values: Vec<f32>,
}

/// As it is stored, JSON.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    rows: usize,
    cols: usize,
    width: usize,
    /// The numbers' bytes, little-endian, in hexadecimal digits.
    values: String,
    /// SHA-256 of `values`.
    sha256: String,
}

/// The golden frame at this size, already normalised: waves of several lengths and directions in each
/// channel with a little noise, between -2.4 and 2.4.
pub fn input(width: usize, height: usize) -> ModelInput {
    let mut input = ModelInput::default();
    input.reset(Placement { width, height, content_width: width, content_height: height });
    let mut state = 1_u32;
    for (n, value) in input.data.iter_mut().enumerate() {
        let (c, y, x) = (n / (width * height), n / width % height, n % width);
        let (c, y, x) = (c as f64, y as f64, x as f64);
        let waves = (0.7 * c + 0.031 * x + 0.017 * y).sin()
            + 0.7 * (0.11 * y - 0.05 * x + 2.0 * c).sin()
            + 0.3 * (0.6 * x + 0.4 * y).sin();
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = f64::from(state >> 24) / 255.0 - 0.5;
        *value = (waves + 0.8 * noise) as f32;
    }
    input
}

/// The cells of a grid that are kept, spread evenly over it.
fn kept(grid: Grid) -> impl Iterator<Item = usize> {
    let all = grid.len();
    let many = all.min(CELLS);
    (0..many).map(move |n| n * all / many.max(1))
}

impl Golden {
    /// What is kept of these features.
    pub fn of(features: &Features) -> Golden {
        let (grid, width) = (features.grid, features.width);
        let values =
            kept(grid).flat_map(|cell| features.data[cell * width..(cell + 1) * width].iter().copied());
        Golden { grid, width, values: values.collect() }
    }

    /// As text for a model's metadata.
    pub fn to_text(&self) -> String {
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let values = hex(&bytes);
        let sha256 = digest(&values);
        let Grid { rows, cols } = self.grid;
        let stored = Stored { format: FORMAT, rows, cols, width: self.width, values, sha256 };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads it back.
    ///
    /// # Errors
    /// If it is damaged or of another version.
    pub fn parse(text: &str) -> Result<Golden, String> {
        let stored: Stored = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if stored.format != FORMAT {
            return Err(format!("its format is {}, this version knows {FORMAT}", stored.format));
        }
        if digest(&stored.values) != stored.sha256 {
            return Err("its numbers are not those that were written".to_owned());
        }
        let grid = Grid { rows: stored.rows, cols: stored.cols };
        let cells = stored.rows.checked_mul(stored.cols).unwrap_or(0).min(CELLS);
        let count = cells.checked_mul(stored.width).filter(|count| (1..=MOST).contains(count));
        let digits = stored.values.len();
        if count.map(|count| 8 * count) != Some(digits) {
            return Err(format!("it has {digits} digits for {cells} cells of {}", stored.width));
        }
        let bytes = unhex(&stored.values).ok_or("it holds other characters than hexadecimal digits")?;
        let values = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        Ok(Golden { grid, width: stored.width, values })
    }

    /// How far `features` are off: the length of the difference over all kept cells as part of the length
    /// of what is kept. Infinite where one is not finite.
    ///
    /// # Errors
    /// If they have other dimensions.
    pub fn difference(&self, features: &Features) -> Result<f32, String> {
        let other = Golden::of(features);
        if (other.grid, other.width) != (self.grid, self.width) {
            return Err(format!(
                "its features are {}x{}x{}, the golden frame's {}x{}x{}",
                other.grid.rows, other.grid.cols, other.width, self.grid.rows, self.grid.cols, self.width
            ));
        }
        let sum = |squares: &mut dyn Iterator<Item = f64>| squares.sum::<f64>();
        let pairs = self.values.iter().zip(&other.values);
        let off = sum(&mut pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)));
        let all = sum(&mut self.values.iter().map(|a| f64::from(*a).powi(2)));
        let part = (off / all.max(f64::MIN_POSITIVE)).sqrt() as f32;
        Ok(if part.is_finite() { part } else { f32::INFINITY })
    }

    /// The verdict on a session that gave `features`.
    ///
    /// # Errors
    /// The reason if they are off by more than `tolerance`.
    pub fn judge(&self, features: &Features, tolerance: f32) -> Result<f32, String> {
        let off = self.difference(features)?;
        if off > tolerance {
            return Err(format!(
                "its features of the golden frame differ from the CPU's by {:.2} % of their length, {:.2} % is allowed ([runtime] parity_tolerance)",
                100.0 * off,
                100.0 * tolerance
            ));
        }
        Ok(off)
    }
}

fn digest(text: &str) -> String {
    hex(&digest_of(&[text.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;

    fn features(rows: usize, cols: usize, width: usize) -> Features {
        let data = (0..rows * cols * width).map(|n| (n as f32 * 0.37).sin()).collect();
        Features { grid: Grid { rows, cols }, width, data: Pooled::unpooled(data), on_gpu: None }
    }

    #[test]
    fn text_and_back() {
        for (rows, cols) in [(2, 3), (26, 46)] {
            let golden = Golden::of(&features(rows, cols, 5));
            assert_eq!(golden.values.len(), 5 * (rows * cols).min(CELLS));
            assert_eq!(Golden::parse(&golden.to_text()).unwrap(), golden);
        }
    }

    #[test]
    fn damage_is_told() {
        let text = Golden::of(&features(2, 3, 4)).to_text();
        let other_digit = text.replacen("\"values\":\"0", "\"values\":\"1", 1);
        let fewer = text.replacen("\"width\":4", "\"width\":3", 1);
        for (bent, word) in [
            (other_digit.as_str(), "not those"),
            (&fewer, "digits"),
            (&text.replacen("\"format\":1", "\"format\":9", 1), "format"),
            (&text[..text.len() / 2], "EOF"),
            ("", "EOF"),
        ] {
            assert_ne!(bent, text);
            let why = Golden::parse(bent).unwrap_err();
            assert!(why.contains(word), "{word}: {why}");
        }
    }

    #[test]
    fn what_is_off_by_more_than_allowed_is_refused() {
        let right = features(4, 6, 8);
        let golden = Golden::of(&right);
        assert_eq!(golden.judge(&right, 0.0), Ok(0.0));
        let scaled = |factor: f32| {
            let mut other = right.clone();
            other.data.iter_mut().for_each(|value| *value *= factor);
            other
        };
        let off = golden.judge(&scaled(1.01), 0.02).unwrap();
        assert!((off - 0.01).abs() < 1e-4, "{off}");
        let why = golden.judge(&scaled(1.05), 0.02).unwrap_err();
        assert!(why.contains("5.00 %") && why.contains("parity_tolerance"), "{why}");
        let mut broken = right.clone();
        broken.data[3] = f32::NAN;
        assert!(golden.judge(&broken, 0.5).is_err());
        // One wrong cell of 24 is enough.
        let mut local = right.clone();
        local.data[8..16].fill(0.0);
        assert!(golden.judge(&local, 0.1).is_err());
        assert!(golden.judge(&features(4, 6, 9), 1.0).unwrap_err().contains("4x6x9"));
    }

    #[test]
    fn the_golden_frame_is_the_same_everywhere() {
        let frame = input(48, 32);
        assert_eq!(frame.data.len(), 3 * 48 * 32);
        let most = frame.data.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        assert!(most > 1.0 && most < 2.4, "{most}");
        let told = [frame.data[0], frame.data[1000], frame.data[4607]];
        for (got, want) in told.iter().zip(PINNED) {
            assert!((got - want).abs() < 1e-5, "{told:?}");
        }
    }

    /// Computed by a few lines of Python.
    const PINNED: [f32; 3] = [-0.211765, 1.500533, -1.141951];
}
