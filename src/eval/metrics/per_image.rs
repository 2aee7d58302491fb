//! Metrics of each image alone, and their averages, as StreetHazards is judged.

use serde::{Deserialize, Serialize};

use super::bootstrap::{BootstrapSettings, Interval, mean_interval};
use super::counts::Counts;
use super::detection::Detection;

/// What one image gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRow {
    /// Its name.
    pub name: String,
    /// Its normal pixels.
    pub normal: u64,
    /// Its anomalous pixels.
    pub anomaly: u64,
    /// Its metrics; `None` without an anomalous or without a normal pixel.
    pub detection: Option<Detection>,
}

/// Averages over images, each counting the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Means<T> {
    /// Of the average precision.
    pub ap: T,
    /// Of the area under the ROC curve.
    pub auroc: T,
    /// Of the false positive rate at the first TPR of at least 0.95.
    pub fpr95_first: T,
    /// Of the false positive rate at the TPR closest to 0.95.
    pub fpr95_closest: T,
    /// Of the best F1.
    pub best_f1: T,
}

/// What all images give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerImageReport {
    /// Averages over the images that have metrics; `None` if none has.
    pub mean: Option<Means<f64>>,
    /// Their intervals, from drawing images anew; `None` for fewer than two images.
    pub intervals: Option<Means<Interval>>,
    /// How many images are averaged.
    pub images: usize,
    /// Images without an anomalous (or without a normal) pixel, which are left out.
    pub skipped: Vec<String>,
    /// Each image, in the order given.
    pub rows: Vec<ImageRow>,
}

/// Judges images one by one.
#[derive(Debug, Clone, Default)]
pub struct PerImage {
    rows: Vec<ImageRow>,
}

impl PerImage {
    /// Without images yet.
    pub fn new() -> PerImage {
        PerImage::default()
    }

    /// Judges an image.
    pub fn push(&mut self, name: String, counts: &Counts) {
        let (normal, anomaly) = (counts.normal(), counts.anomaly());
        self.rows.push(ImageRow { name, normal, anomaly, detection: counts.detection() });
    }

    /// The averages.
    pub fn finish(self, settings: &BootstrapSettings) -> PerImageReport {
        let judged: Vec<&Detection> = self.rows.iter().filter_map(|row| row.detection.as_ref()).collect();
        let column = |pick: fn(&Detection) -> f64| -> Vec<f64> { judged.iter().map(|d| pick(d)).collect() };
        let columns = Means {
            ap: column(|d| d.ap),
            auroc: column(|d| d.auroc),
            fpr95_first: column(|d| d.fpr95_first),
            fpr95_closest: column(|d| d.fpr95_closest),
            best_f1: column(|d| d.best_f1),
        };
        let mean = |values: &Vec<f64>| {
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let images = judged.len();
        let skipped =
            self.rows.iter().filter(|row| row.detection.is_none()).map(|row| row.name.clone()).collect();
        PerImageReport {
            mean: columns.each(mean),
            intervals: columns.each(|values| mean_interval(values, settings)),
            images,
            skipped,
            rows: self.rows,
        }
    }
}

impl<T> Means<T> {
    /// The same of something else, if each is there.
    fn each<U>(&self, of: impl Fn(&T) -> Option<U>) -> Option<Means<U>> {
        Some(Means {
            ap: of(&self.ap)?,
            auroc: of(&self.auroc)?,
            fpr95_first: of(&self.fpr95_first)?,
            fpr95_closest: of(&self.fpr95_closest)?,
            best_f1: of(&self.best_f1)?,
        })
    }
}
