//! The frame of reference that all things are placed in.

use super::canvas::Quad;
use super::land::Land;
use super::stranger::Kind;
use super::textures::Textures;
use super::view::{FAR, View};

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
    /// Of what kinds strangers are.
    pub kinds: &'a [Kind],
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

/// The hash kind of a thing that exists separately left and right of the road.
pub fn kind(base: u64, side: f32) -> u64 {
    base + u64::from(side > 0.0)
}
