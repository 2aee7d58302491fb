//! The classes of the synthetic world, as its truth masks number them.

/// Class of pixels that belong to no class of the normal world: the strangers'.
pub const VOID: u8 = 255;

pub(super) const SKY: u8 = 0;
pub(super) const ROAD: u8 = 1;
pub(super) const MARKING: u8 = 2;
pub(super) const VERGE: u8 = 3;
pub(super) const PAVEMENT: u8 = 4;
pub(super) const BUILDING: u8 = 5;
pub(super) const TREE: u8 = 6;
pub(super) const CAR: u8 = 7;
pub(super) const POLE: u8 = 8;
pub(super) const FENCE: u8 = 9;
