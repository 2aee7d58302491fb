//! What lens and sensor make of the painted picture: a little blur, noise, and Y'CbCr 4:2:0.

use super::canvas::Canvas;
use super::noise::{Dice, hash};
use crate::frame::I420Layout;

/// Samples in the table of noise; a row reads it from a random place on.
const TABLE: usize = 1 << 14;

/// The camera's lens and sensor, with their scratch rows.
#[derive(Debug)]
pub struct Sensor {
    luma: Vec<u8>,
    down: Vec<u16>,
    /// Gaussian noise of standard deviation 64.
    noise: Vec<i16>,
}

impl Sensor {
    /// For pictures of `width` x `height` pixels.
    pub fn new(seed: u64, width: usize, height: usize) -> Sensor {
        let mut dice = Dice::new(seed, 300, 0);
        let noise = (0..TABLE + 4096)
            .map(|_| {
                // The sum of twelve uniform numbers is close to a Gaussian.
                let sum: f32 = (0..12).map(|_| dice.unit()).sum();
                ((sum - 6.0) * 64.0) as i16
            })
            .collect();
        Sensor { luma: vec![0; width * height], down: vec![0; width + 2], noise }
    }

    /// Writes `canvas` to the I420 picture `pixels` (BT.601, limited range), with noise of standard
    /// deviation `sigma` that differs from `tick` to `tick`.
    pub fn expose(
        &mut self,
        canvas: &Canvas,
        seed: u64,
        tick: u64,
        sigma: f32,
        layout: &I420Layout,
        pixels: &mut [u8],
    ) {
        let (width, height) = (canvas.width, canvas.height);
        let (y_plane, u_plane, v_plane) = layout.planes_mut(pixels);
        for (out, row) in self.luma.chunks_exact_mut(width).zip(canvas.colour.chunks_exact(width)) {
            for (out, rgb) in out.iter_mut().zip(row) {
                let [r, g, b] = [u32::from(rgb[0]), u32::from(rgb[1]), u32::from(rgb[2])];
                *out = ((66 * r + 129 * g + 25 * b + 4224) >> 8) as u8;
            }
        }
        let gain = (sigma * 256.0 / 64.0) as i32;
        for y in 0..height {
            let above = &self.luma[y.saturating_sub(1) * width..][..width];
            let here = &self.luma[y * width..][..width];
            let below = &self.luma[(y + 1).min(height - 1) * width..][..width];
            for x in 0..width {
                self.down[x + 1] = u16::from(above[x]) + 2 * u16::from(here[x]) + u16::from(below[x]);
            }
            self.down[0] = self.down[1];
            self.down[width + 1] = self.down[width];
            let start = hash(seed, 301 + tick, y as i64) as usize % TABLE;
            let noise = &self.noise[start..][..width];
            let out = &mut y_plane[y * layout.y_stride..][..width];
            let (left, middle, right) = (&self.down[..width], &self.down[1..=width], &self.down[2..]);
            for x in 0..width {
                let sum = i32::from(left[x]) + 2 * i32::from(middle[x]) + i32::from(right[x]);
                let noisy = ((sum + 8) >> 4) + ((i32::from(noise[x]) * gain + 128) >> 8);
                out[x] = noisy.clamp(16, 235) as u8;
            }
        }
        let half = width / 2;
        for y in 0..height / 2 {
            let top = &canvas.colour[2 * y * width..][..width];
            let low = &canvas.colour[(2 * y + 1) * width..][..width];
            let start = hash(seed, 302 + tick, y as i64 + 1_000_000) as usize % TABLE;
            let noise = &self.noise[start..][..width];
            let us = &mut u_plane[y * layout.uv_stride..][..half];
            let vs = &mut v_plane[y * layout.uv_stride..][..half];
            for x in 0..half {
                // Chroma of video lies on every second column: half of that one, a quarter of each beside it.
                let left = (2 * x).saturating_sub(1);
                let column = |x: usize, i: usize| i32::from(top[x][i]) + i32::from(low[x][i]);
                let sum = |i: usize| (column(left, i) + 2 * column(2 * x, i) + column(2 * x + 1, i) + 1) >> 1;
                let (r, g, b) = (sum(0), sum(1), sum(2));
                // Chroma noise is half as strong as that of the luma.
                let (nu, nv) =
                    ((i32::from(noise[2 * x]) * gain) >> 9, (i32::from(noise[2 * x + 1]) * gain) >> 9);
                us[x] = (((-38 * r - 74 * g + 112 * b + 512) >> 10) + 128 + nu).clamp(16, 240) as u8;
                vs[x] = (((112 * r - 94 * g - 18 * b + 512) >> 10) + 128 + nv).clamp(16, 240) as u8;
            }
        }
    }
}
