//! Where a method is strong and weak: by the size of the objects and by the region of the image.
//!
//! Counted at the thresholds of the pooled curve, which are some thousand exact operating points, in a
//! second pass over the maps; the average precision of a part is the step-wise sum over these points.

use serde::{Deserialize, Serialize};

use super::metrics::{Components, Curve};
use super::truth::{ANOMALY, NORMAL, Truth};
use crate::region::REFERENCE_AREA;

/// Sizes of objects: name, and pixels of a 640x360 picture from which it counts.
const SIZES: [(&str, u64); 3] = [("small", 0), ("medium", 400), ("large", 2500)];
/// Regions: a grid of so many rows and columns.
const GRID: usize = 3;
/// Names of the regions, row by row.
const REGIONS: [&str; GRID * GRID] =
    ["top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"];
/// The false positive rate at which recall is told.
const RATE: f64 = 0.05;

/// By size and by region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// False positive rate over all normal pixels at which `recall` and `found` are told.
    pub rate: f64,
    /// The threshold there.
    pub threshold: f64,
    /// Objects by size, with all normal pixels as background.
    pub sizes: Vec<Part>,
    /// Regions of the image: a grid of 3 x 3, row by row.
    pub regions: Vec<Part>,
}

/// One size or region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Normal pixels.
    pub normal: u64,
    /// Anomalous pixels.
    pub anomaly: u64,
    /// Objects (connected anomalous pixels), for sizes.
    pub objects: Option<u64>,
    /// Objects of which more than half is above the threshold.
    pub found: Option<u64>,
    /// Average precision over the curve's operating points.
    pub ap: Option<f64>,
    /// Share of the anomalous pixels above the threshold.
    pub recall: Option<f64>,
    /// Share of the normal pixels above the threshold.
    pub fpr: Option<f64>,
}

/// Counts of one part: pixels that reach exactly the i-th threshold of the curve and none before.
#[derive(Debug, Clone)]
struct Bins {
    normal: Vec<u64>,
    anomaly: Vec<u64>,
}

impl Bins {
    fn new(thresholds: usize) -> Bins {
        // The last bin is for what reaches no threshold.
        Bins { normal: vec![0; thresholds + 1], anomaly: vec![0; thresholds + 1] }
    }

    fn add(&mut self, other: &Bins) {
        self.normal.iter_mut().zip(&other.normal).for_each(|(a, b)| *a += b);
        self.anomaly.iter_mut().zip(&other.anomaly).for_each(|(a, b)| *a += b);
    }
}

/// Counts of some images; those of many are added up.
#[derive(Debug, Clone)]
pub struct Tally {
    thresholds: Vec<f64>,
    at_rate: f64,
    sizes: Vec<Bins>,
    objects: [(u64, u64); SIZES.len()],
    regions: Vec<Bins>,
    /// Normal pixels over the whole image, for the sizes.
    background: Bins,
}

impl Tally {
    /// Nothing counted yet, at the thresholds of `curve`.
    pub fn new(curve: &Curve) -> Tally {
        let thresholds: Vec<f64> = curve.points.iter().map(|point| point.threshold).collect();
        let within = curve.points.iter().rev().find(|point| point.fpr(curve) <= RATE);
        let at_rate = within.or(curve.points.first()).map_or(f64::INFINITY, |point| point.threshold);
        let count = thresholds.len();
        Tally {
            thresholds,
            at_rate,
            sizes: vec![Bins::new(count); SIZES.len()],
            objects: [(0, 0); SIZES.len()],
            regions: vec![Bins::new(count); REGIONS.len()],
            background: Bins::new(count),
        }
    }

    /// Counts one image; as many scores as pixels.
    pub fn count(&mut self, scores: &[f32], truth: &Truth) {
        let (width, height) = (truth.width, truth.height);
        let mask: Vec<bool> = truth.labels.iter().map(|label| *label == ANOMALY).collect();
        let objects = Components::of(&mask, width);
        let area = (width * height) as u64;
        let size_of: Vec<usize> = objects
            .areas
            .iter()
            .map(|pixels| {
                let scaled = pixels * REFERENCE_AREA / area.max(1);
                SIZES.iter().rposition(|(_, from)| scaled >= *from).unwrap_or(0)
            })
            .collect();
        let mut above = vec![0_u64; objects.areas.len()];
        for (i, (score, label)) in scores.iter().zip(&truth.labels).enumerate() {
            if *label != NORMAL && *label != ANOMALY {
                continue;
            }
            let score = f64::from(*score);
            let bin = self.thresholds.partition_point(|threshold| *threshold > score);
            let (y, x) = (i / width, i % width);
            let region = y * GRID / height * GRID + x * GRID / width;
            if *label == NORMAL {
                self.regions[region].normal[bin] += 1;
                self.background.normal[bin] += 1;
            } else {
                self.regions[region].anomaly[bin] += 1;
                let object = objects.of_pixel[i] as usize;
                self.sizes[size_of[object]].anomaly[bin] += 1;
                above[object] += u64::from(score >= self.at_rate);
            }
        }
        // Number 0 is what belongs to no object.
        for ((pixels, above), size) in objects.areas.iter().zip(&above).zip(&size_of).skip(1) {
            self.objects[*size].0 += 1;
            self.objects[*size].1 += u64::from(2 * above > *pixels);
        }
    }

