//! Average precision of anomalous instances: each predicted one matches a true one by its intersection over union, at ten
//! levels of it, as Cityscapes judges instances and OoDIS (Nekrasov et al. 2024) anomalous ones.

use serde::{Deserialize, Serialize};

use super::components::Components;

/// True instances with fewer pixels are neither demanded nor held against a prediction.
pub const LEAST_PIXELS: u64 = 10;
/// Levels of the intersection over union.
const LEVELS: usize = 10;

/// The i-th of the levels, 0.5 to 0.95.
fn level(i: usize) -> f64 {
    0.5 + i as f64 * 0.05
}

/// A predicted instance beside the truth of its image.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// How sure the method is; only the order counts.
    pub confidence: f64,
    /// Its pixels.
    pub area: u64,
    /// Those of them that are void.
    pub void: u64,
    /// Pixels that it shares with true instances, by their numbers.
    pub shared: Vec<(usize, u64)>,
}

/// An image: what is there and what was predicted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceImage {
    /// Pixels of each true instance.
    pub truths: Vec<u64>,
    /// The predictions.
    pub predicted: Vec<Predicted>,
}

/// What all images give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Mean of the average precision over all levels.
    pub ap: f64,
    /// Average precision at 0.5.
    pub ap50: f64,
    /// At each level.
    pub ap_at: Vec<ApAt>,
    /// True instances that count.
    pub truths: u64,
    /// Those that are too small to.
    pub small: u64,
    /// Predicted instances.
    pub predicted: u64,
    /// Images.
    pub images: usize,
}

/// The average precision at one level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ApAt {
    /// Matches have a larger intersection over union than this.
    pub iou: f64,
    /// The average precision.
    pub ap: f64,
    /// The share of the true instances that any prediction matches.
    pub recall: f64,
}

impl InstanceImage {
    /// The predictions of a score map: components above `threshold`, each as sure as its mean score. `truth` has the number of
    /// the true instance that each pixel is of, from 1, or 0; `void` marks pixels that do not count.
    pub fn of_scores(
        scores: &[f64],
        threshold: f64,
        truth: &[u32],
        void: &[bool],
        width: usize,
    ) -> InstanceImage {
        let above: Vec<bool> =
            scores.iter().zip(void).map(|(score, void)| !void && *score > threshold).collect();
        let found = Components::of(&above, width);
        let mut sums = vec![0.0_f64; found.areas.len()];
        for (number, score) in found.of_pixel.iter().zip(scores) {
            sums[*number as usize] += *score;
        }
        let mut image = InstanceImage { truths: areas(truth), predicted: Vec::new() };
        let mut shared = vec![std::collections::BTreeMap::new(); found.areas.len()];
        for (number, real) in
            found.of_pixel.iter().zip(truth).filter(|(number, real)| **number > 0 && **real > 0)
        {
            *shared[*number as usize].entry(*real as usize - 1).or_insert(0) += 1;
        }
        for (number, area) in found.areas.iter().enumerate().skip(1) {
            image.predicted.push(Predicted {
                confidence: sums[number] / *area as f64,
                area: *area,
                void: 0,
                shared: shared[number].iter().map(|(real, pixels)| (*real, *pixels)).collect(),
            });
        }
        image
    }

    /// Adds a prediction given as a mask; an empty one is none.
    pub fn add(&mut self, mask: &[bool], confidence: f64, truth: &[u32], void: &[bool]) {
        let (mut area, mut on_void) = (0, 0);
        let mut shared = std::collections::BTreeMap::new();
        for ((_, real), void) in mask.iter().zip(truth).zip(void).filter(|((inside, _), _)| **inside) {
            area += 1;
            on_void += u64::from(*void);
            if *real > 0 {
                *shared.entry(*real as usize - 1).or_insert(0) += 1;
            }
        }
        if area > 0 {
            let shared = shared.into_iter().collect();
            self.predicted.push(Predicted { confidence, area, void: on_void, shared });
        }
    }

    /// Without predictions yet.
    pub fn new(truth: &[u32]) -> InstanceImage {
        InstanceImage { truths: areas(truth), predicted: Vec::new() }
    }
}

/// Pixels of each instance of a map of numbers from 1.
fn areas(truth: &[u32]) -> Vec<u64> {
    let mut areas = Vec::new();
    for number in truth.iter().filter(|number| **number > 0) {
        let at = *number as usize;
        if areas.len() < at {
            areas.resize(at, 0);
        }
        areas[at - 1] += 1;
    }
    areas
}

