//! Metrics against the plainest way to compute them, on many random sets of pixels.

use super::*;
use crate::eval::truth::{ANOMALY, NORMAL, VOID};
use crate::random::Random;

/// Pixels with few or many ties, of one class or both.
fn pixels(random: &mut Random, most: usize) -> (Vec<f32>, Vec<u8>) {
    let (count, levels) = (1 + random.below(most), 1 + random.below(3000));
    let (anomalous, raw) = (random.below(101), random.below(4) == 0);
    let pixel = |_| {
        let label = match random.below(100) {
            draw if draw >= 95 => VOID,
            draw if draw < anomalous => ANOMALY,
            _ => NORMAL,
        };
        let level = random.below(levels) as f32 - levels as f32 / 2.0;
        let score = if raw { f32::from_bits(random.bits() as u32) } else { level * 0.37 };
        (if score.is_finite() { score } else { 0.0 }, label)
    };
    (0..count).map(pixel).unzip()
}

/// True and false positives at each distinct threshold, falling; and the totals.
fn operating_points(scores: &[f32], labels: &[u8]) -> (Vec<(f32, u64, u64)>, u64, u64) {
    let mut counted: Vec<(f32, u8)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    counted.retain(|(_, label)| *label != VOID);
    counted.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
    let (mut tp, mut fp, mut points) = (0, 0, Vec::new());
    for (i, (score, label)) in counted.iter().enumerate() {
        if *label == ANOMALY {
            tp += 1
        } else {
            fp += 1
        }
        if counted.get(i + 1).is_none_or(|next| next.0 != *score) {
            points.push((*score, tp, fp));
        }
    }
    (points, tp, fp)
}

#[test]
fn metrics_are_what_their_definitions_say() {
    Random::for_many(400, |random| {
        let (scores, labels) = pixels(random, 3000);
        let (points, anomaly, normal) = operating_points(&scores, &labels);
        let got = Counts::of(&scores, &labels).unwrap().detection();
        if anomaly == 0 || normal == 0 {
            assert_eq!(got, None);
            return;
        }
        let got = got.unwrap();
        let (p, n) = (anomaly as f64, normal as f64);
        let (mut ap, mut area, mut before) = (0.0, 0.0, (0, 0));
        for (_, tp, fp) in &points {
            ap += (tp - before.0) as f64 / p * (*tp as f64 / (tp + fp) as f64);
            area += (fp - before.1) as f64 / n * ((tp + before.0) as f64 / (2.0 * p));
            before = (*tp, *fp);
        }
        assert!((got.ap - ap).abs() < 1e-12 && (got.auroc - area).abs() < 1e-12, "{got:?}");
        let first = |level: f64| points.iter().find(|(_, tp, _)| *tp as f64 / p >= level).unwrap();
        assert_eq!(got.fpr95_first, first(0.95).2 as f64 / n);
        for (at, level) in got.fpr_at.iter().zip(TPR_LEVELS) {
            assert_eq!((at.tpr, at.fpr), (level, first(level).2 as f64 / n));
            assert_eq!(at.threshold, f64::from(first(level).0));
        }
        let off = |tp: u64| (tp as f64 / p - 0.95).abs();
        let mut closest = points[0];
        for point in &points {
            if off(point.1) < off(closest.1) {
                closest = *point;
            }
        }
        assert_eq!(got.fpr95_closest, closest.2 as f64 / n);
        let f1 = |(_, tp, fp): &(f32, u64, u64)| 2.0 * *tp as f64 / ((tp + fp) as f64 + p);
        let best = points.iter().map(f1).fold(0.0, f64::max);
        assert_eq!(got.best_f1, best);
        let at = points.iter().find(|point| f1(point) == best).unwrap();
        assert_eq!(got.best_f1_threshold, f64::from(at.0));
    });
}

