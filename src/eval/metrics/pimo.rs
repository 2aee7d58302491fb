//! Per-image overlap: how much of each image's anomaly is found at the false positive rates that normal images have, and
//! the area under that over a range of very low rates (AUPIMO; Bertoldo et al., BMVC 2024).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::bootstrap::{BootstrapSettings, Interval, mean_interval, quantile};
use super::counts::Counts;
use super::detection::Sum;
use super::key::Kind;
use super::run::Run;

/// What all images give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PimoReport {
    /// Mean of the areas of all images with anomaly.
    pub mean: f64,
    /// Its interval, images with anomaly drawn anew.
    pub interval: Option<Interval>,
    /// Median of the areas.
    pub median: f64,
    /// First and third quartile.
    pub quartiles: [f64; 2],
    /// Range of the shared false positive rate.
    pub range: [f64; 2],
    /// Thresholds at the ends of the range: the lowest normal scores that keep the rate; `None` where even the highest does not.
    pub thresholds: [Option<f64>; 2],
    /// Images without anomaly, which give the shared rate.
    pub normal_images: usize,
    /// Each image with anomaly.
    pub rows: Vec<PimoRow>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PimoRow {
    /// Its name.
    pub name: String,
    /// Area under its true positive rate over the logarithm of the shared rate, divided by the length of the range.
    pub aupimo: f64,
}

/// Judges images. All scores stay in memory, compressed.
#[derive(Debug, Default)]
pub struct Pimo {
    kind: Option<Kind>,
    normal: Vec<Run>,
    anomalous: Vec<(String, Run)>,
}

impl Pimo {
    /// Without images yet.
    pub fn new() -> Pimo {
        Pimo::default()
    }

    /// Adds an image: one without anomalous pixels gives the shared rate, others are judged.
    pub fn push(&mut self, name: String, counts: Counts) {
        self.kind = Some(counts.kind);
        if counts.anomaly() > 0 {
            self.anomalous.push((name, counts.anomaly));
        } else if counts.normal() > 0 {
            self.normal.push(counts.normal);
        }
    }

    /// How many images are without and with anomaly.
    pub fn images(&self) -> (usize, usize) {
        (self.normal.len(), self.anomalous.len())
    }

    /// The areas over shared rates from `low` to `high`; `None` without images of either sort.
    ///
    /// A threshold may be lowered until the next normal score without raising the rate: at each rate the best true positive
    /// rate that keeps to it counts. So the curve is defined at every rate, however few thresholds there are.
    pub fn finish(
        self,
        [low, high]: [f64; 2],
        settings: &BootstrapSettings,
    ) -> std::io::Result<Option<PimoReport>> {
        let kind = self.kind.unwrap_or(Kind::F32);
        if self.normal.is_empty() || self.anomalous.is_empty() {
            return Ok(None);
        }
        let steps = shared_rates(&self.normal, high)?;
        let mut rows = Vec::with_capacity(self.anomalous.len());
        for (name, run) in self.anomalous {
            rows.push(PimoRow { name, aupimo: area(&run, &steps, [low, high])? });
        }
        let values: Vec<f64> = rows.iter().map(|row| row.aupimo).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let threshold = |rate: f64| {
            let within = steps.partition_point(|(_, after)| *after <= rate);
            Some(kind.score(steps.get(within.checked_sub(1)?)?.0))
        };
        Ok(Some(PimoReport {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            interval: mean_interval(&values, settings),
            median: quantile(&sorted, 0.5),
            quartiles: [quantile(&sorted, 0.25), quantile(&sorted, 0.75)],
            range: [low, high],
            thresholds: [threshold(low), threshold(high)],
            normal_images: self.normal.len(),
            rows,
        }))
    }
}

/// Distinct normal scores by falling score, each with the shared rate at it: the mean over the images of the share of pixels
/// that score as high or higher. The last one is the first whose rate is above `high`.
fn shared_rates(normal: &[Run], high: f64) -> std::io::Result<Vec<(u64, f64)>> {
    let mut readers = normal.iter().map(Run::reader).collect::<Result<Vec<_>, _>>()?;
    let heads =
        readers.iter().enumerate().filter_map(|(image, reader)| Some(Reverse((reader.head()?, image))));
    let mut heads: BinaryHeap<Reverse<(u64, usize)>> = heads.collect();
    let (mut rate, mut steps) = (Sum::default(), Vec::new());
    while let Some(Reverse((key, _))) = heads.peek().copied() {
        while let Some(Reverse((_, image))) = heads.peek().filter(|Reverse((head, _))| *head == key).copied()
        {
            heads.pop();
            let mut pixels = 0;
            readers[image].take_below(key + 1, |_, count| pixels += count)?;
            rate.add(pixels as f64 / normal[image].pixels as f64 / normal.len() as f64);
            heads.extend(readers[image].head().map(|next| Reverse((next, image))));
        }
        steps.push((key, rate.value()));
        if rate.value() > high {
            break;
        }
    }
    Ok(steps)
}

