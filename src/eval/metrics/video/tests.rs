//! Clips small enough to be judged by hand.

use super::*;
use crate::eval::truth::NORMAL;

const WIDTH: usize = 32;
const HEIGHT: usize = 20;

/// A picture with rectangles (left, top, side) of a value.
fn picture<T: Copy>(floor: T, rectangles: &[((usize, usize, usize), T)]) -> Vec<T> {
    let mut data = vec![floor; WIDTH * HEIGHT];
    for ((left, top, side), value) in rectangles {
        for y in *top..(top + side).min(HEIGHT) {
            data[y * WIDTH + left..y * WIDTH + (left + side).min(WIDTH)].fill(*value);
        }
    }
    data
}

fn settings() -> Settings {
    Settings { min_region_px: 1, event_frames: 2, gap_frames: 2, ..Settings::at(0.5) }
}

type Squares = Vec<(usize, usize, usize)>;

/// Judges frames at 10 per second: squares predicted, and squares true.
fn run(frames: &[(Squares, Option<Squares>)]) -> VideoReport {
    run_within(frames, None)
}

/// The same where alarms count in a part of the picture.
fn run_within(frames: &[(Squares, Option<Squares>)], counted: Option<&[bool]>) -> VideoReport {
    let mut judge = Judge::new(settings());
    for (i, (predicted, real)) in frames.iter().enumerate() {
        let high: Vec<_> = predicted.iter().map(|square| (*square, 1.0)).collect();
        let scores = picture(0.0, &high);
        let truth = real.as_ref().map(|real| {
            let squares: Vec<_> = real.iter().map(|square| (*square, ANOMALY)).collect();
            Truth { width: WIDTH, height: HEIGHT, labels: picture(NORMAL, &squares) }
        });
        let frame = VideoFrame {
            time_secs: i as f64 * 0.1,
            width: WIDTH,
            height: HEIGHT,
            scores: &scores,
            counted,
            truth: truth.as_ref(),
            motion: &Motion::Still,
            look: None,
        };
        judge.push(frame).unwrap();
    }
    judge.finish(Some(&[SpeedSample { time_secs: 0.0, metres_per_sec: 10.0 }]))
}

#[test]
fn an_object_is_found_late_and_lost_once() {
    let object = |i: usize| (4 + i, 5, 6);
    // Not seen for two frames, then seen, missed once, seen by a new region after a gap of two.
    let seen = [false, false, true, true, false, true, false, false, true, true];
    let frames: Vec<_> =
        (0..10).map(|i| (if seen[i] { vec![object(i)] } else { vec![] }, Some(vec![object(i)]))).collect();
    let report = run(&frames);
    assert_eq!(report.objects.len(), 1);
    let row = &report.objects[0];
    assert_eq!((row.first_frame, row.last_frame, row.frames), (0, 9, 10));
    assert_eq!((row.found_frames, row.matched_frames), (5, 5));
    assert_eq!(row.found_after_frames, Some(2));
    assert!((row.found_after_secs.unwrap() - 0.2).abs() < 1e-9);
    assert_eq!((row.largest_area, row.area_when_found), (36, Some(36)));
    // The second frame in which it is seen is an alarm.
    assert_eq!(row.alarmed_after_frames, Some(3));
    assert!((row.alarmed_after_secs.unwrap() - 0.3).abs() < 1e-9);
    let tracking = report.tracking.unwrap();
    assert_eq!((tracking.misses, tracking.false_positives, tracking.switches), (5, 0, 1));
    assert!((tracking.mota.unwrap() - 0.4).abs() < 1e-12);
    assert_eq!((tracking.mostly_tracked, tracking.partly_tracked, tracking.mostly_lost), (0, 1, 0));
    assert_eq!(tracking.mean_iou, Some(1.0));
    assert_eq!(report.false_alarms.false_alarms, 0);
    assert!((report.seconds - 1.0).abs() < 1e-9);
}

