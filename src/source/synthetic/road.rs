//! The ground: asphalt, markings, pavements and verges, painted row by row.

use super::canvas::{Canvas, Haze};
use super::classes::{MARKING, PAVEMENT, ROAD, VERGE};
use super::land::{CENTRE_LINE, Land, Strips};
use super::noise::{Dice, Line, fixed, floor};
use super::palette::{Rgb, mix, scale};
use super::textures::Textures;
use super::view::View;

/// Texels of the fine textures per metre of ground.
const FINE: f32 = 30.0;
/// Texels of the coarse texture per metre of ground.
const COARSE: f32 = 3.0;

/// What one row of the ground shares.
struct Row {
    y: usize,
    /// Metres ahead.
    z: f32,
    /// Sideways place of the first pixel's centre, and how far the next one is, in metres.
    x0: f32,
    dx: f32,
    /// Texture rows.
    grain: Line,
    blotch: Line,
    leaves: Line,
    /// Whether a joint between slabs runs along the row.
    joint: bool,
    clear: f32,
}

/// What a strip of ground is made of.
#[derive(Clone, Copy)]
enum Soil {
    Asphalt(f32),
    Slabs(Rgb),
    Grass(Rgb),
}

/// Paints everything below the horizon.
pub fn paint(canvas: &mut Canvas, view: &View, land: &Land, textures: &Textures, seed: u64) {
    let haze = Haze::new(&view.light, 1.0);
    let first = (view.cy + 0.5).ceil().max(0.0) as usize;
    for y in first..canvas.height {
        let z = view.focal * view.height / (y as f32 + 0.5 - view.cy);
        let s = view.s + f64::from(z);
        let dx = z / view.focal;
        let (fine_v, coarse_v) = (
            (s * f64::from(FINE)).rem_euclid(256.0) as f32,
            (s * f64::from(COARSE)).rem_euclid(256.0) as f32,
        );
        // A row covers more ground in depth than a pixel does sideways.
        let level = |scale: f32| textures.grain.level(dx * scale * 2.0);
        let row = Row {
            y,
            z,
            x0: (0.5 - view.cx) * dx - view.shift(z),
            dx,
            grain: Line::new(&textures.grain, level(FINE), fine_v),
            blotch: Line::new(&textures.blotch, level(COARSE), coarse_v),
            leaves: Line::new(&textures.leaves, level(FINE), fine_v),
            joint: z < 25.0 && s.rem_euclid(0.8) < 0.04,
            clear: haze.clear(z),
        };
        let (left, right) = (land.strips(-1.0, s), land.strips(1.0, s));
        strips(canvas, &row, &haze, land, s, left, right, seed);
        markings(canvas, &row, &haze, land, s, left, right);
    }
}

#[allow(clippy::too_many_arguments)] // one row's facts, each used once
fn strips(
    canvas: &mut Canvas,
    row: &Row,
    haze: &Haze,
    land: &Land,
    s: f64,
    left: Strips,
    right: Strips,
    seed: u64,
) {
    let mut dice = Dice::new(seed, 50, (s / 110.0).floor() as i64);
    let slab = scale([138.0, 134.0, 128.0], dice.range(0.86, 1.1));
    let grass = mix([92.0, 104.0, 56.0], [128.0, 118.0, 76.0], dice.unit());
    let asphalt = land.asphalt(s);
    let kerb: Rgb = [168.0, 166.0, 160.0];
    let places = [
        (f32::MIN, VERGE, Soil::Grass(grass)),
        (left.pavement, PAVEMENT, Soil::Slabs(slab)),
        (left.edge - 0.16, PAVEMENT, Soil::Slabs(kerb)),
        (left.edge, ROAD, Soil::Asphalt(asphalt)),
        (right.edge, PAVEMENT, Soil::Slabs(kerb)),
        (right.edge + 0.16, PAVEMENT, Soil::Slabs(slab)),
        (right.pavement, VERGE, Soil::Grass(grass)),
    ];
    let width = canvas.width;
    let column = |x: f32| ((x - row.x0) / row.dx).ceil().clamp(0.0, width as f32) as usize;
    for (i, &(start, class, soil)) in places.iter().enumerate() {
        let rural = |strip: Strips| (strip.pavement - strip.edge).abs() < 0.3;
        // Without a pavement there is no kerb either.
        let soil = match i {
            1 | 2 if rural(left) => Soil::Grass(grass),
            4 | 5 if rural(right) => Soil::Grass(grass),
            _ => soil,
        };
        let class = if class == PAVEMENT && matches!(soil, Soil::Grass(_)) { VERGE } else { class };
        let end = places.get(i + 1).map_or(width, |next| column(next.0));
        fill(canvas, row, haze, column(start), end, class, soil);
    }
}