/// The numbers of all images; `None` without a true instance that counts.
pub fn judge(images: &[InstanceImage]) -> Option<InstanceReport> {
    let all = || images.iter().flat_map(|image| &image.truths).filter(|area| **area > 0);
    let truths = all().filter(|area| **area >= LEAST_PIXELS).count() as u64;
    if truths == 0 {
        return None;
    }
    let ap_at: Vec<ApAt> = (0..LEVELS).map(|i| at(images, level(i))).collect();
    Some(InstanceReport {
        ap: ap_at.iter().map(|at| at.ap).sum::<f64>() / LEVELS as f64,
        ap50: ap_at[0].ap,
        ap_at,
        truths,
        small: all().count() as u64 - truths,
        predicted: images.iter().map(|image| image.predicted.len() as u64).sum(),
        images: images.len(),
    })
}

/// What one image gives at one level: predictions by confidence, right or wrong, and how many true ones nobody matches.
fn matched(image: &InstanceImage, iou: f64, judged: &mut Vec<(f64, bool)>) -> u64 {
    let overlap = |predicted: &Predicted, truth: usize, shared: u64| {
        shared as f64 / (image.truths[truth] + predicted.area - shared) as f64
    };
    let mut best: Vec<Option<f64>> = vec![None; image.truths.len()];
    for predicted in &image.predicted {
        let mut found = false;
        for (truth, shared) in &predicted.shared {
            if overlap(predicted, *truth, *shared) <= iou {
                continue;
            }
            found = true;
            if image.truths[*truth] < LEAST_PIXELS {
                continue;
            }
            // Of several that match, the surest is right and each other one is wrong.
            let known = best[*truth].replace(predicted.confidence);
            if let Some(known) = known {
                best[*truth] = Some(known.max(predicted.confidence));
                judged.push((known.min(predicted.confidence), false));
            }
        }
        let small =
            |(truth, shared): &(usize, u64)| if image.truths[*truth] < LEAST_PIXELS { *shared } else { 0 };
        let ignored = predicted.void + predicted.shared.iter().map(small).sum::<u64>();
        if !found && ignored as f64 / predicted.area as f64 <= iou {
            judged.push((predicted.confidence, false));
        }
    }
    let counting = image.truths.iter().zip(&best).filter(|(area, _)| **area >= LEAST_PIXELS);
    let mut missed = 0;
    for (_, best) in counting {
        match best {
            Some(confidence) => judged.push((*confidence, true)),
            None => missed += 1,
        }
    }
    missed
}

