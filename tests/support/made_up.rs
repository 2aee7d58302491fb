//! Made-up numbers, banks and frames for tests and benches of the search, and brute force in double precision.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::sync::Arc;

use farout::bank::{Bank, BankContents, BuildRecord, DataType, Extras, FORMAT, Metadata, Origin, RowsBuf};
use farout::grid::{Features, Grid};
use farout::identity::ModelIdentity;
use farout::pool::Pooled;

/// Numbers of a normal distribution, the same for the same seed.
pub struct Noise(u64, Option<f32>);

impl Noise {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d, None)
    }

    /// 64 mixed bits (splitmix64).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number, of mean 0 and deviation 1 (Box and Muller).
    pub fn number(&mut self) -> f32 {
        if let Some(second) = self.1.take() {
            return second;
        }
        let uniform = |bits: u64| ((bits >> 40) as f32 + 0.5) / (1u64 << 24) as f32;
        let (radius, angle) =
            ((-2.0 * uniform(self.bits()).ln()).sqrt(), std::f32::consts::TAU * uniform(self.bits()));
        self.1 = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// The next `n` numbers, of this deviation and mean.
    pub fn many(&mut self, n: usize, deviation: f32, mean: f32) -> Vec<f32> {
        (0..n).map(|_| self.number() * deviation + mean).collect()
    }
}

/// A bank of these rows, for searching only.
pub fn bank_of(features: RowsBuf, width: usize) -> Arc<Bank> {
    let model = ModelIdentity {
        sha256: String::new(),
        features: String::new(),
        patch: 8,
        input_size: String::new(),
        normalisation: String::new(),
        name: String::new(),
        parts: Vec::new(),
        width,
    };
    let metadata = Metadata {
        format: FORMAT,
        farout: String::new(),
        model,
        build: BuildRecord::default(),
        recipe: None,
        calibration: None,
        sources: Vec::new(),
    };
    let origins = vec![Origin { source: 0, frame: 0, row: 0, col: 0 }; features.view().count(width)];
    let contents = BankContents { features, origins, metadata, extras: Extras::default() };
    Arc::new(Bank::from_contents(contents, 1).unwrap())
}

/// The same of numbers that are yet to be stored.
pub fn bank(data_type: DataType, width: usize, data: &[f32]) -> Arc<Bank> {
    let mut features = RowsBuf::zeros(data_type, data.len());
    features.overwrite(0, data);
    bank_of(features, width)
}

/// A frame of one row of patches.
pub fn features(width: usize, data: Vec<f32>) -> Features {
    let grid = Grid { rows: 1, cols: data.len() / width };
    Features { grid, width, data: Pooled::unpooled(data), on_gpu: None }
}

/// The distance of a patch from a row of the bank; infinite if there is no such row.
pub fn distance(bank: &Bank, row: usize, patch: &[f32], copy: &mut Vec<f32>) -> f64 {
    if row >= bank.rows() {
        return f64::INFINITY;
    }
    copy.resize(patch.len(), 0.0);
    bank.features().copy_to(row * patch.len(), copy);
    patch.iter().zip(copy).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

/// The `k` nearest rows of a patch and their distances, nearest first, of equal ones the lower row first.
pub fn nearest(bank: &Bank, patch: &[f32], k: usize) -> Vec<(f64, u32)> {
    let mut copy = Vec::new();
    let mut all: Vec<(f64, u32)> =
        (0..bank.rows()).map(|row| (distance(bank, row, patch, &mut copy), row as u32)).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

/// The mean of their distances.
pub fn mean(nearest: &[(f64, u32)]) -> f64 {
    nearest.iter().map(|near| near.0).sum::<f64>() / nearest.len() as f64
}

/// How far the distance `got` of `patch` is from `want`, relative to it, beyond an allowance of 1e-6 of the patch's norm.
pub fn error(got: f32, want: f64, patch: &[f32]) -> f64 {
    let norm = patch.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let off = (f64::from(got) - want).abs() - 1e-6 * norm;
    if off.is_nan() { f64::INFINITY } else { off.max(0.0) / want.max(f64::MIN_POSITIVE) }
}