#[test]
fn weak_evidence_alarms_where_it_adds_up() {
    let object = (4, 5, 6);
    let truth = Truth { width: WIDTH, height: HEIGHT, labels: picture(NORMAL, &[(object, ANOMALY)]) };
    let alarmed = |window: u32, reach: f32| {
        let rules = Settings { event_window: window, event_reach: reach, ..settings() };
        let mut judge = Judge::new(rules);
        for i in 0..6_u32 {
            // Between the threshold and the reach below it, once not at all. Elsewhere, once.
            let mut seen = vec![(object, if i == 2 { 0.0 } else { 0.46 })];
            if i == 3 {
                seen.push(((20, 5, 6), 0.49));
            }
            let scores = picture(0.0, &seen);
            let frame = VideoFrame {
                time_secs: f64::from(i),
                width: WIDTH,
                height: HEIGHT,
                scores: &scores,
                counted: None,
                truth: Some(&truth),
                motion: &Motion::Still,
                look: None,
            };
            judge.push(frame).unwrap();
        }
        let report = judge.finish(None);
        assert_eq!(report.objects[0].found_frames, 0, "it is never above the threshold");
        (report.objects[0].alarmed_after_frames, report.false_alarms.false_alarms)
    };
    // Evidence of two frames: four times 0.6, in frames 0, 1, 3 and 4.
    assert_eq!(alarmed(5, 0.1), (Some(4), 0));
    assert_eq!(alarmed(4, 0.1), (None, 0), "too short a window");
    assert_eq!(alarmed(5, 0.0), (None, 0), "nothing counts below the threshold");
}

#[test]
fn alarms_count_where_they_are_said_to() {
    let frames: Vec<(Squares, Option<Squares>)> =
        (0..4).map(|_| (vec![(2, 2, 5), (20, 10, 5)], Some(vec![]))).collect();
    let alarms = |counted: Option<&[bool]>| run_within(&frames, counted).false_alarms.false_alarms;
    let right: Vec<bool> = (0..WIDTH * HEIGHT).map(|i| i % WIDTH >= 16).collect();
    assert_eq!((alarms(None), alarms(Some(&right)), alarms(Some(&[false; WIDTH * HEIGHT]))), (2, 1, 0));
}

#[test]
fn regions_beside_objects_are_false_alarms_if_they_last() {
    let (object, wrong, blink) = ((2, 2, 6), (20, 10, 4), (12, 2, 3));
    let frames: Vec<_> = (0..6)
        .map(|i| (if i == 3 { vec![object, wrong, blink] } else { vec![object, wrong] }, Some(vec![object])))
        .collect();
    let report = run(&frames);
    let alarms = report.false_alarms;
    assert_eq!((alarms.alarms, alarms.false_alarms), (2, 1));
    assert!((alarms.per_minute.unwrap() - 100.0).abs() < 1e-6);
    assert!((alarms.kilometres.unwrap() - 0.006).abs() < 1e-9);
    assert!((alarms.per_km.unwrap() - 1.0 / 0.006).abs() < 1e-6);
    let tracking = report.tracking.unwrap();
    assert_eq!((tracking.false_positives, tracking.misses, tracking.mostly_tracked), (7, 0, 1));
    assert!((tracking.mota.unwrap() - (1.0 - 7.0 / 6.0)).abs() < 1e-12);
    // Without truth every alarm is false, and nothing is said of objects.
    let blind: Vec<_> = frames.into_iter().map(|(predicted, _)| (predicted, None)).collect();
    let report = run(&blind);
    assert_eq!((report.false_alarms.false_alarms, report.frames_with_truth), (2, 0));
    assert_eq!((report.tracking, report.objects.len()), (None, 0));
}

