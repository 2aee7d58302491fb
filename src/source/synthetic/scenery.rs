//! What stands beside the road.

use super::canvas::{Canvas, Tag};
use super::classes::{FENCE, POLE};
use super::noise::Dice;
use super::palette::{METALS, PAINTS, WOODS, scale, tint};
use super::scene::{Scene, kind};
use super::view::{FAR, NEAR};
use super::{houses, trees};

const POLE_CELL: f64 = 26.0;
const FENCE_CELL: f64 = 8.0;

/// Paints everything beside the road.
pub fn paint(canvas: &mut Canvas, scene: &Scene) {
    for side in [-1.0, 1.0] {
        poles(canvas, scene, side);
        fences(canvas, scene, side);
        trees::paint(canvas, scene, side);
        houses::paint(canvas, scene, side);
    }
}

fn poles(canvas: &mut Canvas, scene: &Scene, side: f32) {
    for cell in scene.cells(POLE_CELL, 0.0) {
        let mut dice = Dice::new(scene.seed, kind(120, side), cell);
        let s = cell as f64 * POLE_CELL + f64::from(dice.range(0.0, 9.0));
        let z = scene.view.ahead(s);
        if !(NEAR + 0.3..FAR * 0.8).contains(&z) || !dice.chance(0.75) {
            continue;
        }
        let town = scene.land.town(s);
        let x = scene.land.strips(side, s).edge + side * dice.range(0.5, 1.0);
        let metal = tint(&mut dice, METALS);
        let tag = Tag::normal(POLE);
        let round = move |a: f32| Some(scale(metal, 0.7 + 1.5 * a * (1.0 - a)));
        if dice.chance(0.35 + 0.4 * town) {
            let h = dice.range(6.0, 8.0);
            canvas.quad(scene.view, &scene.upright(x, 0.0, z, 0.18, h), tag, 1.0, |a, _, _| round(a));
            let arm = scene.upright(x - side * 0.9, h - 0.1, z, 1.9, 0.1);
            canvas.quad(scene.view, &arm, tag, 1.0, |_, b, _| round(b));
            let lamp = scene.upright(x - side * 1.6, h - 0.22, z, 0.7, 0.18);
            canvas.quad(scene.view, &lamp, tag, 1.0, |_, b, _| Some(scale(metal, 0.8 + 0.6 * b)));
            continue;
        }
        let h = dice.range(2.1, 2.7);
        canvas.quad(scene.view, &scene.upright(x, 0.0, z, 0.09, h), tag, 1.0, |a, _, _| round(a));
        let size = dice.range(0.6, 0.85);
        let rim = [[168.0, 40.0, 38.0], [44.0, 76.0, 150.0], [178.0, 148.0, 44.0]][dice.below(3)];
        let field = if dice.chance(0.6) { [214.0, 212.0, 208.0] } else { rim };
        let shape = dice.below(3);
        let sign = scene.upright(x, h - 0.1, z - 0.05, size, size);
        canvas.quad(scene.view, &sign, tag, 1.0, |a, b, _| {
            let (p, q) = (2.0 * a - 1.0, 2.0 * b - 1.0);
            let inside = match shape {
                0 => (p * p + q * q).sqrt(),
                1 => p.abs().max(q.abs()),
                _ => (p.abs() * 1.15 + 0.5 * (q + 1.0)).max(-q),
            };
            let glyph = p.abs() < 0.16 && q.abs() < 0.42;
            match inside {
                d if d > 1.0 => None,
                d if d > 0.76 => Some(rim),
                _ if glyph => Some([52.0, 52.0, 56.0]),
                _ => Some(field),
            }
        });
    }
}

fn fences(canvas: &mut Canvas, scene: &Scene, side: f32) {
    for cell in scene.cells(FENCE_CELL, FENCE_CELL) {
        let start = cell as f64 * FENCE_CELL;
        // Runs of several cells share one kind of fence.
        let mut dice = Dice::new(scene.seed, kind(130, side), cell.div_euclid(5));
        let town = scene.land.town((cell.div_euclid(5) * 5) as f64 * FENCE_CELL);
        if !dice.chance(0.45) {
            continue;
        }
        let rail = dice.chance(0.9 - town);
        let garden = dice.range(0.4, 2.2);
        let colour = if rail {
            tint(&mut dice, METALS)
        } else if dice.chance(0.5) {
            tint(&mut dice, WOODS)
        } else {
            tint(&mut dice, &PAINTS[..3])
        };
        let (h, pitch) = (if rail { 0.8 } else { dice.range(0.8, 1.5) }, dice.range(0.16, 0.26));
        let place = |s: f64| {
            let strips = scene.land.strips(side, s);
            if rail { strips.edge + side * 0.7 } else { strips.pavement + side * garden * 0.5 }
        };
        let end = start + FENCE_CELL;
        let from = (place(start), scene.view.ahead(start));
        let to = (place(end), scene.view.ahead(end));
        let length = FENCE_CELL as f32;
        let quad = scene.wall(from, to, 0.0, h);
        canvas.quad(scene.view, &quad, Tag::normal(FENCE), scene.lit(-side), |a, b, z| {
            let (along, up) = (a * length, b * h);
            let grain = 0.08 * scene.textures.grain.near(2, along * 30.0, up * 40.0);
            if rail {
                let bar = (0.42..0.78).contains(&up);
                let post = (along * 0.5).fract() < 0.06 && up < 0.7;
                let fold = 0.8 + 0.4 * ((up - 0.42) * 8.7).sin().abs();
                return if bar {
                    Some(scale(colour, fold + grain))
                } else {
                    post.then(|| scale(colour, 0.7))
                };
            }
            // Slats too fine for the distance become an even half tone.
            let slat = (along / pitch).fract() < 0.66 && (up > 0.08);
            let beam = (up - 0.3).abs() < 0.05 || (up - h + 0.22).abs() < 0.05;
            let shade = if z > 40.0 {
                0.85
            } else if beam {
                0.8
            } else {
                1.0
            };
            (slat || beam || z > 40.0).then(|| scale(colour, shade + grain))
        });
    }
}