/// The average precision at one level: the area under precision over recall, each threshold's precision standing for half the
/// way to its neighbours, and precision 1 at recall 0, as Cityscapes integrates it.
fn at(images: &[InstanceImage], iou: f64) -> ApAt {
    let (mut judged, mut missed) = (Vec::new(), 0);
    for image in images {
        missed += matched(image, iou, &mut judged);
    }
    judged.sort_by(|a, b| b.0.total_cmp(&a.0));
    let right = judged.iter().filter(|(_, right)| *right).count() as u64;
    let real = (right + missed).max(1) as f64;
    // By falling threshold, from recall 0 on.
    let mut points = vec![(0.0, 1.0)];
    let (mut tp, mut fp) = (0_u64, 0_u64);
    for tied in judged.chunk_by(|a, b| a.0 == b.0) {
        let more = tied.iter().filter(|(_, right)| *right).count() as u64;
        (tp, fp) = (tp + more, fp + tied.len() as u64 - more);
        points.push((tp as f64 / real, tp as f64 / (tp + fp) as f64));
    }
    let recall = |i: usize| points[i.min(points.len() - 1)].0;
    let ap = points
        .iter()
        .enumerate()
        .map(|(i, (_, precision))| precision * (recall(i + 1) - recall(i.saturating_sub(1))) / 2.0);
    // Without any prediction the point at recall 0 has no width.
    ApAt { iou, ap: ap.sum(), recall: right as f64 / real }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rectangles (x, width) in a picture 40 wide and 4 high, over all its height.
    fn stripes(of: &[(usize, usize)]) -> Vec<u32> {
        let mut map = vec![0; 160];
        for (number, (x, width)) in of.iter().enumerate() {
            for y in 0..4 {
                map[y * 40 + x..y * 40 + x + width].fill(number as u32 + 1);
            }
        }
        map
    }

    fn mask(x: usize, width: usize) -> Vec<bool> {
        stripes(&[(x, width)]).iter().map(|n| *n > 0).collect()
    }

    #[test]
    fn perfect_predictions_have_a_precision_of_one() {
        let (truth, void) = (stripes(&[(0, 5), (10, 8)]), vec![false; 160]);
        let mut image = InstanceImage::new(&truth);
        image.add(&mask(0, 5), 0.4, &truth, &void);
        image.add(&mask(10, 8), 0.9, &truth, &void);
        let report = judge(&[image]).unwrap();
        assert_eq!((report.truths, report.predicted, report.small), (2, 2, 0));
        assert!((report.ap - 1.0).abs() < 1e-12 && report.ap_at.iter().all(|at| at.recall == 1.0));
    }

    /// Two true ones; a right prediction at 0.9, a wrong one at 0.8, a right one at 0.7: the thresholds have (recall,
    /// precision) (1/2, 1), (1/2, 1/2), (1, 2/3); Cityscapes' rule weighs them 1/4 each, and the point (0, 1), too.
    #[test]
    fn precision_is_integrated_as_cityscapes_does() {
        let (truth, void) = (stripes(&[(0, 5), (10, 8)]), vec![false; 160]);
        let mut image = InstanceImage::new(&truth);
        image.add(&mask(0, 5), 0.9, &truth, &void);
        image.add(&mask(30, 6), 0.8, &truth, &void);
        image.add(&mask(10, 8), 0.7, &truth, &void);
        let want = 0.25 * 1.0 + 0.25 * 1.0 + 0.25 * 0.5 + 0.25 * (2.0 / 3.0);
        let report = judge(&[image]).unwrap();
        assert!((report.ap50 - want).abs() < 1e-12, "{report:?}");
    }

    #[test]
    fn doubles_are_wrong_and_what_lies_on_void_or_on_small_ones_is_not() {
        let truth = stripes(&[(0, 10), (20, 2)]);
        let void: Vec<bool> = mask(30, 10);
        let mut image = InstanceImage::new(&truth);
        assert_eq!(image.truths, [40, 8]);
        image.add(&mask(0, 10), 0.5, &truth, &void);
        // The same thing once more, surer: the surer one is right, the other wrong.
        image.add(&mask(0, 9), 0.6, &truth, &void);
        // A small true one found, and a region of void: neither right nor wrong.
        image.add(&mask(20, 2), 0.9, &truth, &void);
        image.add(&mask(30, 9), 0.9, &truth, &void);
        image.add(&[false; 160], 1.0, &truth, &void);
        let mut judged = Vec::new();
        assert_eq!(matched(&image, 0.5, &mut judged), 0);
        assert_eq!(judged, [(0.5, false), (0.6, true)]);
        let report = judge(&[image.clone()]).unwrap();
        assert_eq!((report.truths, report.small, report.predicted), (1, 1, 4));
        // At a high level the narrower of the two is no match any more, but wrong.
        judged.clear();
        matched(&image, 0.95, &mut judged);
        assert_eq!(judged, [(0.6, false), (0.5, true)]);
    }

    #[test]
    fn components_of_a_score_map_are_as_sure_as_their_mean() {
        let truth = stripes(&[(0, 5)]);
        let mut scores = vec![0.0_f64; 160];
        for (i, score) in scores.iter_mut().enumerate() {
            match i % 40 {
                0..5 => *score = 2.0 + (i % 40) as f64,
                20..25 => *score = 3.0,
                35.. => *score = 9.0,
                _ => {}
            }
        }
        let image = InstanceImage::of_scores(&scores, 1.0, &truth, &mask(35, 5), 40);
        assert_eq!(image.predicted.len(), 2, "void is left out");
        assert_eq!((image.predicted[0].confidence, image.predicted[1].confidence), (4.0, 3.0));
        assert_eq!(image.predicted[0].shared, [(0, 20)]);
        assert!((judge(&[image]).unwrap().ap50 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_predicted_is_zero_and_nothing_true_is_no_number() {
        let truth = stripes(&[(0, 5)]);
        assert_eq!(judge(&[InstanceImage::new(&truth)]).unwrap().ap, 0.0);
        assert_eq!(judge(&[InstanceImage::new(&[0; 160])]), None);
        assert_eq!(judge(&[InstanceImage::new(&stripes(&[(0, 2)]))]), None, "a small one alone");
    }
}
