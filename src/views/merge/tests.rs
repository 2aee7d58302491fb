//! Blends compared with what they must be.

use super::*;
use crate::pool::Pooled;
use crate::views::{Crop, Tiles, View, ViewsConfig};

const FRAME: (usize, usize) = (1280, 720);

fn map(rows: usize, cols: usize, value: impl Fn(usize, usize) -> f32) -> Distances {
    let data = (0..rows * cols).map(|i| value(i / cols, i % cols)).collect();
    Distances { grid: Grid { rows, cols }, data: Pooled::unpooled(data) }
}

fn layout(combine: Blend, more: Vec<View>) -> Layout {
    let config = ViewsConfig { combine, more };
    config.check().unwrap();
    Layout::of(&config).unwrap()
}

fn far() -> View {
    View { crop: Crop([0.2, 0.35, 0.8, 0.65]), ..View::default() }
}

fn two() -> View {
    View { tiles: Tiles { cols: 2, rows: 1 }, ..View::default() }
}

fn six() -> View {
    View {
        tiles: Tiles { cols: 3, rows: 2 },
        crop: Crop([0.1, 0.3, 1.0, 0.9]),
        overlap: 0.3,
        ..View::default()
    }
}

fn scale() -> View {
    View { height: Some(532), weight: 2.0, ..View::default() }
}

/// Samples `value`, given shares of the picture, at the cells of each window.
fn maps(
    layout: &Layout,
    grid: (usize, usize),
    value: impl Fn(f64, f64) -> f64,
) -> (Distances, Vec<Distances>) {
    let sample = |window: Window, (rows, cols): (usize, usize)| {
        map(rows, cols, |row, col| {
            let x = window.left + (col as f64 + 0.5) / cols as f64 * window.width();
            let y = window.top + (row as f64 + 0.5) / rows as f64 * window.height();
            value(x, y) as f32
        })
    };
    let parts = layout.windows().map(|(_, window)| sample(window, grid)).collect();
    (sample(Window::WHOLE, (26, 46)), parts)
}

fn merged(layout: &Layout, whole: &Distances, parts: &[Distances]) -> Distances {
    let (mut merger, mut out) = (Merger::new(layout, Vec::new()), Distances::default());
    merger.step(FRAME, whole, parts, &mut out).unwrap();
    let first = out.clone();
    // Tables that are kept give the same.
    merger.step(FRAME, whole, parts, &mut out).unwrap();
    assert_eq!(first.data[..], out.data[..]);
    out
}

#[test]
fn constant_maps_stay_constant() {
    for combine in [Blend::Mean, Blend::Max] {
        let scale = View { weight: 1.0, ..scale() };
        for more in [vec![far()], vec![two()], vec![six(), far()], vec![scale, two(), six(), far()]] {
            let layout = layout(combine, more);
            for grid in [(26, 46), (19, 23), (1, 1), (2, 61)] {
                let (whole, parts) = maps(&layout, grid, |_, _| 3.25);
                for value in &**merged(&layout, &whole, &parts).data {
                    assert!((value - 3.25).abs() < 1e-5, "{combine:?}, {grid:?}: {value}");
                }
            }
        }
    }
}

#[test]
fn a_ramp_has_no_seams() {
    let ramp = |x: f64, y: f64| 10.0 * x - 4.0 * y;
    let layout = layout(Blend::Mean, vec![scale(), two(), six(), far()]);
    let (whole, parts) = maps(&layout, (26, 31), ramp);
    let out = merged(&layout, &whole, &parts);
    let Grid { rows, cols } = out.grid;
    for (i, value) in out.data.iter().enumerate() {
        let (x, y) = (((i % cols) as f64 + 0.5) / cols as f64, ((i / cols) as f64 + 0.5) / rows as f64);
        // Beyond the outermost cell centres of a map, interpolation holds its value: by half a cell, here at most
        // 10/62 across and 4/52 down, fading where a tile ends inside the picture.
        assert!((f64::from(*value) - ramp(x, y)).abs() < 0.25, "{x} {y}: {value}");
    }
    let largest_step = (0..rows)
        .flat_map(|row| (1..cols).map(move |col| row * cols + col))
        .map(|i| (out.data[i] - out.data[i - 1]).abs())
        .fold(0.0f32, f32::max);
    let slope = 10.0 / cols as f32;
    assert!(largest_step < 2.0 * slope, "a step of {largest_step} where the ramp has {slope}");
    // Without overlap the same maps show the seam: the test can fail.
    let hard = View { overlap: 0.0, ..two() };
    let layout = self::layout(Blend::Mean, vec![hard]);
    let (whole, mut parts) = maps(&layout, (26, 31), ramp);
    parts[1].data.iter_mut().for_each(|value| *value += 2.0);
    let out = merged(&layout, &whole, &parts);
    let cols = out.grid.cols;
    assert!((out.data[cols / 2] - out.data[cols / 2 - 1]).abs() > 0.9);
}