#[test]
fn flicker_is_the_variance_that_motion_does_not_explain() {
    let mut random = crate::random::Random::new(1);
    let texture: Vec<f32> = (0..4 * WIDTH * HEIGHT).map(|_| random.unit() as f32).collect();
    let view = |shift: usize| -> Vec<f32> {
        let row = |y: usize| &texture[y * 2 * WIDTH + shift..][..WIDTH];
        (0..HEIGHT).flat_map(row).copied().collect()
    };
    let flicker = |noise: f64, motion: &Motion, random: &mut crate::random::Random| {
        let mut judge = Judge::new(Settings::at(9.0));
        for i in 0..8_usize {
            let noisy = |score: f32| score + ((random.unit() - 0.5) * noise) as f32;
            let scores: Vec<f32> = view(2 * i).into_iter().map(noisy).collect();
            let time_secs = i as f64;
            let frame = VideoFrame {
                time_secs,
                width: WIDTH,
                height: HEIGHT,
                scores: &scores,
                counted: None,
                truth: None,
                motion,
                look: None,
            };
            judge.push(frame).unwrap();
        }
        judge.finish(None).flicker.unwrap()
    };
    let along = Motion::Shift { dx: 2.0, dy: 0.0 };
    let field = Motion::Field { cols: 2, flow: vec![[2.0, 0.0]; 4] };
    assert!(flicker(0.0, &along, &mut random).variance < 1e-12);
    assert!(flicker(0.0, &field, &mut random).variance < 1e-12);
    // Uniform noise of width 1 has variance 1/12; the texture has as much.
    let noisy = flicker(1.0, &along, &mut random).variance;
    assert!((noisy * 12.0 - 1.0).abs() < 0.1, "{noisy}");
    let unmoved = flicker(0.0, &Motion::Still, &mut random);
    assert!((unmoved.variance * 12.0 - 1.0).abs() < 0.1, "{unmoved:?}");
    assert!((unmoved.relative.unwrap() - 1.0).abs() < 0.1);
    assert_eq!(unmoved.pixels, 7 * (WIDTH * HEIGHT) as u64);
    assert_eq!(unmoved.motion, ["still"]);
}

#[test]
fn motion_is_found_by_matching_blocks() {
    let (width, height) = (640, 360);
    let mut random = crate::random::Random::new(5);
    let wide = width + 64;
    let cells: Vec<u8> = (0..(wide / 8) * (height / 8 + 1)).map(|_| random.bits() as u8).collect();
    let view = |shift: usize| -> Vec<u8> {
        let pixel = |i: usize| cells[(i / width / 8) * (wide / 8) + (i % width + shift) / 8];
        (0..width * height).map(pixel).collect()
    };
    let motion = crate::motion::estimate(&view(0), &view(8), width, height);
    // The later picture shows what lay 8 pixels further to the right.
    assert_eq!(motion.at((320, 180), (width, height)), [8.0, 0.0]);
    let plain = vec![90; width * height];
    assert_eq!(
        crate::motion::estimate(&plain, &plain, width, height).at((9, 9), (width, height)),
        [0.0, 0.0]
    );
    assert_eq!(crate::motion::estimate(&plain, &plain[1..], width, height), Motion::Still);
}

#[test]
fn frames_that_do_not_fit_are_refused() {
    let scores = vec![0.0; WIDTH * HEIGHT];
    let mut judge = Judge::new(settings());
    let frame = VideoFrame {
        time_secs: 1.0,
        width: WIDTH,
        height: HEIGHT,
        scores: &scores,
        counted: None,
        truth: None,
        motion: &Motion::Still,
        look: None,
    };
    judge.push(frame).unwrap();
    let mut nan = scores.clone();
    nan[WIDTH + 3] = f32::NAN;
    for (frame, words) in [
        (VideoFrame { scores: &nan, time_secs: 2.0, ..frame }, "frame 1: the score at x 3, y 1"),
        (VideoFrame { scores: &scores[1..], time_secs: 2.0, ..frame }, "639 scores"),
        (VideoFrame { width: HEIGHT, height: WIDTH, time_secs: 2.0, ..frame }, "another size"),
        (frame, "not after"),
        (VideoFrame { time_secs: f64::NAN, ..frame }, "not finite"),
    ] {
        let error = judge.push(frame).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(judge.finish(None).frames, 1);
}
