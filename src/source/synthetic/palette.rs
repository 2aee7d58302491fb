//! The colours that everything in the world, strangers included, is painted with.

use super::noise::Dice;

/// Red, green, blue on a scale of 0 to 255, before light and haze.
pub type Rgb = [f32; 3];

/// Plaster, brick and concrete.
pub const WALLS: &[Rgb] = &[
    [172.0, 160.0, 140.0],
    [150.0, 96.0, 78.0],
    [128.0, 122.0, 116.0],
    [190.0, 176.0, 148.0],
    [118.0, 84.0, 70.0],
    [196.0, 190.0, 180.0],
    [146.0, 138.0, 112.0],
    [104.0, 108.0, 114.0],
];
/// Car paint.
pub const PAINTS: &[Rgb] = &[
    [206.0, 206.0, 204.0],
    [146.0, 150.0, 154.0],
    [44.0, 46.0, 50.0],
    [132.0, 36.0, 34.0],
    [44.0, 66.0, 112.0],
    [84.0, 90.0, 84.0],
    [168.0, 158.0, 136.0],
    [66.0, 80.0, 92.0],
    [110.0, 62.0, 40.0],
];
/// Leaves and needles.
pub const LEAVES: &[Rgb] =
    &[[74.0, 92.0, 46.0], [92.0, 104.0, 54.0], [58.0, 78.0, 48.0], [112.0, 102.0, 50.0], [66.0, 84.0, 60.0]];
/// Bark and weathered wood.
pub const WOODS: &[Rgb] =
    &[[86.0, 70.0, 54.0], [104.0, 88.0, 70.0], [72.0, 62.0, 54.0], [128.0, 106.0, 78.0]];
/// Galvanised and painted metal.
pub const METALS: &[Rgb] = &[[132.0, 136.0, 138.0], [98.0, 102.0, 104.0], [70.0, 76.0, 74.0]];
/// Tyres and shadowed openings.
pub const RUBBER: Rgb = [34.0, 34.0, 36.0];
/// Glass that mirrors a bright sky.
pub const GLASS: Rgb = [78.0, 90.0, 100.0];

/// One of `colours`, a little lighter or darker and warmer or cooler than listed.
pub fn tint(dice: &mut Dice, colours: &[Rgb]) -> Rgb {
    let base = colours[dice.below(colours.len())];
    let level = dice.range(0.86, 1.14);
    let warm = dice.range(-0.04, 0.04);
    [base[0] * level * (1.0 + warm), base[1] * level, base[2] * level * (1.0 - warm)]
}

/// `a` where `t` is 0, `b` where it is 1.
#[inline]
pub fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t]
}

/// `colour` made `k` times as bright.
#[inline]
pub fn scale(colour: Rgb, k: f32) -> Rgb {
    [colour[0] * k, colour[1] * k, colour[2] * k]
}
