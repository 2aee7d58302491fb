//! The colours of heat: perceptually uniform maps, and how opaque each level is.

use super::config::ColourMap;

/// Levels of heat; level 0 leaves the picture as it is.
pub const LEVELS: usize = 256;

/// Where in the colour map heat begins. The dark end of these maps would only look like
/// shadow on a road.
const FIRST_COLOUR: f32 = 0.36;

/// Heat reaches its full opacity at this share of its range.
const OPAQUE_FROM: f32 = 0.6;

/// sRGB at 33 equal steps of the maps that matplotlib publishes under CC0; linear
/// interpolation is within 2 of their 256 steps (3 for plasma).
type Steps = [u32; 33];

#[rustfmt::skip]
const INFERNO: Steps = [
    0x000004, 0x040312, 0x0b0724, 0x150b37, 0x210c4a, 0x2e0a5a, 0x3c0965, 0x4a0c6b,
    0x57106d, 0x63146e, 0x70196e, 0x7d1e6d, 0x89226a, 0x962766, 0xa32b61, 0xaf315c,
    0xbb3755, 0xc63e4d, 0xd14644, 0xdb4f3b, 0xe35932, 0xeb6528, 0xf1711e, 0xf67f14,
    0xf98d0a, 0xfb9c06, 0xfcab0f, 0xfbba1f, 0xf9ca32, 0xf5d949, 0xf2e865, 0xf3f586,
    0xfcffa4,
];
#[rustfmt::skip]
const MAGMA: Steps = [
    0x000004, 0x030311, 0x0a0822, 0x130d33, 0x1d1146, 0x28115a, 0x36106a, 0x430f76,
    0x50127c, 0x5d177f, 0x691c81, 0x762181, 0x822681, 0x8f2a81, 0x9c2e7f, 0xa9327d,
    0xb63779, 0xc33b75, 0xcf4170, 0xdb486a, 0xe65163, 0xee5c5e, 0xf5695c, 0xf9785d,
    0xfb8761, 0xfd9668, 0xfea571, 0xfeb47b, 0xfec387, 0xfed194, 0xfde0a2, 0xfceeb0,
    0xfcfdbf,
];
#[rustfmt::skip]
const PLASMA: Steps = [
    0x0d0887, 0x220690, 0x310596, 0x3f049c, 0x4c02a1, 0x5901a5, 0x6600a7, 0x7201a8,
    0x7e03a8, 0x8909a6, 0x9511a2, 0x9f1a9c, 0xa92396, 0xb22c8e, 0xbb3587, 0xc33e80,
    0xcb4778, 0xd25071, 0xd9596a, 0xe06263, 0xe66c5c, 0xeb7555, 0xf07f4f, 0xf48a48,
    0xf89441, 0xfb9f3a, 0xfdab33, 0xfeb72d, 0xfdc328, 0xfcd025, 0xf9dd25, 0xf5eb27,
    0xf0f921,
];
#[rustfmt::skip]
const VIRIDIS: Steps = [
    0x440154, 0x470d60, 0x48186a, 0x482374, 0x472d7b, 0x453681, 0x424086, 0x3f4989,
    0x3b528b, 0x375a8d, 0x33638d, 0x2f6a8e, 0x2c728e, 0x297a8e, 0x26818e, 0x23898e,
    0x21908c, 0x1f988b, 0x1f9f88, 0x21a685, 0x28ae80, 0x31b57b, 0x3ebc74, 0x4cc26c,
    0x5dc963, 0x6ece58, 0x82d34c, 0x96d83f, 0xabdc32, 0xc0df24, 0xd5e21a, 0xeae51a,
    0xfde725,
];

/// The colour of `map` at `position`, 0 to 1.
pub fn colour_at(map: ColourMap, position: f32) -> [u8; 3] {
    let steps = match map {
        ColourMap::Inferno => &INFERNO,
        ColourMap::Magma => &MAGMA,
        ColourMap::Plasma => &PLASMA,
        ColourMap::Viridis => &VIRIDIS,
    };
    let last = steps.len() - 1;
    let position = position.clamp(0.0, 1.0) * last as f32;
    let step = (position as usize).min(last - 1);
    let share = position - step as f32;
    [16, 8, 0].map(|shift| {
        let channel = |packed: u32| (packed >> shift & 0xff) as f32;
        let (from, to) = (channel(steps[step]), channel(steps[step + 1]));
        (from + share * (to - from)).round() as u8
    })
}

/// The colour of a level and its opacity in 256ths, 0..=256: the colour runs evenly
/// through the map, the opacity rises by a smooth step so that heat has no edge.
pub fn heat(map: ColourMap, opacity: f32, level: u8) -> ([u8; 3], u16) {
    let share = f32::from(level) / (LEVELS - 1) as f32;
    let rise = (share / OPAQUE_FROM).min(1.0);
    let opacity = opacity.clamp(0.0, 1.0) * rise * rise * (3.0 - 2.0 * rise);
    (colour_at(map, FIRST_COLOUR + (1.0 - FIRST_COLOUR) * share), (opacity * 256.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_end_where_they_should_and_get_lighter_throughout() {
        assert_eq!(colour_at(ColourMap::Inferno, 0.0), [0x00, 0x00, 0x04]);
        assert_eq!(colour_at(ColourMap::Inferno, 1.0), [0xfc, 0xff, 0xa4]);
        assert_eq!(colour_at(ColourMap::Viridis, 7.0), [0xfd, 0xe7, 0x25]);
        for map in [ColourMap::Inferno, ColourMap::Magma, ColourMap::Plasma, ColourMap::Viridis] {
            let luma = |level: u8| {
                let [r, g, b] = colour_at(map, f32::from(level) / 255.0).map(f32::from);
                0.2126 * r + 0.7152 * g + 0.0722 * b
            };
            for level in 1..=255 {
                assert!(luma(level) > luma(level - 1) - 1.0, "{map:?} {level}");
            }
        }
    }

    #[test]
    fn opacity_rises_smoothly_from_nothing() {
        assert_eq!(heat(ColourMap::Inferno, 0.55, 0).1, 0);
        assert_eq!(heat(ColourMap::Inferno, 0.5, 255).1, 128);
        for level in 1..=255 {
            let step = heat(ColourMap::Inferno, 1.0, level).1 - heat(ColourMap::Inferno, 1.0, level - 1).1;
            assert!(step <= 4, "level {level} jumps by {step}");
        }
    }
}
