//! The picture while it is being painted: colour, depth and truth, and the one way to paint a flat
//! surface in perspective.

use super::palette::Rgb;
use super::view::{Light, NEAR, View};

/// Whose pixels a surface makes: class and stranger number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Class of the pixels.
    pub class: u8,
    /// 0 for the normal world, else the stranger's number.
    pub stranger: u8,
}

impl Tag {
    /// A normal class.
    pub const fn normal(class: u8) -> Tag {
        Tag { class, stranger: 0 }
    }
}

/// A flat parallelogram in camera space: corner, and the vectors along its two sides.
#[derive(Debug, Clone, Copy)]
pub struct Quad {
    /// The corner where both surface coordinates are 0.
    pub origin: [f32; 3],
    /// From the corner to where the first coordinate is 1.
    pub along: [f32; 3],
    /// From the corner to where the second coordinate is 1.
    pub up: [f32; 3],
}

/// Colour, nearness and truth of every pixel, row by row.
#[derive(Debug)]
pub struct Canvas {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Red, green, blue, unused.
    pub colour: Vec<[u8; 4]>,
    /// One over the distance ahead in metres; 0 where only the ground or the sky was painted.
    pub nearness: Vec<f32>,
    /// Class.
    pub class: Vec<u8>,
    /// Stranger number, or 0.
    pub stranger: Vec<u8>,
}

impl Canvas {
    /// An empty picture.
    pub fn new(width: usize, height: usize) -> Canvas {
        let pixels = width * height;
        Canvas {
            width,
            height,
            colour: vec![[0; 4]; pixels],
            nearness: vec![0.0; pixels],
            class: vec![0; pixels],
            stranger: vec![0; pixels],
        }
    }

    /// Forgets what was painted except for colour and class, which the background overwrites.
    pub fn clear(&mut self) {
        self.nearness.fill(0.0);
        self.stranger.fill(0);
    }

    /// Paints `quad` where nothing nearer is: `shade(a, b, z)` gives the surface's own colour at its
    /// coordinates a and b in [0, 1], z metres ahead, or nothing where it has a hole. `lit` is how
    /// strongly light falls on it.
    pub fn quad(
        &mut self,
        view: &View,
        quad: &Quad,
        tag: Tag,
        lit: f32,
        mut shade: impl FnMut(f32, f32, f32) -> Option<Rgb>,
    ) {
        let Some(solve) = inverse(quad) else { return };
        let Some((outline, corners)) = outline(view, quad) else { return };
        let outline = &outline[..corners];
        let low = outline.iter().fold(f32::MAX, |m, p| m.min(p[1]));
        let high = outline.iter().fold(f32::MIN, |m, p| m.max(p[1]));
        let first = (low - 0.5).ceil().max(0.0) as usize;
        let last = (high - 0.5).floor().min(self.height as f32 - 1.0);
        if last < first as f32 {
            return;
        }
        let haze = Haze::new(&view.light, lit);
        let step = 1.0 / view.focal;
        for y in first..=last as usize {
            let Some((left, right)) = span(outline, y as f32 + 0.5, self.width) else { continue };
            let ray = [(left as f32 + 0.5 - view.cx) * step, (y as f32 + 0.5 - view.cy) * step];
            let at = |row: usize| solve[row][0] * ray[0] + solve[row][1] * ray[1] + solve[row][2];
            let (a0, b0, w0) = (at(0), at(1), at(2));
            let (da, db, dw) = (solve[0][0] * step, solve[1][0] * step, solve[2][0] * step);
            let row = y * self.width;
            for x in left..=right {
                let i = (x - left) as f32;
                let nearness = w0 + dw * i;
                let pixel = row + x;
                if nearness <= self.nearness[pixel] {
                    continue;
                }
                let z = 1.0 / nearness;
                let (a, b) = ((a0 + da * i) * z, (b0 + db * i) * z);
                if let Some(own) = shade(a.clamp(0.0, 1.0), b.clamp(0.0, 1.0), z) {
                    self.nearness[pixel] = nearness;
                    self.colour[pixel] = haze.over(own, z);
                    self.class[pixel] = tag.class;
                    self.stranger[pixel] = tag.stranger;
                }
            }
        }
    }

