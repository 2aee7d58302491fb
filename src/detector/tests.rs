//! The stages by themselves and chained, with numbers in the place of a model.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};

use super::alarms::Alarm;
use super::scoring::Scoring;
use super::*;
use crate::flow::{Flow, Pace, Stage};
use crate::frame::PixelFormat;
use crate::grid::{Distances, Grid, PixelScores};
use crate::health::Health;
use crate::overlay::{Overlay, OverlayConfig, ScoreScale};
use crate::pool::{Pool, Pooled};
use crate::region::Region;
use crate::score::{Method, Polygons, Regions, Roi, Scene, ScoreConfig, ScoreInputs, Scorer};
use crate::sink::EventLog;
use crate::source::{Source, SourceError};
use crate::stop::Stop;

const SIZE: (usize, usize) = (64, 32);
const SCALE: ScoreScale = ScoreScale { threshold: 5.0, spread: 1.0 };
const GRID: Grid = Grid { rows: 4, cols: 8 };

/// A stage that scores distances as they are; alarms count within `roi`.
fn score(roi: Option<&str>) -> Score {
    let config = ScoreConfig { min_region_px: 1, ..ScoreConfig::default() };
    let at_hand = ScoreInputs { bank: None, k: 1, has_logits: false, logits_kind: None, same_views: true };
    let scorer = Scorer::open(Method::Knn, &config, &at_hand).unwrap();
    let polygons: Option<Polygons> = roi.map(|text| {
        let table: toml::Table = format!("roi = {text}").parse().unwrap();
        table["roi"].clone().try_into().unwrap()
    });
    let alarms = Alarms::of_test();
    let roi = polygons.map(|polygons| Roi::new(polygons.all(), None));
    alarms.insert(
        0,
        Alarm { roi, regions: Regions::new(5.0, 1), weak: None, scene: Scene::new(1.0, 1), scale: SCALE },
    );
    Score::new(Scoring::new(vec![scorer], 0.0, Pool::new()), Enlarger::new(&config), alarms, Pool::new())
}

fn frame(id: u64) -> Frame {
    let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, SIZE.0, SIZE.1);
    (frame.id, frame.pts) = (id, Duration::from_millis(100 * id));
    frame
}

/// Distances of 1, but 9 in the given patches.
fn distances(strange: &[(usize, usize)]) -> Distances {
    let mut data = vec![1.0; GRID.len()];
    strange.iter().for_each(|(row, col)| data[row * GRID.cols + col] = 9.0);
    Distances { grid: GRID, data: Pooled::unpooled(data) }
}

fn measured(id: u64, strange: &[(usize, usize)]) -> Measured {
    Measured {
        frame: frame(id),
        distances: distances(strange),
        logits: None,
        road: None,
        features: None,
        supplemented_by: 0,
    }
}

#[test]
fn regions_lie_where_distances_are_large_and_alarms_count() {
    let found = |roi: Option<&str>| -> Vec<(u32, u32)> {
        let judged = score(roi).step(measured(0, &[(1, 1), (2, 6)])).unwrap();
        let verdict = judged.verdict.unwrap();
        assert_eq!((verdict.scores.width, verdict.scores.height), SIZE);
        verdict.regions.iter().map(|r| (r.rect.x + r.rect.width / 2, r.rect.y + r.rect.height / 2)).collect()
    };
    // Patches are 8 pixels: the middles of those two.
    assert_eq!(found(None), [(12, 12), (52, 20)]);
    assert_eq!(found(Some("[[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]")), [(52, 20)]);
}

/// Each stream has its own region of interest; who is not known has no verdict.
#[test]
fn streams_are_judged_by_their_own_rules() {
    let mut stage = score(None);
    let alarms = stage.alarms.clone();
    let corners = vec![[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]];
    let right = Some(Roi::new(&[corners], None));
    alarms.insert(
        1,
        Alarm {
            roi: right,
            regions: Regions::new(5.0, 1),
            weak: None,
            scene: Scene::new(1.0, 1),
            scale: SCALE,
        },
    );
    alarms.insert(
        2,
        Alarm {
            roi: None,
            regions: Regions::new(50.0, 1),
            weak: None,
            scene: Scene::new(1.0, 1),
            scale: SCALE,
        },
    );
    let mut regions = |stream| {
        let mut measured = measured(0, &[(1, 1), (2, 6)]);
        measured.frame.stream = stream;
        stage.step(measured).unwrap().verdict.map(|verdict| verdict.regions.len())
    };
    assert_eq!([0, 1, 2, 3].map(&mut regions), [Some(2), Some(1), Some(0), None]);
    alarms.remove(1);
    assert_eq!([0, 1].map(&mut regions), [Some(2), None]);
}

