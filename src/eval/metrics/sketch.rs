//! Sketches: few steps that stand for the scores of an image. Approximate; for the bootstrap alone.

use super::counts::Counts;
use super::walk::Step;

/// The false positives of the image grow by this ratio from one step to the next.
const RATIO: f64 = 1.01;
/// The true positives of the image grow by this share of its anomalous pixels.
const SHARE: f64 = 1.0 / 512.0;

/// Groups of neighbouring scores of one image, as if each had the lowest score of its group.
#[derive(Debug, Clone)]
pub struct Sketch {
    /// By falling score.
    pub steps: Vec<Step>,
}

impl Sketch {
    /// The sketch of an image: about 1000 steps, finest where the scores are highest, so that precision
    /// at any recall is off by about 1 % of itself at most.
    pub fn of(counts: &Counts) -> Sketch {
        let rise = ((counts.anomaly() as f64 * SHARE) as u64).max(1);
        let (mut steps, mut group) = (Vec::new(), Step { key: 0, normal: 0, anomaly: 0 });
        let (mut fp, mut tp, mut next) = (0, 0, (1, rise));
        counts.walk(|step| {
            group.key = step.key;
            group.normal += step.normal;
            group.anomaly += step.anomaly;
            (fp, tp) = (fp + step.normal, tp + step.anomaly);
            if (step.normal > 0 && fp >= next.0) || (step.anomaly > 0 && tp >= next.1) {
                steps.push(group);
                group = Step { key: 0, normal: 0, anomaly: 0 };
                next = (((fp as f64 * RATIO) as u64).max(fp + 1), tp + rise);
            }
        });
        if group.normal + group.anomaly > 0 {
            steps.push(group);
        }
        Sketch { steps }
    }
}
