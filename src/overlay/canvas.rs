//! The picture as something to draw on: three operations, for planar Y'CbCr 4:2:0 and for
//! packed RGB alike. Knows nothing of scores.

use super::blend::{CELLS, HeatBlock, HeatTable, blend};
use crate::colour::ycbcr_from_rgb;
use crate::frame::{Colour, Frame, PixelFormat};

/// A colour in the channels of the canvas: Y', Cb, Cr or R, G, B.
pub type Ink = [u8; 3];

/// A frame's pixels, borrowed for drawing. All operations clip at the right and the bottom.
pub struct Canvas<'a> {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    colour: Colour,
    planes: Planes<'a>,
}

enum Planes<'a> {
    I420 { luma: &'a mut [u8], chroma: [&'a mut [u8]; 2], stride: usize, chroma_stride: usize },
    Rgb(&'a mut [u8]),
}

/// `sample` moved towards `ink` by `alpha` 256ths (0..=256).
#[inline]
fn mix(sample: u8, ink: u8, alpha: u16) -> u8 {
    ((u16::from(sample) * (256 - alpha) + u16::from(ink) * alpha + 128) >> 8) as u8
}

/// Coverage 0..=255 as 256ths, so that 255 covers wholly.
#[inline]
fn alpha_of(coverage: u8) -> u16 {
    u16::from(coverage) + u16::from(coverage >> 7)
}

/// Opacity of a chroma sample from the coverage of its pixels. A cell that is half covered
/// already takes the whole colour, so that lines look the same on odd rows as on even ones.
#[inline]
fn cell_alpha(a: u8, b: u8, c: u8, d: u8) -> u16 {
    let sum = u16::from(a) + u16::from(b) + u16::from(c) + u16::from(d);
    alpha_of((sum / 2).min(255) as u8)
}

impl<'a> Canvas<'a> {
    /// `frame` to draw on; `None` if its pixels are not as many as its size says.
    pub fn new(frame: &'a mut Frame) -> Option<Self> {
        let (width, height, colour) = (frame.width, frame.height, frame.colour);
        if frame.pixels.len() != Frame::byte_len(frame.format, width, height) {
            return None;
        }
        let planes = match frame.i420() {
            Some(layout) => {
                let (luma, cb, cr) = layout.planes_mut(&mut frame.pixels);
                let (stride, chroma_stride) = (layout.y_stride, layout.uv_stride);
                Planes::I420 { luma, chroma: [cb, cr], stride, chroma_stride }
            }
            None => Planes::Rgb(&mut frame.pixels),
        };
        Some(Canvas { width, height, colour, planes })
    }

    /// What decides the meaning of an [`Ink`].
    pub fn kind(&self) -> (PixelFormat, Colour) {
        match self.planes {
            Planes::I420 { .. } => (PixelFormat::I420, self.colour),
            Planes::Rgb(_) => (PixelFormat::Rgb, Colour::default()),
        }
    }

    /// An sRGB colour in the channels of this canvas.
    pub fn ink(&self, rgb: [u8; 3]) -> Ink {
        match self.planes {
            Planes::I420 { .. } => ycbcr_from_rgb(rgb, self.colour),
            Planes::Rgb(_) => rgb,
        }
    }

    /// Blends `levels[i]` of `table` into the 2 x 2 pixels from (2i, 2 `cell_row`) on.
    pub fn heat(&mut self, cell_row: usize, levels: &[u8], table: &HeatTable) {
        let (width, height) = (self.width, self.height);
        let rows = 2 * cell_row..(2 * cell_row + 2).min(height);
        let mut block = HeatBlock::default();
        for (at, levels) in levels.chunks(CELLS).enumerate() {
            if levels.iter().fold(0, |any, &level| any | level) == 0 {
                continue;
            }
            block.gather(levels, table);
            let from = 2 * CELLS * at;
            let to = (from + 2 * levels.len()).min(width);
            match &mut self.planes {
                Planes::I420 { luma, chroma, stride, chroma_stride } => {
                    for y in rows.clone() {
                        let samples = &mut luma[y * *stride + from..y * *stride + to];
                        blend(samples, &block.wide_keep, &block.wide_add);
                    }
                    let row = cell_row * *chroma_stride;
                    let span = row + from / 2..row + to.div_ceil(2);
                    for (plane, add) in chroma.iter_mut().zip(&block.add[1..]) {
                        blend(&mut plane[span.clone()], &block.keep, add);
                    }
                }
                Planes::Rgb(pixels) => {
                    for y in rows.clone() {
                        let samples = &mut pixels[(y * width + from) * 3..(y * width + to) * 3];
                        block.blend_rgb(samples);
                    }
                }
            }
        }
    }

