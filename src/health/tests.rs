//! Counters, latency, and what they are told as.

use super::*;

#[test]
fn the_last_line_has_its_promised_form() {
    let health = Health::new();
    let now = Instant::now();
    for _ in 0..3 {
        health.frame_done(now);
    }
    health.frame_dropped();
    let mut report = health.report();
    report.fps = 20.44;
    report.p50_ms = 41.24;
    report.p95_ms = 88.0;
    assert_eq!(report.to_string(), "3 frames, 20.4 fps, p50 41.2 ms, p95 88.0 ms, dropped 1");
}

#[test]
fn several_are_told_as_one() {
    let (one, other) = (Health::new(), Health::new());
    let now = Instant::now();
    (0..90).for_each(|_| one.frame_done(now - Duration::from_millis(20)));
    (0..10).for_each(|_| other.frame_done(now - Duration::from_millis(900)));
    other.frame_dropped();
    let both = Health::together(&[&one, &other]).unwrap();
    assert_eq!((both.frames, both.dropped), (100, 1));
    assert!((both.p50_ms - 20.0).abs() < 5.0 && (both.p95_ms - 900.0).abs() < 20.0, "{both:?}");
    assert!(Health::together(&[]).is_none());
}

#[test]
fn what_the_source_dropped_counts_too() {
    let health = Health::new();
    health.frame_dropped();
    health.watch(Arc::new(SourceStatus::of(20, 4, 2)));
    health.faulty_patches().store(7, Relaxed);
    let report = health.report();
    assert_eq!((report.dropped, report.reconnects, report.faulty_patches), (5, 2, 7));
    assert_eq!(health.recent().dropped, 5);
}

#[test]
fn as_many_frames_are_useful_as_keep_the_slowest_stage_busy() {
    let cases: [(&[u64], usize); 6] = [
        (&[400], 1),
        (&[400, 30, 5], 1),
        (&[400, 60, 5], 2),
        (&[15, 3, 2, 2, 7], 2),
        (&[10, 10, 10], 3),
        (&[0], 0),
    ];
    for (times, want) in cases {
        let health = Health::new();
        health.stage(SOURCE_STAGE).worked(Duration::from_secs(9));
        for (i, ms) in times.iter().enumerate() {
            let stage = health.stage(&i.to_string());
            assert_eq!(health.useful_in_flight(), None, "not known yet");
            (0..FEWEST_FRAMES).for_each(|_| stage.worked(Duration::from_millis(*ms)));
        }
        assert_eq!(health.useful_in_flight().unwrap_or(0), want, "{times:?}");
    }
    // A stage that becomes slow is known as such after some frames, however long it was fast.
    let health = Health::new();
    let (one, other) = (health.stage("one"), health.stage("other"));
    for _ in 0..10_000 {
        [&one, &other].iter().for_each(|stage| stage.worked(Duration::from_millis(10)));
    }
    assert_eq!(health.useful_in_flight(), Some(2));
    (0..40).for_each(|_| one.worked(Duration::from_millis(400)));
    assert_eq!(health.useful_in_flight(), Some(1));
}

#[test]
fn latency_is_measured_within_its_resolution() {
    let health = Health::new();
    let now = Instant::now();
    for ms in 1..=100 {
        health.frame_done(now - Duration::from_millis(ms * 10));
    }
    let report = health.report();
    assert!((report.p50_ms - 500.0).abs() < 15.0, "{report:?}");
    assert!((report.p95_ms - 950.0).abs() < 25.0, "{report:?}");
}