#[test]
fn what_is_weakly_strange_is_found_beside_what_is_strongly_so() {
    let mut stage = score(None);
    let alarm = Alarm {
        roi: None,
        regions: Regions::new(5.0, 1),
        weak: Some(Regions::new(3.0, 1)),
        scene: Scene::new(1.0, 1),
        scale: SCALE,
    };
    stage.alarms.insert(0, alarm);
    let mut measured = measured(0, &[(1, 1)]);
    measured.distances.data[2 * GRID.cols + 6] = 4.5;
    let verdict = stage.step(measured).unwrap().verdict.unwrap();
    let columns = |regions: &[Region]| regions.iter().map(|region| region.rect.x / 32).collect::<Vec<_>>();
    assert_eq!((columns(&verdict.regions), columns(&verdict.weak)), (vec![0], vec![1]));
    // Its peak is 4.08 between patches: evidence of 0.54 a frame.
    assert!((verdict.weak[0].peak - 4.08).abs() < 0.01, "{}", verdict.weak[0].peak);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let rules = ScoreConfig { event_frames: 3, event_window: 6, event_reach: 2.0, ..ScoreConfig::default() };
    let log = Box::new(EventLog::append(&path).unwrap());
    let events = EventRecorders::one(EventRecorder::new(&rules, None, log));
    (0..6).for_each(|id| events.step(&frame(id), &verdict, None).unwrap());
    events.finish().unwrap();
    let told = std::fs::read_to_string(&path).unwrap();
    let starts = told.lines().filter(|line| line.contains("\"start\"")).collect::<Vec<_>>();
    assert!(
        starts.len() == 2 && starts[0].contains("\"frame\":2") && starts[1].contains("\"frame\":5"),
        "{told}"
    );
}

/// Gives frames 0 to 11.
struct Twelve(u64);

impl Source for Twelve {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        self.0 += 1;
        Ok((self.0 <= 12).then(|| frame(self.0 - 1)))
    }

    fn rate(&self) -> Option<f64> {
        None
    }

    fn describe(&self) -> String {
        "twelve frames".to_owned()
    }

    fn is_live(&self) -> bool {
        false
    }
}

/// In the place of model and search: frames 2 to 8 show something in one patch, frame `broken` fails.
struct Fake {
    broken: Option<u64>,
}

impl Stage for Fake {
    type In = Frame;
    type Out = Measured;

    fn step(&mut self, frame: Frame) -> Result<Measured> {
        if self.broken == Some(frame.id) {
            bail!("the model says no");
        }
        let strange: &[_] = if (2..=8).contains(&frame.id) { &[(3, 3)] } else { &[] };
        Ok(Measured { frame, ..measured(0, strange) })
    }
}

/// Notes what comes out.
struct Notes(Arc<Mutex<Vec<(u64, usize)>>>);

impl Stage for Notes {
    type In = Judged;
    type Out = ();

    fn step(&mut self, judged: Judged) -> Result<()> {
        let regions = judged.verdict.map_or(0, |verdict| verdict.regions.len());
        self.0.lock().unwrap().push((judged.frame.id, regions));
        Ok(())
    }
}

fn run(broken: Option<u64>, record: Record) -> (Result<(), FlowError>, Vec<(u64, usize)>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (health, stop) = (Arc::new(Health::new()), Stop::new());
    let frames = Flow::from_source(Box::new(Twelve(0)), Pace::Offline, health, stop).unwrap();
    let judged = frames.stage("fake", Fake { broken }).unwrap().stage("score", score(None)).unwrap();
    let recorded = judged.stage("record", record).unwrap();
    let ended = recorded.run("notes", Notes(Arc::clone(&seen)), Duration::from_secs(10));
    let seen = seen.lock().unwrap().clone();
    (ended, seen)
}

#[test]
fn each_frame_keeps_its_own_verdict_and_what_lasts_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let config = ScoreConfig { event_frames: 3, event_gap_frames: 2, ..ScoreConfig::default() };
    let log = Box::new(EventLog::append(&path).unwrap());
    let recorder = EventRecorder::new(&config, Some("front".into()), log);
    let record = Record { events: EventRecorders::one(recorder), ..Record::default() };
    let (ended, seen) = run(None, record);
    ended.unwrap();
    let want: Vec<(u64, usize)> = (0..12).map(|id| (id, usize::from((2..=8).contains(&id)))).collect();
    assert_eq!(seen, want);
    let events: Vec<serde_json::Value> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> =
        events.iter().map(|e| (e["kind"].as_str().unwrap(), e["frame"].as_u64().unwrap())).collect();
    assert_eq!(told, [("start", 4), ("end", 10)]);
    assert!(events.iter().all(|event| event["stream"] == "front"), "{events:?}");
}

#[test]
fn offline_a_fault_names_its_stage_and_frame() {
    let (ended, seen) = run(Some(5), Record::default());
    let why = ended.unwrap_err().to_string();
    assert_eq!(why, "fake, frame 5: the model says no");
    assert_eq!(seen.len(), 5);
}

#[test]
fn only_what_was_found_is_drawn() {
    let drawn = |verdict: Option<Verdict>| {
        let config = OverlayConfig { status: false, ..OverlayConfig::default() };
        let mut draw = Draw { overlay: Overlay::new(&config), status: Status::new(String::new(), None) };
        let mut before = frame(0);
        before.pixels.fill(128);
        let judged = draw.step(Judged { frame: before, verdict, features: None }).unwrap();
        judged.frame.pixels.iter().filter(|value| **value != 128).count()
    };
    let judge = |strange: &[(usize, usize)]| score(None).step(measured(0, strange)).unwrap().verdict;
    assert_eq!(drawn(None), 0, "unjudged");
    assert_eq!(drawn(judge(&[])), 0, "nothing strange");
    let marked = drawn(judge(&[(1, 1)]));
    assert!(marked > 64 && marked < SIZE.0 * SIZE.1, "{marked} bytes changed");
    let empty = Verdict {
        scale: SCALE,
        scores: PixelScores::default(),
        counted: Pooled::default(),
        regions: Pooled::default(),
        weak: Pooled::default(),
        scene_out: false,
    };
    assert_eq!(drawn(Some(empty)), 0, "a verdict without scores");
}
