//! The other cars: parked, oncoming, and the one in front.

use super::canvas::{Canvas, Quad, Tag};
use super::classes::CAR;
use super::noise::{Dice, wander};
use super::palette::{GLASS, PAINTS, RUBBER, Rgb, mix, scale, tint};
use super::scene::Scene;
use super::view::{FAR, NEAR};

const PARKED_CELL: f64 = 6.4;
const ONCOMING_CELL: f64 = 46.0;
const ONCOMING_SPEED: f64 = 12.5;
const LEADER_SECONDS: f64 = 19.0;

/// One car: where it is and what it looks like.
struct Car {
    x: f32,
    z: f32,
    /// Whether its front looks at the camera.
    facing: bool,
    paint: Rgb,
    length: f32,
    width: f32,
    height: f32,
    /// A van: one box without a bonnet.
    boxy: bool,
}

impl Car {
    fn new(dice: &mut Dice, x: f32, z: f32, facing: bool) -> Car {
        let boxy = dice.chance(0.2);
        let (length, width, height) = if boxy {
            (dice.range(4.6, 5.6), dice.range(1.85, 2.05), dice.range(1.9, 2.4))
        } else {
            (dice.range(3.7, 4.7), dice.range(1.66, 1.84), dice.range(1.42, 1.62))
        };
        Car { x, z, facing, paint: tint(dice, PAINTS), length, width, height, boxy }
    }
}

/// Calls `each` for every car that may be seen, nearer cars of a kind first.
fn cars(scene: &Scene, mut each: impl FnMut(&Car)) {
    let view = scene.view;
    let mut show = |car: Car| {
        if car.z > NEAR - car.length && car.z < FAR {
            each(&car);
        }
    };
    for side in [-1.0f32, 1.0] {
        for cell in scene.cells(PARKED_CELL, 8.0) {
            let s = cell as f64 * PARKED_CELL;
            let mut dice = Dice::new(scene.seed, 140 + u64::from(side > 0.0), cell);
            let both = scene.land.parking(side, s).and(scene.land.parking(side, s + 5.0));
            if let Some(x) = both.filter(|_| dice.chance(0.62)) {
                let x = x + dice.range(-0.12, 0.12);
                let z = view.ahead(s) + dice.range(0.0, 0.7);
                show(Car::new(&mut dice, x, z, side < 0.0));
            }
        }
    }
    // Oncoming cars stand still in a frame of reference that comes towards the camera.
    let moved = view.s + ONCOMING_SPEED * view.time;
    let first = ((moved - 8.0) / ONCOMING_CELL).floor() as i64;
    for cell in first..=((moved + f64::from(FAR)) / ONCOMING_CELL).floor() as i64 {
        let mut dice = Dice::new(scene.seed, 150, cell);
        if dice.chance(0.6) {
            let place = cell as f64 * ONCOMING_CELL + f64::from(dice.range(0.0, 30.0));
            let x = -3.5 + dice.range(-0.25, 0.25);
            show(Car::new(&mut dice, x, (place - moved) as f32, true));
        }
    }
    // The car in front lets itself be caught up with and pulls away again.
    let epoch = (view.time / LEADER_SECONDS).floor();
    let mut dice = Dice::new(scene.seed, 160, epoch as i64);
    if dice.chance(0.7) {
        let t = ((view.time / LEADER_SECONDS - epoch) * 2.0 - 1.0) as f32;
        let nearest = dice.range(9.0, 26.0);
        let z = nearest + (FAR - nearest) * t * t;
        let x = 0.3 * wander(scene.seed, 161, view.time / 3.0);
        show(Car::new(&mut dice, x, z, false));
    }
}

/// Darkens the road under the cars.
pub fn shadows(canvas: &mut Canvas, scene: &Scene) {
    cars(scene, |car| {
        let (rx, rz) = (0.62 * car.width, 0.58 * car.length);
        canvas.shadow(scene.view, car.x, car.z + 0.5 * car.length, rx, rz, 0.35);
    });
}

/// Paints the cars.
pub fn paint(canvas: &mut Canvas, scene: &Scene) {
    cars(scene, |car| draw(canvas, scene, car));
}