#[test]
fn it_is_what_a_hand_computes() {
    // One row of two cells; a view of the right half, of two cells, without a fade; merged: four cells.
    let right = View { crop: Crop([0.5, 0.0, 1.0, 1.0]), overlap: 0.0, weight: 3.0, ..View::default() };
    let (whole, part) = (map(1, 2, |_, col| [1.0, 5.0][col]), map(1, 2, |_, col| [8.0, 2.0][col]));
    let layout = layout(Blend::Mean, vec![right.clone()]);
    let out = merged(&layout, &whole, std::slice::from_ref(&part));
    assert_eq!(out.grid, Grid { rows: 1, cols: 4 });
    // The whole at the four centres: 1, 2, 4, 5.
    assert_eq!(out.data[..], [1.0, 2.0, (4.0 + 3.0 * 8.0) / 4.0, (5.0 + 3.0 * 2.0) / 4.0]);
    let largest = self::layout(Blend::Max, vec![View { weight: 1.0, ..right.clone() }]);
    assert_eq!(merged(&largest, &whole, std::slice::from_ref(&part)).data[..], [1.0, 2.0, 8.0, 5.0]);
    // With what is normal for both: 4 +- 2 for the view, 1 +- 1 for the whole.
    let mut merger = Merger::new(&layout, vec![Scale::between((4.0, 2.0), (1.0, 1.0))]);
    let mut out = Distances::default();
    merger.step(FRAME, &whole, std::slice::from_ref(&part), &mut out).unwrap();
    // 8 is 2 deviations above normal and 2 is one below: 3 and 0 on the scale of the whole.
    assert_eq!(out.data[..], [1.0, 2.0, (4.0 + 3.0 * 3.0) / 4.0, 5.0 / 4.0]);
}

#[test]
fn a_crop_fades_into_what_is_around_it() {
    let layout = layout(Blend::Mean, vec![far()]);
    let (whole, mut parts) = maps(&layout, (30, 60), |_, _| 0.0);
    parts[0].data.fill(10.0);
    let out = merged(&layout, &whole, &parts);
    let Grid { rows, cols } = out.grid;
    assert_eq!((rows, cols), (100, 100));
    assert!((out.data[50 * cols + 50] - 5.0).abs() < 1e-4, "inside it counts fully");
    assert_eq!(out.data[50 * cols + 10], 0.0);
    for i in 1..cols {
        let step = (out.data[50 * cols + i] - out.data[50 * cols + i - 1]).abs();
        assert!(step < 0.7, "an edge of {step} at column {i}");
    }
}

#[test]
fn what_cannot_be_judged_stays_in_its_place() {
    for combine in [Blend::Mean, Blend::Max] {
        let layout = layout(combine, vec![two(), far()]);
        for bad in [f32::INFINITY, f32::NAN, f32::NEG_INFINITY] {
            let (mut whole, parts) = maps(&layout, (26, 46), |_, _| 2.0);
            whole.data[0] = bad;
            let out = merged(&layout, &whole, &parts);
            assert_eq!(out.data[0], f32::INFINITY);
            let strange = out.data.iter().filter(|value| (**value - 2.0).abs() > 1e-5).count();
            // The corner patch of 26 x 46, on the grid that the crop makes fine.
            let most = (out.grid.rows / 26 + 1) * (out.grid.cols / 46 + 1);
            assert!((1..=most).contains(&strange), "{combine:?}: {strange} of {most}");
            let (whole, mut parts) = maps(&layout, (26, 46), |_, _| 2.0);
            parts[2].data[13 * 46 + 23] = bad;
            let out = merged(&layout, &whole, &parts);
            assert!(out.data.contains(&f32::INFINITY), "{combine:?} hides it");
            assert!(out.data.iter().all(|value| !value.is_nan()));
        }
    }
}

#[test]
fn the_grid_is_the_finest_within_the_pixels() {
    let layout = layout(Blend::Mean, vec![far(), two()]);
    let (whole, parts) = maps(&layout, (26, 40), |_, _| 0.0);
    assert_eq!(merged(&layout, &whole, &parts).grid, Grid { rows: 87, cols: 70 });
    let mut out = Distances::default();
    Merger::new(&layout, Vec::new()).step((50, 40), &whole, &parts, &mut out).unwrap();
    assert_eq!(out.grid, Grid { rows: 40, cols: 50 });
    let why = Merger::new(&layout, Vec::new()).step(FRAME, &whole, &parts[1..], &mut out).unwrap_err();
    assert!(why.contains("2 maps for 3"), "{why}");
}
