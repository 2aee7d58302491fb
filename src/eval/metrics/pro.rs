//! Per-region overlap: how much of each anomalous region is found, every region counting the same, and the area under that
//! over the false positive rate up to a limit (AUPRO; Bergmann et al., IJCV 2021).

use serde::{Deserialize, Serialize};

use super::components::Components;
use super::counts::Counts;
use super::detection::Sum;
use super::key::{Key as _, Score};
use super::pooled::{Pooled, PooledError};
use super::scratch::Limits;
use crate::eval::truth::ANOMALY;

/// A step of either axis that a plot shows.
const VISIBLE: f64 = 1.0 / 512.0;

/// What all images give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProReport {
    /// Area under PRO over FPR from 0 to `limit`, divided by `limit`: 1 at best, whatever the scores.
    pub aupro: f64,
    /// Up to which false positive rate.
    pub limit: f64,
    /// PRO at that rate, linearly between the two thresholds around it.
    pub pro_at_limit: f64,
    /// Anomalous regions: 8-connected, of all images.
    pub regions: u64,
    /// Images.
    pub images: usize,
    /// Operating points for plots, by falling threshold.
    pub curve: Vec<ProPoint>,
}

/// One operating point: pixels with a score of at least the threshold are taken as anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProPoint {
    /// Share of all normal pixels that is taken as anomalous.
    pub fpr: f64,
    /// Mean share of the pixels of a region that is.
    pub pro: f64,
}

/// Judges images. Of each anomalous pixel 16 bytes are kept, of the others what [`Pooled`] keeps.
#[derive(Debug)]
pub struct Pro {
    pooled: Pooled,
    /// Key and weight, one divided by the region's area, of anomalous pixels.
    weighted: Vec<(u64, f64)>,
    regions: u64,
    images: usize,
}

/// An image, sorted and ready to be added.
#[derive(Debug)]
pub struct ProImage {
    counts: Counts,
    weighted: Vec<(u64, f64)>,
    regions: u64,
}

impl ProImage {
    /// Of the scores and labels of an image `width` pixels wide, whose `counts` these are.
    pub fn of<S: Score>(counts: Counts, scores: &[S], labels: &[u8], width: usize) -> ProImage {
        let mask: Vec<bool> = labels.iter().map(|label| *label == ANOMALY).collect();
        let regions = Components::of(&mask, width);
        let inside = regions.of_pixel.iter().zip(scores).filter(|(region, _)| **region > 0);
        let weight = |region: u32| 1.0 / regions.areas[region as usize] as f64;
        let weighted = inside.map(|(region, score)| (score.key().wide(), weight(*region))).collect();
        ProImage { counts, weighted, regions: regions.len() as u64 }
    }
}

impl Pro {
    /// Without images yet.
    pub fn new(limits: Limits) -> Pro {
        Pro { pooled: Pooled::new(limits), weighted: Vec::new(), regions: 0, images: 0 }
    }

    /// Adds an image.
    ///
    /// # Errors
    /// As [`Pooled::push`].
    pub fn push(&mut self, image: ProImage) -> Result<(), PooledError> {
        self.weighted.extend(image.weighted);
        self.regions += image.regions;
        self.images += 1;
        self.pooled.push(image.counts)
    }

    /// The area up to the false positive rate `limit` (over 0, at most 1); `None` without a region or a normal pixel.
    ///
    /// # Errors
    /// If what was spilled cannot be read back.
    pub fn finish(mut self, limit: f64) -> Result<Option<ProReport>, PooledError> {
        let normal = self.pooled.normal();
        if self.regions == 0 || normal == 0 {
            return Ok(None);
        }
        // By weight, too: the sum must not depend on the order of the images.
        self.weighted.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let (mut weights, mut fp, mut found) = (self.weighted.iter().peekable(), 0_u64, Sum::default());
        let mut area = Area {
            limit,
            at: ProPoint { fpr: 0.0, pro: 0.0 },
            sum: Sum::default(),
            end: None,
            curve: Vec::new(),
        };
        let regions = self.regions as f64;
        self.pooled.walk(|step| {
            fp += step.normal;
            while let Some((_, weight)) = weights.next_if(|(key, _)| *key == step.key) {
                found.add(*weight);
            }
            area.step(ProPoint { fpr: fp as f64 / normal as f64, pro: found.value() / regions });
        })?;
        let (sum, last) = (area.sum.value(), area.at.pro);
        Ok(Some(ProReport {
            aupro: sum / limit,
            limit,
            pro_at_limit: area.end.unwrap_or(last),
            regions: self.regions,
            images: self.images,
            curve: area.curve,
        }))
    }
}

/// The area under a line of points up to a limit.
struct Area {
    limit: f64,
    at: ProPoint,
    sum: Sum,
    /// The height at the limit, once it is passed.
    end: Option<f64>,
    curve: Vec<ProPoint>,
}