    /// Blends `ink` with one opacity (0..=255) into the rectangle at (`x`, `y`); `x` and
    /// `y` are rounded down to even pixels, where chroma samples begin.
    pub fn fill(&mut self, x: usize, y: usize, w: usize, h: usize, ink: Ink, opacity: u8) {
        let (x, y, alpha) = (x & !1, y & !1, alpha_of(opacity));
        let (to_x, to_y) = ((x + w).min(self.width), (y + h).min(self.height));
        if x >= to_x || y >= to_y {
            return;
        }
        let blend = |samples: &mut [u8], ink: u8| {
            for s in samples {
                *s = mix(*s, ink, alpha);
            }
        };
        match &mut self.planes {
            Planes::I420 { luma, chroma, stride, chroma_stride } => {
                for row in y..to_y {
                    blend(&mut luma[row * *stride + x..row * *stride + to_x], ink[0]);
                }
                for row in y / 2..to_y.div_ceil(2) {
                    let row = row * *chroma_stride;
                    for (plane, &ink) in chroma.iter_mut().zip(&ink[1..]) {
                        blend(&mut plane[row + x / 2..row + to_x.div_ceil(2)], ink);
                    }
                }
            }
            Planes::Rgb(pixels) => {
                for row in y..to_y {
                    let row = row * self.width;
                    for pixel in pixels[(row + x) * 3..(row + to_x) * 3].chunks_exact_mut(3) {
                        for (s, &ink) in pixel.iter_mut().zip(&ink) {
                            *s = mix(*s, ink, alpha);
                        }
                    }
                }
            }
        }
    }

