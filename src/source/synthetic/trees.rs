//! Trees and bushes beside the road.

use super::canvas::{Canvas, Tag};
use super::classes::TREE;
use super::noise::Dice;
use super::palette::{LEAVES, WOODS, scale, tint};
use super::scene::{Scene, kind};
use super::view::{FAR, NEAR};

const TREE_CELL: f64 = 7.0;

/// Darkens the ground beside the trees, away from the sun.
pub fn shadows(canvas: &mut Canvas, scene: &Scene) {
    let light = &scene.view.light;
    for side in [-1.0, 1.0] {
        for cell in scene.cells(TREE_CELL, 0.0) {
            if let Some((x, z, _)) = tree(scene, side, cell).filter(|tree| tree.1 < 70.0) {
                let depth = 1.0 - 0.42 * light.sun;
                canvas.shadow(
                    scene.view,
                    x - 2.0 * light.side,
                    z,
                    1.2 + 1.6 * light.side.abs(),
                    0.9,
                    depth.min(0.85),
                );
            }
        }
    }
}

/// Where the tree of a cell stands, if there is one, and the dice for its looks.
fn tree(scene: &Scene, side: f32, cell: i64) -> Option<(f32, f32, Dice)> {
    let start = cell as f64 * TREE_CELL;
    let town = scene.land.town(start);
    let mut dice = Dice::new(scene.seed, kind(110, side), cell);
    if !dice.chance(0.85 - 0.5 * town) {
        return None;
    }
    let s = start + f64::from(dice.range(0.0, TREE_CELL as f32));
    let z = scene.view.ahead(s);
    if !(NEAR + 0.5..FAR).contains(&z) {
        return None;
    }
    let strips = scene.land.strips(side, s);
    let street = town > 0.5;
    let off = if street { dice.range(0.2, 0.8) } else { dice.range(1.5, 13.0) };
    let x = if street { strips.pavement - side * off * 0.4 } else { strips.pavement + side * off };
    Some((x, z, dice))
}

/// Paints the trees and bushes on one side of the road.
pub fn paint(canvas: &mut Canvas, scene: &Scene, side: f32) {
    for cell in scene.cells(TREE_CELL, 0.0) {
        let Some((x, z, mut dice)) = tree(scene, side, cell) else { continue };
        let leaf = tint(&mut dice, LEAVES);
        let bark = tint(&mut dice, WOODS);
        let tag = Tag::normal(TREE);
        let shape = dice.unit();
        let turn = dice.range(0.0, 256.0);
        let side_light = scene.view.light.side * scene.view.light.sun;
        let foliage = |a: f32, b: f32, w: f32, h: f32, z: f32| {
            let level = scene.textures.leaves.level(z * 0.045);
            let leafy = scene.textures.leaves.smooth(level, a * w * 26.0 + turn, b * h * 26.0);
            let clump = scene.textures.blotch.smooth(level, a * w * 14.0 + turn, b * h * 14.0);
            let bright = 0.86 + 0.34 * leafy + 0.22 * clump + 0.2 * (b - 0.5) + 0.25 * side_light * (a - 0.5);
            (leafy, clump, scale(leaf, bright))
        };
        if shape < 0.22 {
            // A bush.
            let (w, h) = (dice.range(1.4, 3.6), dice.range(0.7, 1.7));
            canvas.quad(scene.view, &scene.upright(x, 0.0, z, w, h), tag, 1.0, |a, b, z| {
                let (leafy, clump, colour) = foliage(a, b, w, h, z);
                let p = 2.0 * a - 1.0;
                let top = (1.0 - p * p).max(0.0).sqrt() * (0.85 + 0.25 * clump) + 0.06 * leafy;
                (b < top).then_some(colour)
            });
        } else if shape < 0.4 {
            // A conifer.
            let (w, h) = (dice.range(2.2, 3.6), dice.range(5.0, 11.0));
            canvas.quad(scene.view, &scene.upright(x, 0.4, z, w, h), tag, 0.85, |a, b, z| {
                let (leafy, _, colour) = foliage(a, b, w, h, z);
                let tier = (b * 7.0).fract();
                let reach = (1.0 - b) * (0.72 + 0.3 * (1.0 - tier)) + 0.1 * leafy * (1.0 - b);
                ((2.0 * a - 1.0).abs() < reach).then(|| scale(colour, 0.8 + 0.25 * (1.0 - tier)))
            });
        } else {
            let (r, trunk) = (dice.range(1.5, 2.9), dice.range(1.8, 3.0));
            let (w, h) = (2.0 * r, 2.0 * r * dice.range(0.9, 1.35));
            let crown = scene.upright(x, trunk - 0.35, z - 0.02, w, h);
            canvas.quad(scene.view, &crown, tag, 1.0, |a, b, z| {
                let (leafy, clump, colour) = foliage(a, b, w, h, z);
                let (p, q) = (2.0 * a - 1.0, 2.0 * b - 1.0);
                (p * p + q * q + 0.30 * clump + 0.22 * leafy < 0.8).then_some(colour)
            });
            let thick = 0.12 + 0.07 * r;
            let stem = scene.upright(x, 0.0, z, thick, trunk + 0.4);
            canvas.quad(scene.view, &stem, tag, 0.9, |a, b, z| {
                let level = scene.textures.grain.level(z * 0.03);
                let grain = scene.textures.grain.smooth(level, a * thick * 60.0 + turn, b * 12.0);
                Some(scale(bark, 0.75 + 0.2 * grain + 0.3 * a))
            });
        }
    }
}
