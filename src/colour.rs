//! Between Y'CbCr and R'G'B': single colours both ways, whole I420 pictures to packed RGB.
//!
//! Equations: ITU-R BT.601-7, BT.709-6 and BT.2020-2, 8-bit quantisation; full range as in JFIF.

use crate::frame::{Colour, Frame, I420Layout};

/// Offset of luma, steps from black to white, steps from one end of chroma to the other.
fn quantisation(full_range: bool) -> (f32, f32, f32) {
    if full_range { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) }
}

/// The Y', Cb, Cr of an 8-bit R'G'B' colour, rounded to nearest.
pub fn ycbcr_from_rgb(rgb: [u8; 3], colour: Colour) -> [u8; 3] {
    let (kr, kb) = colour.matrix.luma_weights();
    let (offset, luma_steps, chroma_steps) = quantisation(colour.full_range);
    let [r, g, b] = rgb.map(|c| f32::from(c) / 255.0);
    let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
    let cb = (b - luma) / (2.0 * (1.0 - kb));
    let cr = (r - luma) / (2.0 * (1.0 - kr));
    // Float-to-integer casts saturate: full-range chroma may reach 255.5.
    [offset + luma_steps * luma, 128.0 + chroma_steps * cb, 128.0 + chroma_steps * cr]
        .map(|c| c.round() as u8)
}

/// Fractional bits of the factors in [`RgbFromYcbcr`].
const BITS: u32 = 14;

/// The way from Y'CbCr to R'G'B' in fixed-point numbers, ready for many pixels.
#[derive(Debug, Clone, Copy)]
pub struct RgbFromYcbcr {
    luma_offset: i32,
    luma: i32,
    red_cr: i32,
    green_cb: i32,
    green_cr: i32,
    blue_cb: i32,
}

impl RgbFromYcbcr {
    /// The factors for `colour`.
    pub fn new(colour: Colour) -> Self {
        let (kr, kb) = colour.matrix.luma_weights();
        let kg = 1.0 - kr - kb;
        let (offset, luma_steps, chroma_steps) = quantisation(colour.full_range);
        let fixed = |factor: f32| (factor * (1 << BITS) as f32).round() as i32;
        let chroma = 255.0 / chroma_steps;
        RgbFromYcbcr {
            luma_offset: offset as i32,
            luma: fixed(255.0 / luma_steps),
            red_cr: fixed(2.0 * (1.0 - kr) * chroma),
            green_cb: fixed(-2.0 * (1.0 - kb) * kb / kg * chroma),
            green_cr: fixed(-2.0 * (1.0 - kr) * kr / kg * chroma),
            blue_cb: fixed(2.0 * (1.0 - kb) * chroma),
        }
    }

    /// What the chroma of a pixel adds to R', G', B' (fixed point, half a step included).
    #[inline]
    fn chroma(&self, cb: u8, cr: u8) -> [i32; 3] {
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        let half = 1 << (BITS - 1);
        [self.red_cr * cr + half, self.green_cb * cb + self.green_cr * cr + half, self.blue_cb * cb + half]
    }

    #[inline]
    fn with_luma(&self, y: u8, chroma: [i32; 3]) -> [u8; 3] {
        let luma = (i32::from(y) - self.luma_offset) * self.luma;
        chroma.map(|c| ((luma + c) >> BITS).clamp(0, 255) as u8)
    }

    /// The R'G'B' of one pixel, clamped to 0..=255.
    #[inline]
    pub fn pixel(&self, ycbcr: [u8; 3]) -> [u8; 3] {
        self.with_luma(ycbcr[0], self.chroma(ycbcr[1], ycbcr[2]))
    }
}

/// Parts of a chroma sample in the sums of [`ChromaRow`]: four of the rows times four of the columns.
const PARTS: i32 = 16;

/// One row of chroma at the luma's resolution, interpolated linearly, in units of 1 / [`PARTS`].
struct ChromaRow {
    /// The two nearest rows of samples, weighted by their distance, 4 parts.
    down: Vec<i32>,
    /// One number per luma sample.
    across: Vec<i32>,
}

impl ChromaRow {
    fn new(width: usize) -> Self {
        ChromaRow { down: vec![0; width.div_ceil(2)], across: vec![0; width] }
    }

