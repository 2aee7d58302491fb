//! What a threshold taken from in-distribution data alone is worth on data with truth.

use serde::{Deserialize, Serialize};

use super::bootstrap::{BootstrapSettings, Interval, resample};
use super::counts::Counts;
use super::curve::AtThreshold;

/// What came out at the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationReport {
    /// Pixels, over all images.
    pub pixels: AtThreshold,
    /// Interval of the share of normal pixels above the threshold, images drawn anew.
    pub fpr_interval: Option<Interval>,
    /// Interval of the share of anomalous pixels above it, images drawn anew.
    pub recall_interval: Option<Interval>,
    /// Images.
    pub images: u64,
    /// Images in which some normal pixel lies above the threshold.
    pub images_with_false_alarm: u64,
    /// Images with an anomalous pixel.
    pub images_with_anomaly: u64,
    /// Those in which one of them lies above the threshold.
    pub images_with_anomaly_found: u64,
}

/// Judges images at one threshold.
#[derive(Debug, Clone)]
pub struct Calibration {
    threshold: f64,
    /// Per image: tp, anomalous, fp, normal.
    rows: Vec<[u64; 4]>,
}

impl Calibration {
    /// At a threshold that was taken from in-distribution data.
    pub fn new(threshold: f64) -> Calibration {
        Calibration { threshold, rows: Vec::new() }
    }

    /// Judges an image.
    pub fn push(&mut self, counts: &Counts) {
        let at = counts.at(self.threshold);
        self.rows.push([at.tp, counts.anomaly(), at.fp, counts.normal()]);
    }

    /// All images together.
    pub fn finish(&self, settings: &BootstrapSettings) -> CalibrationReport {
        let total = |weights: &[u32]| {
            self.rows.iter().zip(weights).fold([0; 4], |sum: [u64; 4], (row, weight)| {
                std::array::from_fn(|i| sum[i] + row[i] * u64::from(*weight))
            })
        };
        let rate = |part: usize| {
            move |weights: &[u32]| {
                let sums = total(weights);
                (sums[part + 1] > 0).then(|| [sums[part] as f64 / sums[part + 1] as f64])
            }
        };
        let ones = vec![1; self.rows.len()];
        let interval = |part: usize| {
            let exact = rate(part)(&ones)?;
            resample(ones.len(), &exact, rate(part), settings).map(|[interval]| interval)
        };
        let [tp, anomaly, fp, normal] = total(&ones);
        let having = |column: usize| self.rows.iter().filter(|row| row[column] > 0).count() as u64;
        CalibrationReport {
            pixels: AtThreshold::new(self.threshold, (tp, anomaly), (fp, normal)),
            recall_interval: interval(0),
            fpr_interval: interval(2),
            images: self.rows.len() as u64,
            images_with_false_alarm: having(2),
            images_with_anomaly: having(1),
            images_with_anomaly_found: having(0),
        }
    }
}