#[allow(clippy::too_many_arguments)] // as above
fn fill(canvas: &mut Canvas, row: &Row, haze: &Haze, from: usize, to: usize, class: u8, soil: Soil) {
    if from >= to {
        return;
    }
    let base = row.y * canvas.width;
    canvas.class[base + from..base + to].fill(class);
    let pixels = &mut canvas.colour[base + from..base + to];
    let mut x = row.x0 + row.dx * from as f32;
    let (mut fine, fine_step) = (fixed(x * FINE), fixed(row.dx * FINE));
    let (mut coarse, coarse_step) = (fixed(x * COARSE), fixed(row.dx * COARSE));
    let mut next = || {
        let at = (fine, coarse, x);
        fine = fine.wrapping_add(fine_step);
        coarse = coarse.wrapping_add(coarse_step);
        x += row.dx;
        at
    };
    match soil {
        Soil::Asphalt(grey) => {
            for pixel in pixels {
                let (fine, coarse, x) = next();
                // Wheels polish two tracks per lane.
                let lane = (x - CENTRE_LINE) * (1.0 / 3.5);
                let across = (lane - floor(lane) as f32 - 0.5).abs() - 0.23;
                let track = (1.0 - across * across * 90.0).max(0.0);
                let level =
                    grey * (1.0 + 0.17 * row.grain.at(fine) + 0.10 * row.blotch.at(coarse) - 0.07 * track);
                *pixel = haze.blend([level, level * 0.995, level * 1.01], row.clear);
            }
        }
        Soil::Slabs(own) => {
            for pixel in pixels {
                let (fine, coarse, x) = next();
                let seam = row.joint || (row.z < 15.0 && (x * 1.25).rem_euclid(1.0) < 0.035);
                let level = 1.0 + 0.12 * row.grain.at(fine) + 0.10 * row.blotch.at(coarse.wrapping_mul(2));
                *pixel = haze.blend(scale(own, if seam { 0.75 * level } else { level }), row.clear);
            }
        }
        Soil::Grass(own) => {
            for pixel in pixels {
                let (fine, coarse, _) = next();
                let (blade, coarse) = (row.leaves.at(fine), row.blotch.at(coarse));
                let dry = (0.5 + 0.8 * coarse).clamp(0.0, 1.0) * 0.45;
                let level = 1.0 + 0.32 * blade + 0.16 * coarse;
                *pixel = haze.blend(scale(mix(own, [134.0, 116.0, 84.0], dry), level), row.clear);
            }
        }
    }
}

#[allow(clippy::too_many_arguments)] // as above
fn markings(canvas: &mut Canvas, row: &Row, haze: &Haze, land: &Land, s: f64, left: Strips, right: Strips) {
    let mut line = |middle: f32, width: f32| {
        let pixels = width / row.dx;
        if pixels < 0.6 {
            return;
        }
        let from = (middle - 0.5 * width - row.x0) / row.dx;
        let first = from.round().clamp(0.0, canvas.width as f32) as usize;
        let last = (from + pixels).round().clamp(0.0, canvas.width as f32) as usize;
        for px in first..last {
            let x = row.x0 + row.dx * px as f32;
            let worn = row.grain.at(fixed(x * FINE)) + 0.7 * row.blotch.at(fixed(x * COARSE));
            if worn > 0.75 {
                continue;
            }
            let level = 206.0 * (1.0 + 0.10 * worn);
            canvas.colour[row.y * canvas.width + px] = haze.blend([level, level, level * 0.97], row.clear);
            canvas.class[row.y * canvas.width + px] = MARKING;
        }
    };
    if land.zebra(s) {
        let mut x = left.edge + 0.4;
        while x < right.edge - 0.4 {
            line(x + 0.25, 0.5);
            x += 1.0;
        }
        return;
    }
    let solid = land.no_passing(s);
    if solid {
        line(CENTRE_LINE - 0.11, 0.11);
        line(CENTRE_LINE + 0.11, 0.11);
    } else if s.rem_euclid(9.0) < 3.5 {
        line(CENTRE_LINE, 0.14);
    }
    if right.edge > 3.5 && s.rem_euclid(3.0) < 1.2 {
        line(2.15, 0.12);
    } else if right.edge < 2.6 {
        line(right.edge - 0.22, 0.12);
    }
    if left.edge < -6.8 && s.rem_euclid(3.0) < 1.2 {
        line(-5.3, 0.12);
    } else if left.edge > -5.8 {
        line(left.edge + 0.22, 0.12);
    }
}
