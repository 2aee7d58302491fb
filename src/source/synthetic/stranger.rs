//! A stranger: what it can be, and one as it stands before the camera.

use super::palette::Rgb;

/// The kinds of strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A four-legged animal.
    Animal,
    /// A tyre, standing.
    Tyre,
    /// A sofa.
    Sofa,
    /// A stepladder.
    Ladder,
    /// A large ball.
    Ball,
    /// A cardboard box or two.
    Carton,
    /// A barrel.
    Barrel,
    /// A shopping trolley.
    Trolley,
    /// A tree trunk on the ground.
    Log,
    /// A heap of stones.
    Rubble,
    /// A tent.
    Tent,
}

impl Kind {
    /// What a source calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Animal => "animal",
            Kind::Tyre => "tyre",
            Kind::Sofa => "sofa",
            Kind::Ladder => "ladder",
            Kind::Ball => "ball",
            Kind::Carton => "carton",
            Kind::Barrel => "barrel",
            Kind::Trolley => "trolley",
            Kind::Log => "log",
            Kind::Rubble => "rubble",
            Kind::Tent => "tent",
        }
    }
}

/// All kinds.
pub const KINDS: [Kind; 11] = [
    Kind::Animal,
    Kind::Tyre,
    Kind::Sofa,
    Kind::Ladder,
    Kind::Ball,
    Kind::Carton,
    Kind::Barrel,
    Kind::Trolley,
    Kind::Log,
    Kind::Rubble,
    Kind::Tent,
];

/// One stranger as it stands before the camera.
#[derive(Debug, Clone)]
pub struct Stranger {
    /// What it is.
    pub kind: Kind,
    /// Its number in the truth, 1..=255.
    pub id: u8,
    /// Metres right of the own lane's centre.
    pub x: f32,
    /// Metres ahead.
    pub z: f32,
    /// Width and height in metres.
    pub size: [f32; 2],
    /// Its main and second colour.
    pub colours: [Rgb; 2],
    /// Mirrors it.
    pub flip: bool,
    /// A number in [0, 256) that sets its texture apart.
    pub grain: f32,
}
