//! Buildings along the road, from low houses to blocks of flats.

use super::canvas::{Canvas, Quad, Tag};
use super::classes::BUILDING;
use super::noise::{Dice, speck};
use super::palette::{GLASS, Rgb, WALLS, mix, scale, tint};
use super::scene::{Scene, kind};
use super::textures::Textures;

const HOUSE_CELL: f64 = 15.0;

/// Paints the buildings on one side of the road.
pub fn paint(canvas: &mut Canvas, scene: &Scene, side: f32) {
    for cell in scene.cells(HOUSE_CELL, 30.0) {
        let start = cell as f64 * HOUSE_CELL;
        let town = scene.land.town(start);
        let mut dice = Dice::new(scene.seed, kind(100, side), cell);
        if !dice.chance(1.35 * town - 0.25) {
            continue;
        }
        let strips = scene.land.strips(side, start + 0.5 * HOUSE_CELL);
        let near = strips.pavement + side * (dice.range(0.3, 2.0) + (1.0 - town) * 6.0);
        let far = near + side * 11.0;
        let z0 = scene.view.ahead(start + f64::from(dice.range(0.0, 2.5)));
        let z1 = z0 + dice.range(9.5, 12.4);
        let tall = dice.chance(town);
        let h = if tall { dice.range(7.0, 17.0) } else { dice.range(3.2, 5.6) };
        let wall = tint(&mut dice, WALLS);
        let style = Facade {
            wall,
            trim: mix(wall, [214.0, 208.0, 198.0], dice.range(0.1, 0.7)),
            bay: dice.range(1.9, 3.4),
            storey: dice.range(2.7, 3.3),
            window: [dice.range(0.36, 0.62), dice.range(0.4, 0.62)],
            shop: tall && dice.chance(0.5),
            id: dice.bits() as i32,
        };
        let tag = Tag::normal(BUILDING);
        let face = scene.wall((near, z0), (near, z1), 0.0, h);
        let length = z1 - z0;
        canvas.quad(scene.view, &face, tag, scene.lit(-side), |a, b, z| {
            Some(style.shade(scene.textures, a * length, b * h, h, z))
        });
        let gable = if tall { 0.0 } else { dice.range(1.5, 3.0) };
        let end = scene.wall((near, z0), (far, z0), 0.0, h + gable);
        canvas.quad(scene.view, &end, tag, scene.lit(0.0), |a, b, z| {
            let up = b * (h + gable);
            let slope = h + gable * (1.0 - (2.0 * a - 1.0).abs());
            (up <= slope).then(|| style.shade(scene.textures, a * 11.0, up, h, z))
        });
        if !tall {
            let roof = mix([128.0, 74.0, 58.0], [86.0, 82.0, 84.0], dice.unit());
            let p = scene.view.point(near - side * 0.3, h - 0.1, z0 - 0.3);
            let q = scene.view.point(near - side * 0.3, h - 0.1, z1 + 0.3);
            let quad = Quad {
                origin: p,
                along: [q[0] - p[0], 0.0, q[2] - p[2]],
                up: [side * 5.8, -gable - 0.1, 0.0],
            };
            canvas.quad(scene.view, &quad, tag, scene.lit(-side), |a, b, z| {
                let tile = ((b * 16.0).fract() - 0.5) * 0.22;
                let level = scene.textures.grain.level(z * 0.06);
                let grain = scene.textures.grain.smooth(level, a * length * 20.0, b * 120.0);
                let fade = (1.0 - z / 60.0).max(0.0);
                Some(scale(roof, 1.0 + 0.14 * grain + tile * fade))
            });
        }
    }
}

/// How one building's walls look.
struct Facade {
    wall: Rgb,
    trim: Rgb,
    bay: f32,
    storey: f32,
    window: [f32; 2],
    shop: bool,
    id: i32,
}

impl Facade {
    /// Colour `along` and `up` metres from the wall's corner, of a wall `h` high, seen from `z` metres.
    fn shade(&self, textures: &Textures, along: f32, up: f32, h: f32, z: f32) -> Rgb {
        let (column, floor) = (along / self.bay, up / self.storey);
        let (i, j) = (column as i32, floor as i32);
        let (u, v) = ((column - i as f32 - 0.5).abs(), floor - j as f32);
        let shop = self.shop && j == 0;
        let (half, low, high) =
            if shop { (0.44, 0.12, 0.82) } else { (0.5 * self.window[0], 0.25, 0.25 + self.window[1]) };
        if h - up < 0.4 {
            return self.trim;
        }
        if up < 0.35 || h - up < 0.8 || u > half + 0.05 || v < low - 0.03 || v > high + 0.03 {
            // Only close by is the plaster's grain wider than a pixel.
            let at = [along * 18.0, up * 18.0];
            let grain = if z < 14.0 {
                textures.grain.smooth(0, at[0], at[1])
            } else {
                textures.grain.near(textures.grain.level(z * 0.035), at[0], at[1])
            };
            let stain = textures.blotch.near(0, along * 5.0 + self.id as f32 * 0.001, up * 3.0);
            let plinth = if up < 0.35 { 0.72 } else { 1.0 };
            return scale(self.wall, plinth * (1.0 + 0.12 * grain + 0.09 * stain));
        }
        if u > half || v < low || v > high {
            return scale(self.trim, 0.95);
        }
        let mood = speck(i + self.id, j);
        let pane = mix(scale(GLASS, 0.62), [150.0, 164.0, 176.0], mood * 0.5 + 0.28 * (v - low));
        // A curtain or blind in some of the windows.
        if mood > 0.72 && v > high - 0.2 { mix(pane, [196.0, 186.0, 168.0], 0.6) } else { pane }
    }
}