    /// Fills `across` with luma row `y` of `plane`, whose samples lie `beside` every second column or between two.
    fn fill(&mut self, plane: &[u8], stride: usize, rows: usize, y: usize, beside: bool) {
        // Between rows: three parts of the nearer one, one of the other; at the edges both are the same.
        let near = y / 2;
        let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(rows - 1) };
        for (x, sum) in self.down.iter_mut().enumerate() {
            *sum = 3 * i32::from(plane[near * stride + x]) + i32::from(plane[far * stride + x]);
        }
        let last = self.down.len() - 1;
        for (x, pair) in self.across.chunks_mut(2).enumerate() {
            let [left, here, right] =
                [self.down[x.saturating_sub(1)], self.down[x], self.down[(x + 1).min(last)]];
            let both =
                if beside { [4 * here, 2 * (here + right)] } else { [3 * here + left, 3 * here + right] };
            pair.copy_from_slice(&both[..pair.len()]);
        }
    }
}

/// Converts an I420 picture to packed RGB, `width x height x 3` bytes in `rgb` (resized to that).
///
/// Chroma is interpolated linearly. Its samples lie between two rows of luma; of video on every second
/// column, of full-range pictures (JFIF) between two columns. `features` reads frames in the same way, so
/// that a picture written and read again looks to a model as the frame did.
///
/// # Panics
/// If `pixels` is shorter than `layout.len`.
pub fn rgb_from_i420(pixels: &[u8], layout: &I420Layout, colour: Colour, rgb: &mut Vec<u8>) {
    let &I420Layout { width, height, y_stride, uv_stride, .. } = layout;
    rgb.resize(width * height * 3, 0);
    if rgb.is_empty() {
        return;
    }
    let k = RgbFromYcbcr::new(colour);
    let (luma, cb, cr) = layout.planes(pixels);
    let (mut blue, mut red) = (ChromaRow::new(width), ChromaRow::new(width));
    let rows = rgb.chunks_exact_mut(width * 3).zip(luma.chunks_exact(y_stride));
    let half = PARTS << (BITS - 1);
    for (y, (out, luma)) in rows.enumerate() {
        blue.fill(cb, uv_stride, layout.uv_height(), y, !colour.full_range);
        red.fill(cr, uv_stride, layout.uv_height(), y, !colour.full_range);
        for (((out, &y), cb), cr) in out.chunks_exact_mut(3).zip(luma).zip(&blue.across).zip(&red.across) {
            let (cb, cr) = (cb - 128 * PARTS, cr - 128 * PARTS);
            let luma = (i32::from(y) - k.luma_offset) * k.luma * PARTS + half;
            let sums = [k.red_cr * cr, k.green_cb * cb + k.green_cr * cr, k.blue_cb * cb];
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = ((luma + sum) / (PARTS << BITS)).clamp(0, 255) as u8;
            }
        }
    }
}