    /// Adds the counts of other images at the same thresholds.
    pub fn add(&mut self, other: &Tally) {
        self.background.add(&other.background);
        self.sizes.iter_mut().zip(&other.sizes).for_each(|(a, b)| a.add(b));
        self.regions.iter_mut().zip(&other.regions).for_each(|(a, b)| a.add(b));
        for (a, b) in self.objects.iter_mut().zip(&other.objects) {
            *a = (a.0 + b.0, a.1 + b.1);
        }
    }

    /// The numbers.
    pub fn finish(&self) -> Breakdown {
        let sizes = SIZES.iter().zip(&self.sizes).zip(&self.objects).map(|(((name, _), bins), objects)| {
            let bins = Bins { normal: self.background.normal.clone(), anomaly: bins.anomaly.clone() };
            self.part(name, &bins, Some(*objects))
        });
        let regions = REGIONS.iter().zip(&self.regions).map(|(name, bins)| self.part(name, bins, None));
        Breakdown { rate: RATE, threshold: self.at_rate, sizes: sizes.collect(), regions: regions.collect() }
    }

    fn part(&self, name: &str, bins: &Bins, objects: Option<(u64, u64)>) -> Part {
        let (normal, anomaly): (u64, u64) = (bins.normal.iter().sum(), bins.anomaly.iter().sum());
        let (mut tp, mut fp, mut ap) = (0_u64, 0_u64, 0.0);
        let (mut tp_at, mut fp_at) = (0, 0);
        for (i, (new_fp, new_tp)) in bins.normal.iter().zip(&bins.anomaly).enumerate() {
            (tp, fp) = (tp + new_tp, fp + new_fp);
            ap += tp as f64 / (tp + fp).max(1) as f64 * *new_tp as f64;
            if self.thresholds.get(i).is_some_and(|threshold| *threshold >= self.at_rate) {
                (tp_at, fp_at) = (tp, fp);
            }
        }
        let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        Part {
            name: name.to_owned(),
            normal,
            anomaly,
            objects: objects.map(|(all, _)| all),
            found: objects.map(|(_, found)| found),
            ap: (anomaly > 0 && normal > 0).then(|| ap / anomaly as f64),
            recall: share(tp_at, anomaly),
            fpr: share(fp_at, normal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::CurvePoint;
    use crate::eval::truth::VOID;

    /// 60 x 30: a dot of one pixel, a block of 4 x 4 touching its corner, a bar of 20 x 6 elsewhere.
    fn truth() -> Truth {
        let (width, height) = (60, 30);
        let mut labels = vec![NORMAL; width * height];
        let mut paint = |xs: std::ops::Range<usize>, ys: std::ops::Range<usize>, label: u8| {
            for y in ys {
                labels[y * width..][xs.clone()].fill(label);
            }
        };
        paint(30..50, 22..28, ANOMALY);
        paint(5..9, 5..9, ANOMALY);
        paint(9..10, 9..10, ANOMALY);
        paint(0..60, 0..2, VOID);
        Truth { width, height, labels }
    }

    #[test]
    fn parts_are_what_counting_by_hand_gives() {
        let truth = truth();
        let scores: Vec<f32> = truth
            .labels
            .iter()
            .enumerate()
            .map(|(i, l)| if *l == ANOMALY { 2.0 } else { (i % 7) as f32 / 7.0 })
            .collect();
        let normal = truth.share().normal;
        let point = |threshold: f64, tp, fp| CurvePoint { threshold, tp, fp };
        let curve = Curve {
            normal,
            anomaly: 137,
            points: vec![point(2.0, 137, 0), point(0.5, 137, normal / 2), point(0.0, 137, normal)],
        };
        let mut tally = Tally::new(&curve);
        tally.count(&scores, &truth);
        let mut twice = tally.clone();
        twice.add(&tally);
        let report = tally.finish();
        assert_eq!(report.threshold, 2.0);
        let all: Vec<_> =
            report.sizes.iter().map(|p| (p.name.as_str(), p.anomaly, p.objects, p.found)).collect();
        // 17 pixels of 1800 are 2176 of 640x360, 120 are 15360.
        assert_eq!(
            all,
            [
                ("small", 0, Some(0), Some(0)),
                ("medium", 17, Some(1), Some(1)),
                ("large", 120, Some(1), Some(1))
            ]
        );
        assert_eq!((report.sizes[1].ap, report.sizes[0].ap), (Some(1.0), None));
        assert_eq!((report.sizes[1].recall, report.sizes[1].fpr), (Some(1.0), Some(0.0)));
        let regions: Vec<u64> = report.regions.iter().map(|p| p.anomaly).collect();
        assert_eq!(regions, [17, 0, 0, 0, 0, 0, 0, 60, 60]);
        assert_eq!(report.regions.iter().map(|p| p.normal).sum::<u64>(), normal);
        assert_eq!(twice.finish().sizes[2].anomaly, 240);
    }

    #[test]
    fn equal_scores_share_a_threshold() {
        let truth = Truth { width: 3, height: 1, labels: vec![NORMAL, ANOMALY, ANOMALY] };
        let curve = Curve {
            normal: 1,
            anomaly: 2,
            points: vec![
                CurvePoint { threshold: 1.0, tp: 1, fp: 1 },
                CurvePoint { threshold: 0.0, tp: 2, fp: 1 },
            ],
        };
        let mut tally = Tally::new(&curve);
        tally.count(&[1.0, 1.0, 0.0], &truth);
        let ap = tally.finish().sizes.iter().filter_map(|part| part.ap).sum::<f64>();
        // Half of recall at precision 1/2, half at 2/3.
        assert!((ap - (0.25 + 1.0 / 3.0)).abs() < 1e-12, "{ap}");
    }
}
