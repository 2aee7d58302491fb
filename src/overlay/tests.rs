//! Tests of the whole overlay on both layouts.

use super::*;
use crate::colour::RgbFromYcbcr;
use crate::pool::{Pool, Pooled};
use crate::region::Rect;

const SCALE: ScoreScale = ScoreScale { threshold: 10.0, spread: 2.0 };
const FORMATS: [PixelFormat; 2] = [PixelFormat::I420, PixelFormat::Rgb];

fn grey(format: PixelFormat, width: usize, height: usize) -> Frame {
    let mut frame = Frame::take(&Pool::new(), format, width, height);
    frame.pixels.fill(128);
    frame
}

fn scores(width: usize, height: usize, of: impl Fn(usize, usize) -> f32) -> PixelScores {
    let data = (0..width * height).map(|i| of(i % width, i / width)).collect();
    PixelScores { width, height, data: Pooled::unpooled(data) }
}

fn pixel(frame: &Frame, x: usize, y: usize) -> [u8; 3] {
    let Some(layout) = frame.i420() else {
        let at = (y * frame.width + x) * 3;
        return frame.pixels[at..at + 3].try_into().unwrap();
    };
    let (luma, cb, cr) = layout.planes(&frame.pixels);
    let at = y / 2 * layout.uv_stride + x / 2;
    let ycbcr = [luma[y * layout.y_stride + x], cb[at], cr[at]];
    RgbFromYcbcr::new(frame.colour).pixel(ycbcr)
}

fn plain() -> OverlayConfig {
    OverlayConfig { contour: false, boxes: false, status: false, ..OverlayConfig::default() }
}

/// The heat of a score: red, green, blue, and opacity in 256ths. A drawn pixel is `colour * opacity + picture * (1 -
/// opacity)`, within rounding.
fn heat_colour(score: f32) -> ([u8; 3], u16) {
    let config = plain();
    palette::heat(config.colormap, config.opacity, Levels::new(SCALE).unwrap().level(score))
}

#[test]
fn heat_has_the_colour_that_is_promised() {
    for format in FORMATS {
        let mut overlay = Overlay::new(&plain());
        for score in [5.0, 8.5, 10.0, 11.0, 13.0, 20.0, f32::INFINITY, f32::NAN] {
            let mut frame = grey(format, 64, 48);
            let before = pixel(&frame, 20, 20);
            let map =
                scores(
                    64,
                    48,
                    |x, y| {
                        if (16..32).contains(&x) && (16..32).contains(&y) { score } else { 0.0 }
                    },
                );
            overlay.draw(&mut frame, &map, &[], SCALE, "").unwrap();
            let (colour, opacity) = heat_colour(score);
            let share = f32::from(opacity) / 256.0;
            let inside = pixel(&frame, 20, 20);
            for (channel, heat) in colour.into_iter().enumerate() {
                let from = f32::from(before[channel]);
                let expected = from + share * (f32::from(heat) - from);
                let got = f32::from(inside[channel]);
                assert!((got - expected).abs() <= 3.0, "{format:?} {score}: {got} {expected}");
            }
            assert_eq!(pixel(&frame, 15, 20), before, "{format:?} {score}: left of it");
            assert_eq!(pixel(&frame, 20, 32), before, "{format:?} {score}: below it");
        }
    }
    assert_eq!(heat_colour(5.9).1, 0);
    assert_eq!(heat_colour(f32::INFINITY).1, (0.55f32 * 256.0).round() as u16);
}

#[test]
fn each_part_can_be_switched_off_and_on() {
    let map = scores(320, 240, |x, y| if x / 100 == 1 && y / 80 == 1 { 12.0 } else { 0.0 });
    let rect = Rect { x: 100, y: 80, width: 100, height: 80 };
    let regions = [Region { rect, area: 8000, peak: 12.0 }];
    let off = OverlayConfig { heat: false, ..plain() };
    let parts = [
        (off.clone(), false, "none"),
        (OverlayConfig { heat: true, ..off.clone() }, true, "heat"),
        (OverlayConfig { contour: true, ..off.clone() }, true, "contour"),
        (OverlayConfig { boxes: true, ..off.clone() }, true, "boxes"),
        (OverlayConfig { status: true, ..off.clone() }, true, "status"),
    ];
    for format in FORMATS {
        let untouched = grey(format, 320, 240);
        for (config, changes, part) in &parts {
            let mut frame = untouched.clone();
            let mut overlay = Overlay::new(config);
            overlay.draw(&mut frame, &map, &regions, SCALE, "25 fps").unwrap();
            assert_eq!(*frame.pixels != *untouched.pixels, *changes, "{format:?}: {part}");
        }
        // The contour runs where the mask ends, in the colour that was asked for.
        let mut frame = untouched.clone();
        Overlay::new(&parts[2].0).draw(&mut frame, &map, &[], SCALE, "").unwrap();
        for (x, y) in [(100, 120), (150, 80), (199, 120), (150, 159)] {
            let [r, g, b] = pixel(&frame, x, y);
            assert!(r < 100 && g > 170 && b > 185, "{format:?} {x},{y}: {r} {g} {b}");
        }
        assert_eq!(pixel(&frame, 150, 120), pixel(&untouched, 150, 120));
    }
}