#[test]
fn what_is_spilled_counts_as_what_is_not() {
    let scratch = tempfile::tempdir().unwrap();
    Random::for_many(6, |random| {
        let limits = Limits {
            memory_bytes: 20_000,
            scratch: scratch.path().to_owned(),
            expected_pixels: Some(1_000_000),
        };
        let (mut tight, mut roomy) = (Pooled::new(limits), Pooled::new(Limits::default()));
        for _ in 0..20 {
            let (scores, labels) = pixels(random, 20_000);
            tight.add(&scores, &labels).unwrap();
            roomy.add(&scores, &labels).unwrap();
        }
        assert!(tight.spilled_bytes() > 0 && roomy.spilled_bytes() == 0);
        let (a, b) = (tight.overview(50).unwrap(), roomy.overview(50).unwrap());
        assert_eq!(a.is_some(), b.is_some());
        if let (Some(mut a), Some(b)) = (a, b) {
            // Sums of other parts round differently.
            assert!((a.detection.ap - b.detection.ap).abs() < 1e-14);
            a.detection.ap = b.detection.ap;
            assert_eq!((a.detection, a.histogram), (b.detection, b.histogram));
        }
        assert_eq!(tight.at(&[0.0, 3.1]).unwrap(), roomy.at(&[0.0, 3.1]).unwrap());
    });
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0);
}

#[test]
fn parts_of_a_walk_join_to_the_whole() {
    let mut random = Random::new(11);
    // So many distinct scores that the walk is split, in memory and in files.
    let pixel = |_| {
        let label = if random.below(40) == 0 { ANOMALY } else { NORMAL };
        ((random.unit() + 0.3 * f64::from(label)) as f32, label)
    };
    let (scores, labels): (Vec<f32>, Vec<u8>) = (0..1_500_000).map(pixel).unzip();
    let whole = Counts::of(&scores, &labels).unwrap().detection().unwrap();
    for memory_bytes in [1 << 30, 1 << 20] {
        let mut pooled = Pooled::new(Limits { memory_bytes, ..Limits::default() });
        for (scores, labels) in scores.chunks(200_000).zip(labels.chunks(200_000)) {
            pooled.add(scores, labels).unwrap();
        }
        assert_eq!(pooled.spilled_bytes() > 0, memory_bytes == 1 << 20);
        let overview = pooled.overview(64).unwrap().unwrap();
        let mut got = overview.detection.clone();
        assert_eq!(pooled.detection().unwrap(), Some(got.clone()));
        // Sums of parts round differently, all else is the same.
        assert!((got.ap - whole.ap).abs() < 1e-14, "{} {}", got.ap, whole.ap);
        got.ap = whole.ap;
        assert_eq!(got, whole);
        let counted = (overview.histogram.normal.iter().sum(), overview.histogram.anomaly.iter().sum());
        assert_eq!(counted, (whole.normal, whole.anomaly));
        let points = &overview.curve.points;
        assert!(points.len() < 6000 && points.is_sorted_by(|a, b| a.threshold > b.threshold));
    }
}

#[test]
fn a_scratch_folder_that_is_not_there_is_named() {
    let limits = Limits { memory_bytes: 1000, scratch: "/nowhere/at/all".into(), expected_pixels: None };
    let mut pooled = Pooled::new(limits);
    let scores: Vec<f32> = (0..100_000).map(|i| i as f32 * 0.7).collect();
    let error = pooled.add(&scores, &vec![NORMAL; scores.len()]).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all") && error.contains("give another folder"), "{error}");
}

#[test]
fn scores_that_are_no_numbers_are_placed() {
    let labels = [NORMAL, VOID, ANOMALY, NORMAL];
    let error = |scores: [f32; 4]| Counts::of(&scores, &labels).unwrap_err();
    assert!(Counts::of(&[0.0, f32::NAN, 1.0, 2.0], &labels).is_ok(), "void does not count");
    let nan = error([0.0, f32::NAN, f32::NAN, f32::INFINITY]);
    assert_eq!(nan, CountError::NotFinite { first: 2, what: "NaN".into(), more: 1 });
    assert!(error([f32::NEG_INFINITY, 0.0, 0.0, 0.0]).to_string().contains("pixel 0 is -inf, as are 0 more"));
    assert_eq!(Counts::of(&[0.0_f32], &labels).unwrap_err(), CountError::Lengths { scores: 1, labels: 4 });
    let mut pooled = Pooled::default();
    pooled.add(&[0.5_f32], &[NORMAL]).unwrap();
    assert!(matches!(pooled.add(&[0.5_f64], &[NORMAL]), Err(PooledError::Mixed)));
}