/// The area of one image.
fn area(anomaly: &Run, steps: &[(u64, f64)], [low, high]: [f64; 2]) -> std::io::Result<f64> {
    let mut reader = anomaly.reader()?;
    let (mut found, mut sum, mut rate) = (0_u64, Sum::default(), 0.0_f64);
    // Until the rate of the next normal score is reached, all that scores higher than it is found.
    for (key, after) in steps.iter().copied().chain([(u64::MAX, f64::INFINITY)]) {
        reader.take_below(key, |_, count| found += count)?;
        let (from, to) = (rate.max(low), after.min(high));
        if to > from {
            sum.add(found as f64 / anomaly.pixels as f64 * (to.ln() - from.ln()));
        }
        rate = after;
        if rate >= high {
            break;
        }
    }
    Ok(sum.value() / (high.ln() - low.ln()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::truth::{ANOMALY, NORMAL};
    use crate::random::Random;

    /// By its definition, rate by rate on a fine grid of the logarithm.
    fn by_definition(normal: &[Vec<f32>], anomaly: &[f32], [low, high]: [f64; 2]) -> f64 {
        let mut thresholds: Vec<f32> = normal.iter().flatten().copied().collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let rate = |t: f32| {
            let share =
                |scores: &Vec<f32>| scores.iter().filter(|s| **s >= t).count() as f64 / scores.len() as f64;
            normal.iter().map(share).sum::<f64>() / normal.len() as f64
        };
        // Rates at which the curve may step, and the best true positive rate from there on.
        let mut steps = vec![(0.0, thresholds[0])];
        for (i, t) in thresholds.iter().enumerate() {
            steps.push((rate(*t), thresholds.get(i + 1).copied().unwrap_or(f32::NEG_INFINITY)));
        }
        let mut sum = 0.0;
        for (i, (from, below)) in steps.iter().enumerate() {
            let to = steps.get(i + 1).map_or(f64::INFINITY, |step| step.0);
            let (from, to) = (from.max(low), to.min(high));
            if to > from {
                let found = anomaly.iter().filter(|s| **s > *below).count() as f64 / anomaly.len() as f64;
                sum += found * (to.ln() - from.ln());
            }
        }
        sum / (high.ln() - low.ln())
    }

    #[test]
    fn areas_are_those_of_the_definition() {
        Random::for_many(80, |random| {
            let levels = [6, 60, 6000][random.below(3)];
            let draw = |random: &mut Random, count: usize, shift: usize| -> Vec<f32> {
                (0..count).map(|_| (random.below(levels) + shift) as f32 / 4.0).collect()
            };
            let normal: Vec<Vec<f32>> = (0..1 + random.below(5))
                .map(|_| {
                    let count = 1 + random.below(300);
                    draw(random, count, 0)
                })
                .collect();
            let range = [[1e-3, 1e-1], [1e-5, 1e-4], [0.2, 1.0]][random.below(3)];
            let mut pimo = Pimo::new();
            let mut want = Vec::new();
            for scores in &normal {
                pimo.push(String::new(), Counts::of(scores, &vec![NORMAL; scores.len()]).unwrap());
            }
            for _ in 0..1 + random.below(4) {
                let count = 1 + random.below(50);
                let scores = draw(random, count, levels / 2);
                want.push(by_definition(&normal, &scores, range));
                pimo.push("x".to_owned(), Counts::of(&scores, &vec![ANOMALY; scores.len()]).unwrap());
            }
            let report = pimo.finish(range, &BootstrapSettings::default()).unwrap().unwrap();
            for (row, want) in report.rows.iter().zip(&want) {
                assert!((row.aupimo - want).abs() < 1e-9, "{} {want}", row.aupimo);
                assert!((0.0..=1.0 + 1e-12).contains(&row.aupimo));
            }
            assert_eq!((report.rows.len(), report.normal_images), (want.len(), normal.len()));
        });
    }

    #[test]
    fn few_normal_pixels_are_no_error() {
        // A rate of 1e-5 lies below that of a single pixel: nothing above the highest normal score is lost.
        let mut pimo = Pimo::new();
        pimo.push("n".to_owned(), Counts::of(&[1.0_f32, 2.0, 3.0], &[NORMAL; 3]).unwrap());
        pimo.push("a".to_owned(), Counts::of(&[2.5_f32, 4.0], &[ANOMALY; 2]).unwrap());
        assert_eq!(pimo.images(), (1, 1));
        let report = pimo.finish([1e-5, 1e-4], &BootstrapSettings::default()).unwrap().unwrap();
        assert!((report.mean - 0.5).abs() < 1e-12 && report.thresholds == [None, None], "{report:?}");
        assert!(Pimo::new().finish([1e-5, 1e-4], &BootstrapSettings::default()).unwrap().is_none());
    }
}
