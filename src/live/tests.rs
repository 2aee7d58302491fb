//! Live runs with made-up cameras, detectors and outputs: streams that come and go, and a detector that fails.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::opened::Opened;
use super::*;
use crate::config::Config;
use crate::detector::{Alarms, Judged, Verdict, VideoEnd};
use crate::flow::Stage;
use crate::frame::{Frame, PixelFormat};
use crate::grid::PixelScores;
use crate::health::Health;
use crate::overlay::ScoreScale;
use crate::pool::{Pool, Pooled};
use crate::source::{Source, SourceConfig, SourceError};
use crate::stop::Stop;

/// 100 pictures a second, without end.
struct Camera {
    next: u64,
    begun: Instant,
    pool: Pool<Vec<u8>>,
}

impl Source for Camera {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        let pts = Duration::from_millis(10 * self.next);
        std::thread::sleep((self.begun + pts).saturating_duration_since(Instant::now()));
        let mut frame = Frame::take(&self.pool, PixelFormat::I420, 64, 32);
        frame.pixels.fill(100);
        (frame.id, frame.pts) = (self.next, pts);
        self.next += 1;
        Ok(Some(frame))
    }

    fn rate(&self) -> Option<f64> {
        Some(100.0)
    }

    fn describe(&self) -> String {
        "a made-up camera".to_owned()
    }

    fn is_live(&self) -> bool {
        true
    }
}

/// Counts pictures.
#[derive(Clone, Default)]
struct Screen(Arc<(AtomicU64, AtomicBool)>);

impl Screen {
    fn pictures(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }

    fn ended(&self) -> bool {
        self.0.1.load(Ordering::Relaxed)
    }
}