    /// Blends `ink` through a stencil: `coverage` (0..=255) row by row, `w` pixels wide, its
    /// corner at (`x`, `y`), both rounded down to even pixels.
    pub fn stamp(&mut self, x: usize, y: usize, w: usize, coverage: &[u8], ink: Ink) {
        let (x, y) = (x & !1, y & !1);
        if w == 0 || x >= self.width {
            return;
        }
        let seen = w.min(self.width - x);
        for (pair, rows) in coverage.chunks(2 * w).enumerate() {
            let top_y = y + 2 * pair;
            if top_y >= self.height {
                return;
            }
            let (top, bottom) = rows.split_at(w.min(rows.len()));
            if top.len() < w {
                return;
            }
            let has_bottom = bottom.len() == w && top_y + 1 < self.height;
            let top = &top[..seen];
            let bottom = if has_bottom { &bottom[..seen] } else { &top[..0] };
            match &mut self.planes {
                Planes::I420 { luma, chroma, stride, chroma_stride } => {
                    let end = luma.len();
                    for (i, row) in [top, bottom].into_iter().enumerate() {
                        let at = (top_y + i) * *stride + x;
                        for (s, &c) in luma[at.min(end)..].iter_mut().zip(row) {
                            *s = mix(*s, ink[0], alpha_of(c));
                        }
                    }
                    let at = top_y / 2 * *chroma_stride + x / 2;
                    let other = if has_bottom { bottom } else { top };
                    let (cells, last) = top.as_chunks::<2>();
                    let (others, other_last) = other.as_chunks::<2>();
                    for (plane, &ink) in chroma.iter_mut().zip(&ink[1..]) {
                        let samples = &mut plane[at..at + seen.div_ceil(2)];
                        let whole = samples.iter_mut().zip(cells).zip(others);
                        for ((s, &[a, b]), &[c, d]) in whole {
                            *s = mix(*s, ink, cell_alpha(a, b, c, d));
                        }
                        if let (Some(s), [a], [b]) = (samples.last_mut(), last, other_last) {
                            *s = mix(*s, ink, cell_alpha(*a, *a, *b, *b));
                        }
                    }
                }
                Planes::Rgb(pixels) => {
                    for (i, row) in [top, bottom].into_iter().enumerate() {
                        let at = ((top_y + i) * self.width + x) * 3;
                        let end = pixels.len();
                        let samples = pixels[at.min(end)..].chunks_exact_mut(3);
                        for (pixel, &c) in samples.zip(row) {
                            for (s, &ink) in pixel.iter_mut().zip(&ink) {
                                *s = mix(*s, ink, alpha_of(c));
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::RgbFromYcbcr;
    use crate::overlay::config::ColourMap;
    use crate::overlay::heat::heat_table;
    use crate::overlay::palette::heat;
    use crate::pool::Pool;

    fn grey(format: PixelFormat, width: usize, height: usize) -> Frame {
        let mut frame = Frame::take(&Pool::new(), format, width, height);
        frame.pixels.fill(128);
        frame
    }

    /// R'G'B' of a pixel of either layout.
    fn pixel(frame: &Frame, x: usize, y: usize) -> [u8; 3] {
        let Some(layout) = frame.i420() else {
            let at = (y * frame.width + x) * 3;
            return frame.pixels[at..at + 3].try_into().unwrap();
        };
        let (luma, cb, cr) = layout.planes(&frame.pixels);
        let at = y / 2 * layout.uv_stride + x / 2;
        let ycbcr = [luma[y * layout.y_stride + x], cb[at], cr[at]];
        RgbFromYcbcr::new(frame.colour).pixel(ycbcr)
    }

    fn assert_near(a: [u8; 3], b: [u8; 3], what: &str) {
        assert!(a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 3), "{what}: {a:?}, not {b:?}");
    }

    #[test]
    fn both_layouts_come_to_the_same_picture() {
        const RED: [u8; 3] = [200, 40, 30];
        let draw = |format| {
            let mut frame = grey(format, 37, 23);
            let before = pixel(&frame, 0, 0);
            let mut canvas = Canvas::new(&mut frame).unwrap();
            let table = heat_table(ColourMap::Inferno, 0.5, &canvas);
            canvas.heat(1, &[0, 255, 255, 128, 0], &table);
            let ink = canvas.ink(RED);
            canvas.fill(10, 6, 4, 4, ink, 255);
            canvas.fill(20, 6, 90, 90, ink, 128);
            canvas.stamp(2, 12, 4, &[255; 16], ink);
            (frame, before)
        };
        for format in [PixelFormat::I420, PixelFormat::Rgb] {
            let (frame, before) = draw(format);
            let (colour, alpha) = heat(ColourMap::Inferno, 0.5, 255);
            let share = f32::from(alpha) / 256.0;
            let hot: [u8; 3] = std::array::from_fn(|i| {
                (f32::from(before[i]) * (1.0 - share) + f32::from(colour[i]) * share) as u8
            });
            assert_near(pixel(&frame, 3, 2), hot, "heat");
            assert_near(pixel(&frame, 3, 3), hot, "heat, lower row");
            assert_near(pixel(&frame, 0, 2), before, "level 0");
            assert_near(pixel(&frame, 8, 2), before, "level 0");
            assert_near(pixel(&frame, 3, 4), before, "below the heat");
            assert_near(pixel(&frame, 12, 8), RED, "filled");
            assert_near(pixel(&frame, 14, 8), before, "right of the filled");
            let half = [0, 1, 2].map(|i| before[i].midpoint(RED[i]));
            assert_near(pixel(&frame, 36, 22), half, "clipped corner");
            assert_near(pixel(&frame, 5, 15), RED, "stamped");
            assert_near(pixel(&frame, 6, 15), before, "right of the stamp");
            assert_near(pixel(&frame, 5, 16), before, "below the stamp");
        }
    }

    #[test]
    fn a_frame_with_too_few_pixels_is_no_canvas() {
        let mut frame = grey(PixelFormat::I420, 16, 16);
        frame.pixels.pop();
        assert!(Canvas::new(&mut frame).is_none());
    }
}