/// A frame's pixels as RGB; `rgb` holds them where the frame has others.
pub fn rgb_of<'a>(frame: &'a Frame, rgb: &'a mut Vec<u8>) -> &'a [u8] {
    match frame.i420() {
        Some(layout) => {
            rgb_from_i420(&frame.pixels, &layout, frame.colour, rgb);
            rgb
        }
        None => &frame.pixels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Matrix;

    const VIDEO_601: Colour = Colour { matrix: Matrix::Bt601, full_range: false };
    const VIDEO_709: Colour = Colour { matrix: Matrix::Bt709, full_range: false };
    const VIDEO_2020: Colour = Colour { matrix: Matrix::Bt2020, full_range: false };
    const JPEG: Colour = Colour { matrix: Matrix::Bt601, full_range: true };

    /// Colour bars at full amplitude: BT.601/709/2020 tables, and JFIF.
    const KNOWN: [(Colour, [u8; 3], [u8; 3]); 15] = [
        (VIDEO_601, [255, 255, 255], [235, 128, 128]),
        (VIDEO_601, [0, 0, 0], [16, 128, 128]),
        (VIDEO_601, [255, 0, 0], [81, 90, 240]),
        (VIDEO_601, [0, 255, 0], [145, 54, 34]),
        (VIDEO_601, [0, 0, 255], [41, 240, 110]),
        (VIDEO_709, [255, 0, 0], [63, 102, 240]),
        (VIDEO_709, [0, 255, 0], [173, 42, 26]),
        (VIDEO_709, [0, 0, 255], [32, 240, 118]),
        (VIDEO_2020, [255, 0, 0], [74, 97, 240]),
        (VIDEO_2020, [0, 255, 0], [164, 47, 25]),
        (VIDEO_2020, [0, 0, 255], [29, 240, 119]),
        (JPEG, [255, 255, 255], [255, 128, 128]),
        (JPEG, [255, 0, 0], [76, 85, 255]),
        (JPEG, [0, 255, 0], [150, 44, 21]),
        (JPEG, [0, 0, 255], [29, 255, 107]),
    ];

    #[test]
    fn known_colours_both_ways() {
        for (colour, rgb, ycbcr) in KNOWN {
            assert_eq!(ycbcr_from_rgb(rgb, colour), ycbcr, "{colour:?} {rgb:?}");
            let back = RgbFromYcbcr::new(colour).pixel(ycbcr);
            for (a, b) in back.iter().zip(rgb) {
                assert!(a.abs_diff(b) <= 2, "{colour:?} {rgb:?} came back as {back:?}");
            }
        }
    }

    #[test]
    fn every_grey_survives() {
        for colour in [VIDEO_601, VIDEO_709, VIDEO_2020, JPEG] {
            for grey in 0..=255u8 {
                let ycbcr = ycbcr_from_rgb([grey; 3], colour);
                let back = RgbFromYcbcr::new(colour).pixel(ycbcr);
                assert!(back.iter().all(|c| c.abs_diff(grey) <= 1), "{colour:?} {grey}: {back:?}");
            }
        }
    }

    /// A chroma plane at luma sample `x`, `y`: linear between samples, the edges repeated.
    fn chroma_at(plane: &[u8], layout: &I420Layout, x: usize, y: usize, full_range: bool) -> f32 {
        let clamp = |at: f32, count: usize| at.clamp(0.0, (count - 1) as f32);
        let sited = if full_range { 0.25 } else { 0.0 };
        let (u, v) = (
            clamp(x as f32 / 2.0 - sited, layout.uv_width()),
            clamp(y as f32 / 2.0 - 0.25, layout.uv_height()),
        );
        let at = |u: f32, v: f32| f32::from(plane[v as usize * layout.uv_stride + u as usize]);
        let row = |v: f32| at(u.floor(), v) * (1.0 - u.fract()) + at(u.ceil(), v) * u.fract();
        row(v.floor()) * (1.0 - v.fract()) + row(v.ceil()) * v.fract()
    }

    #[test]
    fn pictures_of_any_size_convert_with_chroma_interpolated() {
        for (width, height) in [(1, 1), (2, 2), (3, 5), (17, 4), (64, 33), (0, 4)] {
            for colour in [VIDEO_709, JPEG] {
                let layout = I420Layout::new(width, height);
                let pixels: Vec<u8> = (0..layout.len).map(|i| (60 + i * 89 % 131) as u8).collect();
                let mut rgb = Vec::new();
                rgb_from_i420(&pixels, &layout, colour, &mut rgb);
                assert_eq!(rgb.len(), width * height * 3);
                let (luma, cb, cr) = layout.planes(&pixels);
                let (offset, luma_steps, chroma_steps) = quantisation(colour.full_range);
                let (kr, kb) = colour.matrix.luma_weights();
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let l = (f32::from(luma[y * layout.y_stride + x]) - offset) * 255.0 / luma_steps;
                    let [cb, cr] = [cb, cr].map(|plane| {
                        (chroma_at(plane, &layout, x, y, colour.full_range) - 128.0) * 255.0 / chroma_steps
                    });
                    let (r, b) = (l + 2.0 * (1.0 - kr) * cr, l + 2.0 * (1.0 - kb) * cb);
                    let expected = [r, (l - kr * r - kb * b) / (1.0 - kr - kb), b];
                    let at = (y * width + x) * 3;
                    for (got, want) in rgb[at..at + 3].iter().zip(expected) {
                        let difference = (f32::from(*got) - want.clamp(0.0, 255.0)).abs();
                        assert!(difference <= 1.0, "{width}x{height} at {x},{y}: {got}, not {want}");
                    }
                }
            }
        }
    }
}