#[test]
fn sizes_that_contradict_each_other_are_refused_and_nothing_is_drawn() {
    let mut overlay = Overlay::new(&OverlayConfig::default());
    let mut frame = grey(PixelFormat::I420, 64, 48);
    let before = frame.pixels.to_vec();
    let error = overlay.draw(&mut frame, &scores(48, 64, |_, _| 20.0), &[], SCALE, "25 fps");
    assert!(error.unwrap_err().to_string().contains("48x64"));
    let mut short = scores(64, 48, |_, _| 20.0);
    short.data.pop();
    assert!(overlay.draw(&mut frame, &short, &[], SCALE, "25 fps").is_err());
    assert_eq!(*frame.pixels, before);
    frame.pixels.push(0);
    let error = overlay.draw(&mut frame, &PixelScores::default(), &[], SCALE, "");
    assert!(error.unwrap_err().to_string().contains("4609 bytes"));
}

/// A small generator (xorshift) so that failures repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

#[test]
fn any_size_any_scores_any_regions() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut overlay = Overlay::new(&OverlayConfig::default());
    for round in 0..400 {
        let (width, height) = match round % 8 {
            0 => (1 + random.below(3), 1 + random.below(3)),
            1 => (1 + random.below(400), 1 + random.below(4)),
            2 => (1 + random.below(4), 1 + random.below(1500)),
            _ => (random.below(200), random.below(200)),
        };
        let values = [0.0, 9.0, 10.5, 14.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -1e30];
        let cell = 1 + random.below(20);
        let kinds: Vec<f32> = (0..64).map(|_| values[random.below(values.len())]).collect();
        let map = scores(width, height, |x, y| kinds[(x / cell + y / cell * 7) % 64]);
        let regions: Vec<Region> = (0..random.below(6))
            .map(|_| {
                let side = |r: &mut Random| match r.below(12) {
                    0 => u32::MAX,
                    _ => r.below(250) as u32,
                };
                let (x, y) = (side(&mut random), side(&mut random));
                let (w, h) = (side(&mut random), side(&mut random));
                let rect = Rect { x, y, width: w, height: h };
                Region { rect, area: 1, peak: values[random.below(values.len())] }
            })
            .collect();
        let status = "12:00:00  25.0 fps  p50 41 ms  p95 88 ms  \u{1f600} cpu";
        for format in FORMATS {
            let mut frame = grey(format, width, height);
            frame.id = round;
            overlay.draw(&mut frame, &map, &regions, SCALE, status).unwrap();
            let mut again = grey(format, width, height);
            overlay.draw(&mut again, &map, &regions, SCALE, status).unwrap();
            assert_eq!(*frame.pixels, *again.pixels, "{width}x{height} {format:?}");
        }
    }
}

#[test]
fn the_padding_of_rows_stays_as_it_is() {
    let mut frame = grey(PixelFormat::I420, 37, 21);
    let layout = frame.i420().unwrap();
    let map = scores(37, 21, |x, _| if x > 20 { 20.0 } else { 0.0 });
    let rect = Rect { x: 21, y: 0, width: 16, height: 21 };
    let regions = [Region { rect, area: 300, peak: 20.0 }];
    Overlay::new(&OverlayConfig::default()).draw(&mut frame, &map, &regions, SCALE, "").unwrap();
    let (luma, cb, cr) = layout.planes(&frame.pixels);
    for row in luma.chunks(layout.y_stride).take(21) {
        assert!(row[37..].iter().all(|&s| s == 128));
    }
    for row in cb.chunks(layout.uv_stride).chain(cr.chunks(layout.uv_stride)) {
        assert!(row[19..].iter().all(|&s| s == 128));
    }
}

#[test]
fn a_small_change_of_scores_is_a_small_change_of_the_picture() {
    // The same blob with noise of a hundredth of the spread: outside the contour's line no
    // sample may move by more than a few steps.
    let config = OverlayConfig { contour: false, ..OverlayConfig::default() };
    let mut overlay = Overlay::new(&config);
    let mut random = Random(7);
    let mut last: Option<Frame> = None;
    for _ in 0..5 {
        let noise: Vec<f32> = (0..64).map(|_| random.below(1000) as f32 / 25_000.0).collect();
        let map = scores(160, 120, |x, y| {
            let distance = ((x as f32 - 80.0).powi(2) + (y as f32 - 60.0).powi(2)).sqrt();
            14.0 - distance / 6.0 + noise[(x / 16 + y / 16 * 11) % 64]
        });
        let mut frame = grey(PixelFormat::I420, 160, 120);
        overlay.draw(&mut frame, &map, &[], SCALE, "").unwrap();
        if let Some(last) = last {
            let most = frame.pixels.iter().zip(&*last.pixels).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(most <= Some(3), "a sample moved by {most:?}");
        }
        last = Some(frame);
    }
}

#[test]
fn the_status_strip_does_not_jump() {
    let mut overlay = Overlay::new(&OverlayConfig::default());
    let strip = |overlay: &mut Overlay, status: &str| {
        let mut frame = grey(PixelFormat::Rgb, 320, 240);
        overlay.draw(&mut frame, &PixelScores::default(), &[], SCALE, status).unwrap();
        (0..240).find(|&y| pixel(&frame, 319, y) == [128; 3]).unwrap()
    };
    assert_eq!(strip(&mut overlay, "25.0 fps"), 16);
    let long = "12:00:00  25.0 fps  p50 41.2 ms  p95 88.0 ms  dropped 0  cpu  model  bank";
    assert_eq!(strip(&mut overlay, long), 32);
    assert_eq!(strip(&mut overlay, "25.0 fps"), 32);
}