#[test]
fn counts_above_any_threshold_are_those_of_the_pixels() {
    Random::for_many(100, |random| {
        let (scores, labels) = pixels(random, 2000);
        let mut pooled = Pooled::default();
        pooled.add(&scores, &labels).unwrap();
        let Some(threshold) = scores.get(random.below(scores.len().max(1))).copied().map(f64::from) else {
            return;
        };
        let at = pooled.at(&[threshold]).unwrap()[0];
        assert_eq!(at, Counts::of(&scores, &labels).unwrap().at(threshold));
        let above = scores.iter().zip(&labels).filter(|(s, l)| **l == NORMAL && f64::from(**s) > threshold);
        assert_eq!(at.fp, above.count() as u64);
    });
}

#[test]
fn curves_and_histograms_hold_every_pixel() {
    Random::for_many(60, |random| {
        let (scores, labels) = pixels(random, 40_000);
        let mut pooled = Pooled::default();
        pooled.add(&scores, &labels).unwrap();
        let Some(all) = pooled.overview(40).unwrap() else { return };
        let (points, anomaly, normal) = operating_points(&scores, &labels);
        assert_eq!(all.histogram.normal.iter().sum::<u64>(), normal);
        assert_eq!(all.histogram.anomaly.iter().sum::<u64>(), anomaly);
        assert!(all.histogram.edges.is_sorted() && all.histogram.edges.len() == 41);
        let last = all.curve.points.last().unwrap();
        assert_eq!((last.tp, last.fp), (anomaly, normal));
        assert!(all.curve.points.len() < 5000);
        for kept in &all.curve.points {
            assert!(points.contains(&(kept.threshold as f32, kept.tp, kept.fp)), "{kept:?}");
        }
        // Between two kept points recall and false positive rate move by less than an eye sees.
        for pair in all.curve.points.windows(2) {
            let steps = points.iter().filter(|p| p.1 + p.2 > pair[0].tp + pair[0].fp);
            let skipped = steps.take_while(|p| p.1 + p.2 < pair[1].tp + pair[1].fp);
            for (_, tp, fp) in skipped {
                assert!((tp - pair[0].tp) as f64 <= anomaly as f64 / 1024.0 + 1.0);
                assert!((fp - pair[0].fp) as f64 <= normal as f64 / 1024.0 + 1.0);
            }
        }
    });
}

/// Images of one data set, harder and easier ones.
fn images(random: &mut Random, count: usize, size: usize) -> Vec<(Vec<f32>, Vec<u8>)> {
    let image = |_| {
        let (shift, share) = (1.0 + 2.0 * random.unit(), 1 + random.below(20));
        let pixel = |_| {
            let label = if random.below(100) < share { ANOMALY } else { NORMAL };
            let noise: f64 = (0..4).map(|_| random.unit() - 0.5).sum();
            ((noise + if label == ANOMALY { shift * 0.6 } else { 0.0 }) as f32, label)
        };
        (0..size).map(pixel).unzip()
    };
    (0..count).map(image).collect()
}