fn draw(canvas: &mut Canvas, scene: &Scene, car: &Car) {
    let view = scene.view;
    let tag = Tag::normal(CAR);
    let waist = if car.boxy { car.height * 0.52 } else { car.height * 0.6 };
    // The side that the camera sees.
    let seen = if car.x + view.shift(car.z.max(NEAR)) > 0.0 { -1.0 } else { 1.0 };
    let flank = car.x + seen * 0.5 * car.width;
    let dirt =
        |a: f32, b: f32| 0.05 * scene.textures.blotch.smooth(0, a * 60.0 + car.length * 999.0, b * 30.0);
    let end_light = scene.lit(0.0);

    let end = scene.upright(car.x, 0.0, car.z, car.width, waist);
    canvas
        .quad(view, &end, tag, end_light, |a, b, _| end_face(car, a, b).map(|c| scale(c, 1.0 + dirt(a, b))));

    // Above the waist: a pane that leans away, and the bonnet or boot lid before it.
    let (lid, lean) = match (car.boxy, car.facing) {
        (true, true) => (0.35, 0.5),
        (true, false) => (0.0, 0.08),
        (false, true) => (1.0, 0.75),
        (false, false) => (0.28, 0.5),
    };
    let top = car.width * 0.8;
    let pane = Quad {
        origin: view.point(car.x - 0.5 * car.width, waist, car.z + lid),
        along: [car.width, 0.0, 0.0],
        up: [0.0, waist - car.height, lean],
    };
    canvas.quad(view, &pane, tag, end_light * 1.02, |a, b, _| {
        let p = (2.0 * a - 1.0).abs();
        let edge = 1.0 - b * (1.0 - top / car.width);
        match p {
            p if p > edge => None,
            p if p < edge - 0.12 && (0.1..0.86).contains(&b) => {
                Some(mix(scale(GLASS, 0.75), [168.0, 180.0, 190.0], 0.15 + 0.3 * b))
            }
            _ => Some(scale(car.paint, 0.95 + 0.1 * b)),
        }
    });
    if lid > 0.1 {
        let cover = Quad {
            origin: view.point(car.x - 0.5 * car.width, waist, car.z),
            along: [car.width, 0.0, 0.0],
            up: [0.0, 0.0, lid],
        };
        canvas.quad(view, &cover, tag, 1.15, |a, b, _| Some(scale(car.paint, 1.0 + dirt(a, b))));
    }
    let body = scene.wall((flank, car.z), (flank, car.z + car.length), 0.0, waist);
    canvas.quad(view, &body, tag, scene.lit(seen), |a, b, _| {
        flank_face(car, a, b, waist).map(|c| scale(c, 1.0 + dirt(a, b)))
    });
    let glass = Quad { up: [-seen * 0.5 * (car.width - top), waist - car.height, 0.0], ..body };
    let glass = Quad { origin: [glass.origin[0], view.height - waist, glass.origin[2]], ..glass };
    canvas.quad(view, &glass, tag, scene.lit(seen), |a, b, _| cabin_face(car, a, b, lid, lean));
}

/// The front or back below the waist; a from left to right, b from the road up.
fn end_face(car: &Car, a: f32, b: f32) -> Option<Rgb> {
    let p = (2.0 * a - 1.0).abs();
    if b < 0.24 {
        let tyre = (0.62..0.94).contains(&p);
        return if tyre { Some(RUBBER) } else { (b > 0.16 && p < 0.94).then_some([26.0, 26.0, 28.0]) };
    }
    if p > 0.99 - 0.1 * (b - 0.6).abs() {
        return None;
    }
    if (0.62..0.84).contains(&b) && p > 0.66 {
        return Some(if car.facing { [206.0, 206.0, 196.0] } else { [148.0, 30.0, 26.0] });
    }
    if (0.36..0.5).contains(&b) && p < 0.28 {
        return Some([198.0, 196.0, 186.0]);
    }
    if car.facing && (0.52..0.74).contains(&b) && p < 0.56 {
        return Some([40.0, 42.0, 46.0]);
    }
    let bumper = if (0.26..0.42).contains(&b) { 0.78 } else { 1.0 };
    Some(scale(car.paint, bumper * (0.84 + 0.2 * b)))
}

/// The side below the waist; a from the near to the far end.
fn flank_face(car: &Car, a: f32, b: f32, waist: f32) -> Option<Rgb> {
    let (along, up) = (a * car.length, b * waist);
    for axle in [0.19 * car.length, 0.8 * car.length] {
        let (dx, dy) = (along - axle, up - 0.31);
        let r = dx * dx + dy * dy;
        if r < 0.33 * 0.33 {
            return Some(if r < 0.19 * 0.19 { [128.0, 130.0, 132.0] } else { RUBBER });
        }
        if r < 0.39 * 0.39 {
            return Some([20.0, 20.0, 22.0]);
        }
    }
    if up < 0.22 {
        return None;
    }
    let seam = (along / car.length - 0.5).abs() < 0.006;
    let crease = if (b - 0.7).abs() < 0.03 { 1.1 } else { 1.0 };
    Some(scale(car.paint, if seam { 0.6 } else { crease * (0.8 + 0.22 * b) }))
}

/// The side above the waist: the cabin's outline with its windows.
fn cabin_face(car: &Car, a: f32, b: f32, lid: f32, lean: f32) -> Option<Rgb> {
    let along = a * car.length;
    let (near, near_lean) = (lid, lean);
    let (far, far_lean) = if car.boxy {
        (0.15, 0.1)
    } else if car.facing {
        (0.28, 0.5)
    } else {
        (1.0, 0.75)
    };
    let start = near + near_lean * b;
    let end = car.length - far - far_lean * b;
    if along < start || along > end {
        return None;
    }
    let pillar = (along - 0.5 * (start + end)).abs() < 0.06;
    let inner = along > start + 0.16 && along < end - 0.16 && (0.12..0.84).contains(&b) && !pillar;
    // A van has side windows at its front only.
    let cargo = if car.facing { along > start + 1.5 } else { along < end - 1.5 };
    let solid = car.boxy && cargo;
    Some(if inner && !solid {
        mix(scale(GLASS, 0.7), [150.0, 162.0, 172.0], 0.3 * b)
    } else {
        scale(car.paint, 1.02)
    })
}