impl VideoEnd for Screen {
    fn push(&mut self, _: Frame) -> Result<()> {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.0.1.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Judges; the frame with this number is its last.
struct Judge {
    takes: Duration,
    fails_at: Option<u64>,
    seen: u64,
}

impl Stage for Judge {
    type In = Frame;
    type Out = Judged;

    fn step(&mut self, frame: Frame) -> Result<Judged> {
        std::thread::sleep(self.takes);
        self.seen += 1;
        assert!(Some(self.seen) != self.fails_at, "the GPU is gone");
        let verdict = Verdict {
            scores: PixelScores::default(),
            counted: Pooled::default(),
            regions: Pooled::default(),
            weak: Pooled::default(),
            scene_out: false,
            scale: ScoreScale { threshold: 1.0, spread: 1.0 },
        };
        Ok(Judged { frame, verdict: Some(verdict), features: None })
    }
}

fn opened(takes: u64, fails_at: Option<u64>) -> Opened {
    let judge = Judge { takes: Duration::from_millis(takes), fails_at, seen: 0 };
    let facts = Facts { summary: "made up".to_owned(), ..Facts::default() };
    Opened { alarms: Alarms::of_test(), facts, chain: Box::new(|frames| frames.stage("judge", judge)) }
}

/// A run whose detectors fail at these frames of theirs, one after the other; then they do not.
fn live(fails: &[u64], stop: &Stop) -> (Live, Arc<AtomicUsize>) {
    let openings = Arc::<AtomicUsize>::default();
    let (count, fails) = (Arc::clone(&openings), fails.to_vec());
    let opener = move |_: &Config| {
        let fails_at = fails.get(count.fetch_add(1, Ordering::Relaxed)).copied();
        if fails_at == Some(0) {
            bail!("there is no GPU");
        }
        Ok(opened(10, fails_at))
    };
    (Live::with(Config::default(), true, stop.clone(), Arc::new(opener)), openings)
}

/// A stream with a fixed threshold, and its screen.
fn stream(name: &str, stop: &Stop) -> (Stream, Screen) {
    let source = SourceConfig { name: Some(name.to_owned()), ..SourceConfig::default() };
    let mut config = Config { streams: vec![source], ..Config::default() };
    config.score.threshold = crate::score::ThresholdSetting::Fixed(1.0);
    let screen = Screen::default();
    let stream = Stream {
        config: config.one_stream("run").unwrap(),
        source: Box::new(Camera { next: 0, begun: Instant::now(), pool: Pool::new() }),
        video: Box::new(screen.clone()),
        events: None,
        pictures: Arc::new(Health::new()),
        stop: stop.of_part(),
        reencode: None,
        judged_later: false,
    };
    (stream, screen)
}

/// Waits for it; a slow machine has its time.
fn until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn verdicts(live: &Live, at: usize) -> u64 {
    live.streams()[at].verdicts.as_ref().unwrap().health.frames_done()
}

#[test]
fn streams_come_and_go_while_it_runs() {
    let stop = Stop::new();
    let (live, _) = live(&[], &stop);
    let (front, front_screen) = stream("front", &stop);
    let front = live.add(front).unwrap();
    let running = live.clone();
    let run = std::thread::spawn(move || running.run());
    until("a verdict on the first", || verdicts(&live, 0) > 3);
    let (rear, rear_screen) = stream("rear", &stop);
    let rear = live.add(rear).unwrap();
    assert!(live.add(stream("rear", &stop).0).unwrap_err().to_string().contains("\"rear\" already"));
    until("a verdict on the second", || verdicts(&live, 1) > 3);
    live.remove(front).unwrap();
    assert!(front_screen.ended() && !rear_screen.ended());
    assert!(live.remove(front).is_err());
    let seen = rear_screen.pictures();
    until("pictures of the other", || rear_screen.pictures() > seen + 10);
    // The name is free again, and the number is not.
    let (again, again_screen) = stream("front", &stop);
    let again = live.add(again).unwrap();
    assert!(again != front && again != rear);
    until("verdicts on both", || verdicts(&live, 1) > 3);
    let names: Vec<_> = live.streams().iter().map(|one| one.name.clone().unwrap().to_string()).collect();
    assert_eq!(names, ["rear", "front"]);
    stop.ask();
    run.join().unwrap().unwrap();
    assert!(rear_screen.ended() && again_screen.ended());
}

#[test]
fn pictures_go_on_while_a_detector_that_failed_is_opened_again() {
    let stop = Stop::new();
    let (live, opened) = live(&[8, 0], &stop);
    let (front, screen) = stream("front", &stop);
    live.add(front).unwrap();
    let states = Arc::new(Mutex::new(Vec::new()));
    let (running, seen) = (live.clone(), Arc::clone(&states));
    let run = std::thread::spawn(move || running.run());
    let status = Arc::clone(live.detection().unwrap());
    let failed = || matches!(status.lane(), LaneState::Failed { .. });
    until("the failure", failed);
    let (before, shown) = (verdicts(&live, 0), screen.pictures());
    assert!(before > 0);
    until("pictures meanwhile", || {
        if let LaneState::Failed { why } = status.lane() {
            seen.lock().unwrap().push(why);
        }
        screen.pictures() > shown + 50
    });
    until("verdicts again", || verdicts(&live, 0) > before + 5);
    assert_eq!(
        (status.lane(), status.restarts(), opened.load(Ordering::Relaxed)),
        (LaneState::Running, 2, 3)
    );
    assert!(states.lock().unwrap().iter().any(|why| why.contains("the GPU is gone")), "{states:?}");
    stop.ask();
    run.join().unwrap().unwrap();
}

#[test]
fn a_detector_that_fails_again_and_again_ends_the_run_for_a_supervisor() {
    let stop = Stop::new();
    let (live, opened) = live(&[2, 2, 2, 2, 2, 2], &stop);
    let (front, screen) = stream("front", &stop);
    live.add(front).unwrap();
    let why = live.run().unwrap_err();
    assert!(why.downcast_ref::<GaveUp>().is_some(), "{why:#}");
    let told = format!("{why:#}");
    assert!(told.contains("failed 4 times in 10 minutes") && told.contains("the GPU is gone"), "{told}");
    assert_eq!(opened.load(Ordering::Relaxed), 4);
    assert!(screen.ended() && stop.asked());
}

#[test]
fn a_detector_that_cannot_be_opened_at_the_start_ends_the_run_with_its_reason() {
    let stop = Stop::new();
    let (live, _) = live(&[0], &stop);
    let (front, screen) = stream("front", &stop);
    live.add(front).unwrap();
    let why = live.run().unwrap_err();
    assert_eq!(why.to_string(), "there is no GPU");
    assert!(screen.ended());
}

#[test]
fn a_detector_that_is_too_slow_goes_down_its_ladder_and_says_so() {
    let stop = Stop::new();
    let mut config = Config::default();
    config.flow.least_verdicts = 15.0;
    config.flow.ladder = vec![crate::config::Rung { height: Some(252), bank: None }];
    // At 252 it is fast enough.
    let heights = Arc::<Mutex<Vec<Option<usize>>>>::default();
    let seen = Arc::clone(&heights);
    let opener = move |config: &Config| {
        seen.lock().unwrap().push(config.model.height);
        Ok(opened(if config.model.height == Some(252) { 20 } else { 100 }, None))
    };
    let live = Live::with(config, true, stop.clone(), Arc::new(opener));
    let (front, screen) = stream("front", &stop);
    live.add(front).unwrap();
    let running = live.clone();
    let run = std::thread::spawn(move || running.run());
    let problems = || live.detection().unwrap().health.problems();
    until("overload", || problems().contains_key("overload"));
    let told = problems()["overload"].clone();
    assert!(told.contains("height 252") && told.contains("fewer than 15"), "{told}");
    until("the other height", || heights.lock().unwrap().len() == 2);
    until("an open detector", || live.detection().unwrap().lane() == LaneState::Running);
    let (before, shown) = (verdicts(&live, 0), screen.pictures());
    until("verdicts again", || verdicts(&live, 0) > before + 5);
    assert!(screen.pictures() > shown && !screen.ended());
    assert_eq!(*heights.lock().unwrap(), [None, Some(252)]);
    stop.ask();
    run.join().unwrap().unwrap();
}
