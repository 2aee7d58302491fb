//! When and where strangers appear: things that the normal world does not have, made of its
//! colours and textures.

use super::canvas::{Canvas, Tag};
use super::classes::VOID;
use super::land::CENTRE_LINE;
use super::noise::Dice;
use super::palette::{METALS, PAINTS, Rgb, WALLS, WOODS, tint};
use super::scene::Scene;
use super::shapes;
use super::stranger::{KINDS, Kind, Stranger};
use super::view::NEAR;

/// Every stretch of this many metres begins with a row of strangers and ends without any.
pub const CELL: f64 = 170.0;
/// Metres ahead from which strangers are drawn.
pub const SIGHT: f32 = 45.0;
/// The most strangers in one row.
const ROW: usize = 14;
/// Metres ahead at which the camera begins to drive around what stands on its lane.
const SWERVE_FROM: f32 = 13.0;
/// Metres aside per metre ahead while driving around.
const SWERVE: f32 = 0.4;

/// Calls `each` for every stranger before the camera, nearest first.
pub fn strangers(scene: &Scene, mut each: impl FnMut(&Stranger)) {
    let first = (scene.view.s / CELL).floor() as i64 - 1;
    for cell in first..=first + 2 {
        let mut dice = Dice::new(scene.seed, 200, cell);
        let count = ROW - dice.below(3);
        let mut s = cell as f64 * CELL + f64::from(dice.range(0.0, 8.0));
        for i in 0..count {
            let stranger = place(scene, cell * ROW as i64 + i as i64, s);
            s += f64::from(dice.range(4.5, 8.5));
            if (NEAR + 1.2..SIGHT).contains(&stranger.z) {
                each(&stranger);
            }
        }
    }
}

fn place(scene: &Scene, number: i64, s: f64) -> Stranger {
    let mut dice = Dice::new(scene.seed, 210, number);
    // Drives of some kinds have theirs where those of all have others.
    let kind = scene.kinds[dice.below(KINDS.len()) % scene.kinds.len().max(1)];
    let (width, height) = kind.size(&mut dice);
    let z = scene.view.ahead(s);
    let half = 0.5 * width;
    // What stands on the own lane is driven around: it slides aside as it comes near.
    let side = if dice.chance(0.5) { 1.0 } else { -1.0 };
    let mut x = match dice.below(12) {
        6..=11 => dice.range(-0.9, 0.9) + side * SWERVE * (SWERVE_FROM - z).max(0.0),
        0 | 1 => (CENTRE_LINE + 0.9 - half).min(CENTRE_LINE) - dice.range(0.0, 0.5),
        2 => scene.land.strips(-1.0, s).edge - dice.range(0.0, 1.0) - half,
        3 => scene.land.strips(1.0, s).edge + dice.range(0.0, 1.0) + half,
        _ => 1.4 + half + dice.range(0.0, 0.5),
    };
    if kind == Kind::Animal || kind == Kind::Ball {
        // They cross the road in front and are out of the way in time.
        let pace = dice.range(-0.08, 0.08);
        x += x.signum() * pace.abs() * -(z - 6.0).max(0.0);
    }
    let paints: &[Rgb] = match kind {
        Kind::Animal => {
            if dice.chance(0.5) {
                WOODS
            } else {
                WALLS
            }
        }
        Kind::Log => WOODS,
        Kind::Carton => &WALLS[..4],
        Kind::Rubble => WALLS,
        Kind::Ladder | Kind::Trolley => METALS,
        _ => PAINTS,
    };
    let main = tint(&mut dice, paints);
    let others: &[Rgb] = match kind {
        Kind::Log => WOODS,
        Kind::Animal | Kind::Carton | Kind::Rubble => WALLS,
        _ => PAINTS,
    };
    // Of a few colours the one that stands out most from the first.
    let contrast = |colour: &Rgb| (0..3).map(|i| (colour[i] - main[i]).abs()).sum::<f32>();
    let second = (0..3)
        .map(|_| tint(&mut dice, others))
        .fold(main, |best, next| if contrast(&next) > contrast(&best) { next } else { best });
    Stranger {
        kind,
        id: (number.rem_euclid(255) + 1) as u8,
        x,
        z,
        size: [width, height],
        colours: [main, second],
        flip: dice.chance(0.5),
        grain: dice.range(0.0, 256.0),
    }
}

impl Kind {
    /// Width and height in metres of one of the kind.
    fn size(self, dice: &mut Dice) -> (f32, f32) {
        let k = dice.range(1.15, 1.8);
        let (w, h) = match self {
            Kind::Animal => [(1.3, 1.0), (2.2, 1.9), (2.7, 1.8)][dice.below(3)],
            Kind::Tyre => [(1.0, 1.0), (1.6, 1.6)][dice.below(2)],
            Kind::Sofa => (2.3, 1.1),
            Kind::Ladder => (1.4, 2.1),
            Kind::Ball => [(0.9, 0.9), (1.6, 1.6)][dice.below(2)],
            Kind::Carton => (1.6, 1.35),
            Kind::Barrel => (1.15, 1.5),
            Kind::Trolley => (1.4, 1.4),
            Kind::Log => (3.0, 1.0),
            Kind::Rubble => (2.6, 1.2),
            Kind::Tent => (2.5, 1.7),
        };
        (w * k, h * k)
    }
}

/// Darkens the ground under the strangers.
pub fn shadows(canvas: &mut Canvas, scene: &Scene) {
    strangers(scene, |it| {
        canvas.shadow(scene.view, it.x, it.z + 0.1, 0.52 * it.size[0], 0.35, 0.62);
    });
}

/// Paints the strangers.
pub fn paint(canvas: &mut Canvas, scene: &Scene) {
    strangers(scene, |it| {
        let tag = Tag { class: VOID, stranger: it.id };
        let [w, h] = it.size;
        let quad = scene.upright(it.x, 0.0, it.z, w, h);
        let sunny = scene.view.light.side * scene.view.light.sun;
        canvas.quad(scene.view, &quad, tag, scene.lit(0.0), |a, b, z| {
            let a = if it.flip { 1.0 - a } else { a };
            let light = if it.flip { -sunny } else { sunny };
            shapes::shade(it, scene.textures, [a * w, b * h], z, light)
        });
    });
}
