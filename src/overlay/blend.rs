//! Blending heat into rows of samples: looked up per cell, then the same arithmetic for all.

use super::palette::LEVELS;

/// A level of heat as arithmetic on 8-bit samples: `(sample * keep + add[i]) >> 8`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Blend {
    /// 256 less the opacity.
    pub keep: u16,
    /// Colour times opacity plus a half, per channel of the canvas.
    pub add: [u16; 3],
}

/// All levels as [`Blend`]s for one kind of canvas.
pub type HeatTable = [Blend; LEVELS];

/// Cells (2 x 2 pixels, one chroma sample) that heat is blended in at once.
pub const CELLS: usize = 64;

/// The blends of up to [`CELLS`] cells side by side, channel by channel, so that whole rows
/// are blended without a look-up per sample.
pub struct HeatBlock {
    /// What is kept of the picture.
    pub keep: [u16; CELLS],
    /// What is added, per channel.
    pub add: [[u16; CELLS]; 3],
    /// `keep` and the first channel of `add`, each twice: one per pixel.
    pub wide_keep: [u16; 2 * CELLS],
    /// See `wide_keep`.
    pub wide_add: [u16; 2 * CELLS],
}

impl Default for HeatBlock {
    fn default() -> Self {
        HeatBlock {
            keep: [0; CELLS],
            add: [[0; CELLS]; 3],
            wide_keep: [0; 2 * CELLS],
            wide_add: [0; 2 * CELLS],
        }
    }
}

impl HeatBlock {
    /// Looks up the blends of `levels`, at most [`CELLS`]; the rest keeps what it held.
    #[inline]
    pub fn gather(&mut self, levels: &[u8], table: &HeatTable) {
        let [first, second, third] = &mut self.add;
        let cells = self.keep.iter_mut().zip(first).zip(second).zip(third);
        for (&level, (((keep, first), second), third)) in levels.iter().zip(cells) {
            let blend = table[usize::from(level)];
            *keep = blend.keep;
            [*first, *second, *third] = blend.add;
        }
        for (wide, &one) in self.wide_keep.as_chunks_mut::<2>().0.iter_mut().zip(&self.keep) {
            *wide = [one; 2];
        }
        for (wide, &one) in self.wide_add.as_chunks_mut::<2>().0.iter_mut().zip(&self.add[0]) {
            *wide = [one; 2];
        }
    }

    /// Blends a row of packed pixels, two per cell.
    pub fn blend_rgb(&self, samples: &mut [u8]) {
        let [red, green, blue] = &self.add;
        let cells = self.keep.iter().zip(red).zip(green).zip(blue);
        let (pairs, last) = samples.as_chunks_mut::<6>();
        for (pixels, (((&keep, &red), &green), &blue)) in pairs.iter_mut().zip(cells) {
            let add = [red, green, blue, red, green, blue];
            *pixels = std::array::from_fn(|i| ((u16::from(pixels[i]) * keep + add[i]) >> 8) as u8);
        }
        let cell = pairs.len().min(CELLS - 1);
        for (s, add) in last.iter_mut().zip(&self.add) {
            *s = ((u16::from(*s) * self.keep[cell] + add[cell]) >> 8) as u8;
        }
    }
}

/// `sample * keep + add`, as [`Blend`] says, for a row of samples.
#[inline]
pub fn blend(samples: &mut [u8], keep: &[u16], add: &[u16]) {
    for ((s, &keep), &add) in samples.iter_mut().zip(keep).zip(add) {
        *s = ((u16::from(*s) * keep + add) >> 8) as u8;
    }
}
