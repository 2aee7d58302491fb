//! What any bytes must do when they are read as a score map or a truth mask; for the fuzzer (`fuzz/`) and
//! for the test that replays its corpus.

use super::maps::{self, Scores};
use super::metrics::Counts;
use super::truth::{ValueMap, values_seen};
use crate::collect::LabelMask;

/// Reads `bytes` as a score map, and counts it if it is one.
///
/// # Panics
/// If the reader breaks its promises: that is what a fuzzer looks for.
pub fn scores(bytes: &[u8]) {
    let described = maps::describe(bytes);
    let Ok(image) = maps::decode(bytes) else { return };
    let info = described.expect("what can be read has a header");
    assert_eq!((info.width, info.height), (image.width, image.height));
    let labels: Vec<u8> = (0..image.width * image.height).map(|i| (i % 2) as u8).collect();
    let counted = match &image.scores {
        Scores::F32(scores) => Counts::of(scores, &labels),
        Scores::F64(scores) => Counts::of(scores, &labels),
    };
    if let Ok(counts) = counted {
        assert_eq!(counts.normal() + counts.anomaly(), labels.len() as u64);
        if let Some(detection) = counts.detection() {
            assert!([detection.ap, detection.auroc].iter().all(|share| (0.0..1.0 + 1e-9).contains(share)));
        }
    }
}

/// Reads `bytes` as a truth mask, and maps its values if it is one.
///
/// # Panics
/// If the reader breaks its promises: that is what a fuzzer looks for.
pub fn truth(bytes: &[u8]) {
    let Ok(raw) = LabelMask::decode(bytes) else { return };
    assert_eq!(raw.values.len(), raw.width * raw.height);
    let seen = values_seen(&raw);
    assert_eq!(seen.values().sum::<u64>(), raw.values.len() as u64);
    let known = seen.keys().all(|value| [0, 1, 255].contains(value));
    match ValueMap::default().apply(&raw) {
        Ok(truth) => assert!(known && truth.labels.len() == raw.values.len()),
        Err(unknown) => assert!(!known && unknown.values.len() <= seen.len()),
    }
}