    /// Darkens the ground inside an ellipse centred `x` metres right and `z` metres ahead, with half
    /// axes `rx`, `rz`, to `depth` of its brightness at the centre.
    pub fn shadow(&mut self, view: &View, x: f32, z: f32, rx: f32, rz: f32, depth: f32) {
        let near = (z - rz).max(NEAR);
        let far = z + rz;
        if far <= near {
            return;
        }
        let row_of = |z: f32| view.cy + view.focal * view.height / z;
        let first = (row_of(far) - 0.5).ceil().max(0.0) as usize;
        let last = (row_of(near) - 0.5).floor().min(self.height as f32 - 1.0);
        for y in first..(last + 1.0).max(0.0) as usize {
            let row_z = view.focal * view.height / (y as f32 + 0.5 - view.cy);
            let v = (row_z - z) / rz;
            let half = rx * (1.0 - v * v).max(0.0).sqrt();
            let middle = view.cx + view.focal * (x + view.shift(row_z)) / row_z;
            let reach = view.focal * half / row_z;
            let left = (middle - reach).max(0.0) as usize;
            let right = (middle + reach).clamp(0.0, self.width as f32) as usize;
            for px in left..right {
                let u = (px as f32 + 0.5 - middle) / (view.focal * rx / row_z);
                let fall = (1.0 - u * u - v * v).max(0.0);
                let k = 1.0 - (1.0 - depth) * (2.0 * fall).min(1.0);
                let fixed = (k * 256.0) as u32;
                let pixel = &mut self.colour[y * self.width + px];
                for channel in &mut pixel[..3] {
                    *channel = ((u32::from(*channel) * fixed) >> 8) as u8;
                }
            }
        }
    }
}

/// How light and air change a colour.
#[derive(Debug, Clone, Copy)]
pub struct Haze {
    gain: Rgb,
    colour: Rgb,
    half: f32,
}

impl Haze {
    /// For surfaces on which light falls `lit` times as strongly as on the ground.
    pub fn new(light: &Light, lit: f32) -> Haze {
        let a = light.ambient;
        Haze { gain: [a[0] * lit, a[1] * lit, a[2] * lit], colour: light.haze, half: 1.0 / light.haze_half }
    }

    /// The share of a thing's own colour that is left after `z` metres of air.
    #[inline]
    pub fn clear(&self, z: f32) -> f32 {
        let t = z * self.half;
        1.0 / (1.0 + t * t)
    }

    /// The 8-bit colour of a surface of colour `own`, `z` metres ahead.
    #[inline]
    pub fn over(&self, own: Rgb, z: f32) -> [u8; 4] {
        self.blend(own, self.clear(z))
    }

    /// As [`Haze::over`], where `clear` of the own colour is left.
    #[inline]
    pub fn blend(&self, own: Rgb, clear: f32) -> [u8; 4] {
        let one = |i: usize| ((own[i] * self.gain[i] - self.colour[i]) * clear + self.colour[i]) as u8;
        [one(0), one(1), one(2), 0]
    }
}

/// The matrix that turns a ray (x/z, y/z, 1) into (a/z, b/z, 1/z) of the point where it meets the
/// plane of `quad`; none if the plane holds the camera.
fn inverse(quad: &Quad) -> Option<[[f32; 3]; 3]> {
    let (a, b, o) = (quad.along, quad.up, quad.origin);
    let cross = |p: [f32; 3], q: [f32; 3]| {
        [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]]
    };
    let (bo, oa, ab) = (cross(b, o), cross(o, a), cross(a, b));
    let det = a[0] * bo[0] + a[1] * bo[1] + a[2] * bo[2];
    if det.abs() < 1e-6 {
        return None;
    }
    let k = 1.0 / det;
    Some([bo, oa, ab].map(|row| row.map(|v| v * k)))
}

/// The corners of the visible part of `quad` on the screen; none if all of it is behind the camera.
fn outline(view: &View, quad: &Quad) -> Option<([[f32; 2]; 6], usize)> {
    let corner = |a: f32, b: f32| {
        let one = |i: usize| quad.origin[i] + a * quad.along[i] + b * quad.up[i];
        [one(0), one(1), one(2)]
    };
    let corners = [corner(0.0, 0.0), corner(1.0, 0.0), corner(1.0, 1.0), corner(0.0, 1.0)];
    let mut out = [[0.0; 2]; 6];
    let mut count = 0;
    for i in 0..4 {
        let (p, q) = (corners[i], corners[(i + 1) % 4]);
        let mut push = |p: [f32; 3]| {
            if count < out.len() {
                out[count] = [view.cx + view.focal * p[0] / p[2], view.cy + view.focal * p[1] / p[2]];
                count += 1;
            }
        };
        if p[2] >= NEAR {
            push(p);
        }
        if (p[2] >= NEAR) != (q[2] >= NEAR) {
            let t = (NEAR - p[2]) / (q[2] - p[2]);
            push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1]), NEAR]);
        }
    }
    (count >= 3).then_some((out, count))
}

/// The first and last pixel whose centres lie inside the convex `outline` at height `y`.
fn span(outline: &[[f32; 2]], y: f32, width: usize) -> Option<(usize, usize)> {
    let (mut left, mut right) = (f32::MAX, f32::MIN);
    for (i, p) in outline.iter().enumerate() {
        let q = outline[(i + 1) % outline.len()];
        if (p[1] <= y) != (q[1] <= y) {
            let x = p[0] + (y - p[1]) / (q[1] - p[1]) * (q[0] - p[0]);
            left = left.min(x);
            right = right.max(x);
        }
    }
    let first = (left - 0.5).ceil().max(0.0);
    let last = (right - 0.5).floor().min(width as f32 - 1.0);
    (first <= last).then_some((first as usize, last as usize))
}
