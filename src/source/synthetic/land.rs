//! What lies where along the drive: how built-up it is and how wide its strips are, by distance.

use super::noise::{Dice, wander};

/// The plan of the land around the road. Sideways places are metres right of the own lane's centre.
#[derive(Debug, Clone, Copy)]
pub struct Land {
    seed: u64,
}

/// The strips of one side of the road at one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strips {
    /// Where the asphalt ends.
    pub edge: f32,
    /// Where the pavement ends; equal to `edge` where there is none.
    pub pavement: f32,
}

/// Sideways place of the line between the two directions.
pub const CENTRE_LINE: f32 = -1.75;

/// Length in metres of the stretches that have strips of one width.
const STRETCH: f64 = 70.0;

impl Land {
    /// The land of drive `seed`.
    pub fn new(seed: u64) -> Land {
        Land { seed }
    }

    /// How built-up the place `s` metres into the drive is, 0 to 1.
    pub fn town(&self, s: f64) -> f32 {
        (0.5 + 0.9 * wander(self.seed, 40, s / 260.0) + 0.2 * wander(self.seed, 41, s / 60.0)).clamp(0.0, 1.0)
    }

    /// The strips left (`side` -1) or right (1) of the road.
    pub fn strips(&self, side: f32, s: f64) -> Strips {
        let stretch = (s / STRETCH).floor();
        let into = (s - stretch * STRETCH) as f32;
        let here = self.stretch(side, stretch as i64);
        // The last metres of a stretch lead over to the next one.
        let lead = 14.0;
        let t = ((into - (STRETCH as f32 - lead)) / lead).clamp(0.0, 1.0);
        if t == 0.0 {
            return here;
        }
        let next = self.stretch(side, stretch as i64 + 1);
        let blend = |a: f32, b: f32| a + (b - a) * t;
        Strips { edge: blend(here.edge, next.edge), pavement: blend(here.pavement, next.pavement) }
    }

    fn stretch(&self, side: f32, index: i64) -> Strips {
        let town = self.town((index as f64 + 0.5) * STRETCH);
        let mut dice = Dice::new(self.seed, if side > 0.0 { 42 } else { 43 }, index);
        let wide = dice.chance(0.55 * town);
        let edge = if side > 0.0 {
            if wide { 4.6 } else { 2.2 }
        } else if wide {
            -7.4
        } else {
            -5.4
        };
        let walk = if town > 0.42 && dice.chance(0.9) { dice.range(1.8, 3.2) } else { 0.0 };
        Strips { edge, pavement: edge + side * walk }
    }

    /// Whether cars may be parked at `s`, and at which sideways place.
    pub fn parking(&self, side: f32, s: f64) -> Option<f32> {
        let strips = self.strips(side, s);
        if side > 0.0 && strips.edge > 4.5 {
            Some(3.5)
        } else if side < 0.0 && strips.edge < -7.3 {
            Some(-6.35)
        } else {
            None
        }
    }

    /// The stretch of road surface at `s`: its number and brightness.
    pub fn asphalt(&self, s: f64) -> f32 {
        let mut dice = Dice::new(self.seed, 44, (s / 47.0).floor() as i64);
        dice.range(74.0, 112.0)
    }

    /// Whether the centre line is unbroken at `s`.
    pub fn no_passing(&self, s: f64) -> bool {
        Dice::new(self.seed, 45, (s / 90.0).floor() as i64).chance(0.35)
    }

    /// Whether `s` lies on a zebra crossing.
    pub fn zebra(&self, s: f64) -> bool {
        let cell = (s / 60.0).floor();
        let into = s - cell * 60.0;
        (20.0..23.4).contains(&into)
            && Dice::new(self.seed, 46, cell as i64).chance(0.6)
            && self.town(cell * 60.0) > 0.4
    }
}
