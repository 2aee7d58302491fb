//! What stands beside the road: buildings, trees, poles and signs, fences.

use super::canvas::{Canvas, Quad, Tag};
use super::classes::{BUILDING, FENCE, POLE, TREE};
use super::land::Land;
use super::noise::{Dice, speck};
use super::palette::{GLASS, LEAVES, METALS, PAINTS, Rgb, WALLS, WOODS, mix, scale, tint};
use super::textures::Textures;
use super::view::{FAR, NEAR, View};

const HOUSE_CELL: f64 = 15.0;
const TREE_CELL: f64 = 7.0;
const POLE_CELL: f64 = 26.0;
const FENCE_CELL: f64 = 8.0;

/// Everything that painting a thing needs to know.
pub struct Scene<'a> {
    /// The camera.
    pub view: &'a View,
    /// The plan of the land.
    pub land: &'a Land,
    /// The textures.
    pub textures: &'a Textures,
    /// The drive's seed.
    pub seed: u64,
}

impl Scene<'_> {
    /// The cells of `length` metres from `back` metres behind the camera to where things are too far
    /// to be seen, nearest first.
    pub fn cells(&self, length: f64, back: f64) -> std::ops::RangeInclusive<i64> {
        let first = ((self.view.s - back) / length).floor() as i64;
        first..=((self.view.s + f64::from(FAR)) / length).floor() as i64
    }

    /// An upright quad facing the camera, `w` wide and `h` high, its foot's middle at (`x`, `up`, `z`).
    pub fn upright(&self, x: f32, up: f32, z: f32, w: f32, h: f32) -> Quad {
        Quad { origin: self.view.point(x - 0.5 * w, up, z), along: [w, 0.0, 0.0], up: [0.0, -h, 0.0] }
    }

    /// An upright wall between two places on the ground.
    pub fn wall(&self, from: (f32, f32), to: (f32, f32), up: f32, h: f32) -> Quad {
        let (p, q) = (self.view.point(from.0, up, from.1), self.view.point(to.0, up, to.1));
        Quad { origin: p, along: [q[0] - p[0], 0.0, q[2] - p[2]], up: [0.0, -h, 0.0] }
    }

    /// How strongly light falls on a wall that looks to `side` (-1 left, 1 right, 0 towards the camera).
    pub fn lit(&self, side: f32) -> f32 {
        let light = &self.view.light;
        let facing = if side == 0.0 { 1.0 - light.side.abs() } else { side * light.side };
        0.9 + 0.22 * light.sun * facing
    }
}

/// Darkens the ground beside the trees, away from the sun.
pub fn shadows(canvas: &mut Canvas, scene: &Scene) {
    let light = &scene.view.light;
    for side in [-1.0, 1.0] {
        for cell in scene.cells(TREE_CELL, 0.0) {
            if let Some((x, z, _)) = tree(scene, side, cell).filter(|tree| tree.1 < 70.0) {
                let depth = 1.0 - 0.42 * light.sun;
                canvas.shadow(scene.view, x - 2.0 * light.side, z, 1.2 + 1.6 * light.side.abs(), 0.9, depth.min(0.85));
            }
        }
    }
}

/// Paints everything beside the road.
pub fn paint(canvas: &mut Canvas, scene: &Scene) {
    for side in [-1.0, 1.0] {
        poles(canvas, scene, side);
        fences(canvas, scene, side);
        trees(canvas, scene, side);
        houses(canvas, scene, side);
    }
}

fn kind(base: u64, side: f32) -> u64 {
    base + u64::from(side > 0.0)
}

fn houses(canvas: &mut Canvas, scene: &Scene, side: f32) {
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

fn trees(canvas: &mut Canvas, scene: &Scene, side: f32) {
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
                return if bar { Some(scale(colour, fold + grain)) } else { post.then(|| scale(colour, 0.7)) };
            }
            // Slats too fine for the distance become an even half tone.
            let slat = (along / pitch).fract() < 0.66 && (up > 0.08);
            let beam = (up - 0.3).abs() < 0.05 || (up - h + 0.22).abs() < 0.05;
            let shade = if z > 40.0 { 0.85 } else if beam { 0.8 } else { 1.0 };
            (slat || beam || z > 40.0).then(|| scale(colour, shade + grain))
        });
    }
}