#[test]
fn intervals_from_sketches_are_those_of_the_pixels() {
    let images = images(&mut Random::new(7), 12, 4000);
    let settings = BootstrapSettings { replicates: 200, seed: 3, level: 0.9 };
    let run = |settings: BootstrapSettings| {
        let (mut pooled, mut bootstrap) = (Pooled::default(), Bootstrap::new(settings));
        for (scores, labels) in &images {
            let counts = Counts::of(scores, labels).unwrap();
            bootstrap.push(&counts);
            pooled.push(counts).unwrap();
        }
        let exact = pooled.detection().unwrap().unwrap();
        (bootstrap.intervals(&exact).unwrap(), exact)
    };
    let (got, exact) = run(settings);
    assert_eq!(run(settings).0, got, "the same seed gives the same intervals");
    assert_ne!(run(BootstrapSettings { seed: 4, ..settings }).0.ap, got.ap);
    assert!(got.ap.low < exact.ap && exact.ap < got.ap.high);
    // The same draws with every pixel.
    let all = |weights: &[u32]| {
        let mut pooled = Pooled::default();
        for ((scores, labels), weight) in images.iter().zip(weights) {
            (0..*weight).for_each(|_| pooled.add(scores, labels).unwrap());
        }
        let d = pooled.detection().unwrap()?;
        Some([d.ap, d.auroc, d.fpr95_first, d.fpr95_closest, d.best_f1])
    };
    let exact = [exact.ap, exact.auroc, exact.fpr95_first, exact.fpr95_closest, exact.best_f1];
    let want = bootstrap::resample(images.len(), &exact, all, &settings).unwrap();
    let got = [got.ap, got.auroc, got.fpr95_first, got.fpr95_closest, got.best_f1];
    for (got, want) in got.iter().zip(want) {
        let width = want.high - want.low;
        assert!((got.low - want.low).abs() < 0.05 * width, "{got:?} {want:?}");
        assert!((got.high - want.high).abs() < 0.05 * width, "{got:?} {want:?}");
    }
}

#[test]
fn means_and_differences_have_intervals() {
    let settings = BootstrapSettings::default();
    let values: Vec<f64> = (0..100).map(f64::from).collect();
    let mean = mean_interval(&values, &settings).unwrap();
    // The standard error of the mean is 2.89.
    assert!((mean.low - (49.5 - 1.96 * 2.89)).abs() < 0.6, "{mean:?}");
    assert!((mean.high - (49.5 + 1.96 * 2.89)).abs() < 0.6, "{mean:?}");
    let more: Vec<f64> = values.iter().map(|v| v + 2.0).collect();
    let difference = paired_difference(&values, &more, &settings).unwrap();
    assert_eq!((difference.low, difference.high), (2.0, 2.0));
    assert_eq!(mean_interval(&values[..1], &settings), None);
    assert_eq!(paired_difference(&values, &more[1..], &settings), None);
}

#[test]
fn images_are_averaged_and_those_without_anomaly_left_out() {
    let mut per_image = PerImage::new();
    let mut calibration = Calibration::new(0.5);
    for (name, scores, labels) in [
        ("right", vec![0.1_f32, 0.9], vec![NORMAL, ANOMALY]),
        ("wrong", vec![0.9, 0.1, 0.2], vec![NORMAL, ANOMALY, VOID]),
        ("nothing", vec![0.3, 0.4], vec![NORMAL, NORMAL]),
    ] {
        let counts = Counts::of(&scores, &labels).unwrap();
        per_image.push(name.to_owned(), &counts);
        calibration.push(&counts);
    }
    let report = per_image.finish(&BootstrapSettings::default());
    let mean = report.mean.unwrap();
    assert_eq!((mean.ap, mean.auroc, mean.fpr95_first), (0.75, 0.5, 0.5));
    assert_eq!((report.images, report.skipped.as_slice()), (2, &["nothing".to_owned()][..]));
    assert_eq!(report.rows.len(), 3);
    let report = calibration.finish(&BootstrapSettings::default());
    assert_eq!((report.pixels.fpr, report.pixels.recall), (Some(0.25), Some(0.5)));
    assert_eq!((report.images, report.images_with_false_alarm), (3, 1));
    assert_eq!((report.images_with_anomaly, report.images_with_anomaly_found), (2, 1));
    assert!(report.recall_interval.unwrap().low < 0.5);
}