impl Area {
    fn step(&mut self, to: ProPoint) {
        let shown =
            self.curve.last().is_none_or(|last| to.fpr - last.fpr >= VISIBLE || to.pro - last.pro >= VISIBLE);
        match self.curve.last_mut() {
            // Beyond it only PRO rises.
            Some(last) if last.fpr >= 1.0 => *last = to,
            _ if shown || to.fpr >= 1.0 => self.curve.push(to),
            _ => {}
        }
        if self.end.is_some() {
            return;
        }
        let from = std::mem::replace(&mut self.at, to);
        if to.fpr <= self.limit {
            self.sum.add((to.fpr - from.fpr) * (from.pro + to.pro) / 2.0);
            return;
        }
        let height = from.pro + (to.pro - from.pro) * (self.limit - from.fpr) / (to.fpr - from.fpr);
        self.sum.add((self.limit - from.fpr) * (from.pro + height) / 2.0);
        self.end = Some(height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::truth::{NORMAL, VOID};
    use crate::random::Random;

    /// By its definition: for every threshold the mean over the regions of the share that is found.
    fn by_definition(images: &[(Vec<f32>, Vec<u8>)], width: usize, limit: f64) -> f64 {
        let mut regions: Vec<Vec<f32>> = Vec::new();
        let (mut normal, mut all) = (Vec::new(), Vec::new());
        for (scores, labels) in images {
            let mask: Vec<bool> = labels.iter().map(|l| *l == ANOMALY).collect();
            let parts = Components::of(&mask, width);
            let first = regions.len();
            regions.resize(first + parts.len(), Vec::new());
            for (i, score) in scores.iter().enumerate() {
                match labels[i] {
                    ANOMALY => regions[first + parts.of_pixel[i] as usize - 1].push(*score),
                    NORMAL => normal.push(*score),
                    _ => continue,
                }
                all.push(*score);
            }
        }
        all.sort_by(|a, b| b.total_cmp(a));
        all.dedup();
        let share =
            |scores: &[f32], t: f32| scores.iter().filter(|s| **s >= t).count() as f64 / scores.len() as f64;
        let mut points = vec![(0.0, 0.0)];
        points.extend(all.iter().map(|t| {
            (share(&normal, *t), regions.iter().map(|r| share(r, *t)).sum::<f64>() / regions.len() as f64)
        }));
        let mut area = 0.0;
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let end = f64::min(x1, limit);
            if x0 < limit && x1 > x0 {
                let y = y0 + (y1 - y0) * (end - x0) / (x1 - x0);
                area += (end - x0) * (y0 + y) / 2.0;
            }
        }
        area / limit
    }

    #[test]
    fn the_area_is_that_of_the_definition() {
        Random::for_many(60, |random| {
            let (width, height) = (3 + random.below(12), 3 + random.below(12));
            let levels = [4, 40, 4000][random.below(3)];
            let images: Vec<(Vec<f32>, Vec<u8>)> = (0..1 + random.below(4))
                .map(|_| {
                    let labels: Vec<u8> = (0..width * height)
                        .map(|_| [NORMAL, NORMAL, NORMAL, ANOMALY, VOID][random.below(5)])
                        .collect();
                    let shift = |label: u8| if label == ANOMALY { levels / 4 } else { 0 };
                    let scores =
                        labels.iter().map(|l| (random.below(levels) + shift(*l)) as f32 / 8.0).collect();
                    (scores, labels)
                })
                .collect();
            let limit = [0.05, 0.3, 1.0][random.below(3)];
            let mut pro = Pro::new(Limits::default());
            for (scores, labels) in &images {
                let counts = Counts::of(scores, labels).unwrap();
                pro.push(ProImage::of(counts, scores, labels, width)).unwrap();
            }
            let Some(got) = pro.finish(limit).unwrap() else { return };
            let want = by_definition(&images, width, limit);
            assert!((got.aupro - want).abs() < 1e-12, "{} {want}", got.aupro);
            assert!(got.aupro <= 1.0 + 1e-12);
        });
    }

    /// Scores that tell perfectly never reach the limit's false positives before all is found.
    #[test]
    fn perfect_scores_have_an_area_of_one_and_few_false_positives_do_not_inflate_it() {
        let labels = [ANOMALY, NORMAL, NORMAL, NORMAL];
        for (scores, want) in [([9.0_f32, 1.0, 2.0, 3.0], 1.0), ([0.0, 1.0, 2.0, 3.0], 0.0)] {
            let mut pro = Pro::new(Limits::default());
            pro.push(ProImage::of(Counts::of(&scores, &labels).unwrap(), &scores, &labels, 4)).unwrap();
            let report = pro.finish(0.3).unwrap().unwrap();
            assert!((report.aupro - want).abs() < 1e-12, "{report:?}");
        }
        let mut none = Pro::new(Limits::default());
        let scores = [1.0_f32, 2.0];
        none.push(ProImage::of(Counts::of(&scores, &[NORMAL; 2]).unwrap(), &scores, &[NORMAL; 2], 2))
            .unwrap();
        assert_eq!(none.finish(0.3).unwrap(), None);
    }
}
