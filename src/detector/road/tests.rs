//! The road stage with a function in the place of its model.

use std::sync::Mutex;

use anyhow::bail;

use super::super::alarms::Alarm;
use super::*;
use crate::frame::PixelFormat;
use crate::grid::Distances;
use crate::overlay::ScoreScale;
use crate::pool::Pool;
use crate::score::{Regions, Scene};

/// A frame of a striped, speckled scene, moved to the right by so many pixels.
fn measured(id: u64, stream: StreamId, (width, height): (usize, usize), right: usize) -> Measured {
    let mut frame = Frame::take(&Pool::new(), PixelFormat::Rgb, width, height);
    (frame.id, frame.stream) = (id, stream);
    for (at, pixel) in frame.pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (at % width + 1000 - right, at / width);
        let speckle = (x / 4).wrapping_mul(7919) ^ (y / 4).wrapping_mul(104_729);
        *pixel = [(speckle.wrapping_mul(2_654_435_761) >> 9) as u8; 3];
    }
    Measured {
        frame,
        distances: Distances::default(),
        logits: None,
        road: None,
        features: None,
        supplemented_by: 0,
    }
}

fn alarms(streams: &[StreamId]) -> Alarms {
    let alarms = Alarms::of_test();
    for stream in streams {
        let scale = ScoreScale { threshold: 1.0, spread: 1.0 };
        alarms.insert(
            *stream,
            Alarm { roi: None, regions: Regions::new(1.0, 1), weak: None, scene: Scene::new(1.0, 1), scale },
        );
    }
    alarms
}

/// The frames that were looked at: stream and number.
type Looked = Arc<Mutex<Vec<(StreamId, u64)>>>;

/// A stage that notes the frames it looks at, and fails on the frames `broken`.
fn stage(every: u32, alarms: Alarms, broken: &'static [u64]) -> (Road, Looked) {
    let looked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&looked);
    let look = move |frame: &Frame| {
        noted.lock().unwrap().push((frame.stream, frame.id));
        if broken.contains(&frame.id) {
            bail!("the model says no");
        }
        let data = Pooled::unpooled(vec![0.0, frame.id as f32]);
        Ok(Logits { classes: 2, grid: Grid { rows: 1, cols: 1 }, data })
    };
    (Road::new(Box::new(look), every, alarms), looked)
}

/// Which frame the road is of, and how far that has moved.
fn seen(stage: &mut Road, measured: Measured) -> Option<(u64, [f32; 2])> {
    stage.step(measured).unwrap().road.map(|road| (road.logits.data[1] as u64, road.moved))
}

const SIZE: (usize, usize) = (320, 180);

#[test]
fn every_nth_frame_of_each_stream_is_looked_at() {
    let known = alarms(&[1, 2]);
    let (mut stage, looked) = stage(3, known.clone(), &[]);
    for id in 0..7 {
        let road = seen(&mut stage, measured(id, 1, SIZE, 0)).unwrap();
        assert_eq!(road, (id / 3 * 3, [0.0, 0.0]), "frame {id}");
    }
    // Another stream has its own count, another size its own road, an unknown stream none.
    assert_eq!(seen(&mut stage, measured(7, 2, SIZE, 0)).unwrap().0, 7);
    assert_eq!(seen(&mut stage, measured(8, 1, (160, 90), 0)).unwrap().0, 8);
    assert_eq!(seen(&mut stage, measured(9, 3, SIZE, 0)), None);
    assert_eq!(*looked.lock().unwrap(), [(1, 0), (1, 3), (1, 6), (2, 7), (1, 8)]);
    known.remove(2);
    seen(&mut stage, measured(10, 1, SIZE, 0));
    assert!(!stage.pasts.contains_key(&2), "a stream that is gone is remembered");
}

#[test]
fn the_road_goes_with_the_picture() {
    let (mut stage, _) = stage(4, alarms(&[0]), &[]);
    for (id, right) in [(0, 0), (1, 3), (2, 8)] {
        let (of, moved) = seen(&mut stage, measured(id, 0, SIZE, right)).unwrap();
        assert_eq!((of, moved), (0, [-(right as f32), 0.0]), "frame {id}");
    }
}

#[test]
fn a_fault_costs_one_look_and_is_told() {
    let (mut stage, looked) = stage(2, alarms(&[0]), &[0, 4]);
    let health = Arc::new(Health::new());
    stage.health = Some(Arc::clone(&health));
    let roads: Vec<_> =
        (0..7).map(|id| seen(&mut stage, measured(id, 0, SIZE, 0)).map(|road| road.0)).collect();
    // As long as there is none, each frame is looked at.
    assert_eq!(roads, [None, Some(1), Some(2), Some(2), Some(2), Some(2), Some(6)]);
    assert_eq!(looked.lock().unwrap().len(), 5);
    assert!(health.problems().is_empty(), "it works again");
    seen(&mut stage, measured(4, 0, SIZE, 0));
    seen(&mut stage, measured(4, 0, SIZE, 0));
    let told = health.problems()["road model"].clone();
    assert!(told.contains("3 frames") && told.contains("the model says no"), "{told}");
}

#[test]
fn scores_are_thinned_in_equal_steps() {
    let grid = Grid { rows: 4, cols: 1024 };
    let data = (0..2).flat_map(|class| (0..4096).map(move |cell| (class * 10_000 + cell) as f32)).collect();
    let thin = thinned(&Logits { classes: 2, grid, data: Pooled::unpooled(data) });
    assert_eq!((thin.grid, thin.data.len()), (Grid { rows: 2, cols: 512 }, 2048));
    assert_eq!(
        (thin.data[0], thin.data[1], thin.data[512], thin.data[1024]),
        (1025.0, 1027.0, 3073.0, 11_025.0)
    );
    let small =
        Logits { classes: 1, grid: Grid { rows: 1, cols: 3 }, data: Pooled::unpooled(vec![1.0, 2.0, 3.0]) };
    assert_eq!(*thinned(&small).data, [1.0, 2.0, 3.0]);
}
