//! Known outliers made of the footage itself: outlines at random, filled with texture of other pictures, zoomed, recoloured
//! and shaded, pasted where they do not belong. They need no labels, and look like no thing that there is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};

use super::picture;
use crate::random::Random;

/// As a share of the height: how far up things get small.
const HORIZON: f64 = 0.42;
/// Height of a picture that the waves of an outline are told for.
const REFERENCE_HEIGHT: f64 = 960.0;
/// In the truth: a scrap.
pub const SCRAP: u8 = 1;
/// In the truth: the outline of one, which is neither.
pub const VOID: u8 = 255;

/// A picture with scraps on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pasted {
    /// The picture.
    pub picture: RgbImage,
    /// Of each pixel: 0, [`SCRAP`] or [`VOID`].
    pub truth: GrayImage,
}

/// Pastes one to three scraps onto the picture at `path`, their feet below the horizon, the larger the nearer, filled from
/// `textures`. The same arguments give the same pixels.
///
/// # Errors
/// A picture that cannot be read.
pub fn paste(path: &Path, textures: &[PathBuf], random: &mut Random) -> Result<Pasted> {
    let mut onto = picture::read(path)?;
    let (width, height) = onto.dimensions();
    let mut truth = GrayImage::new(width, height);
    for _ in 0..1 + random.below(3) {
        let foot = random.range(HORIZON + 0.1, 0.97);
        let size = ((foot - HORIZON) * random.range(0.25, 1.0) * f64::from(height)).max(12.0) as u32;
        let from =
            textures.get(random.below(textures.len().max(1))).context("no picture to take scraps of")?;
        let scrap = Scrap::cut(&picture::read(from)?, size, height, random);
        let left = random.range(0.06, 0.94) * f64::from(width) - f64::from(scrap.pixels.width()) / 2.0;
        let top = foot * f64::from(height) - f64::from(scrap.pixels.height());
        scrap.lay(&mut onto, &mut truth, (left as i64, top as i64));
    }
    let edge = outline(&truth);
    for (pixel, edge) in truth.iter_mut().zip(edge) {
        if edge {
            *pixel = VOID;
        }
    }
    Ok(Pasted { picture: onto, truth })
}

/// A rounded outline of texture.
struct Scrap {
    pixels: RgbImage,
    /// 255 inside, 0 outside.
    shape: GrayImage,
}

impl Scrap {
    /// Cuts one of so many pixels of height out of `picture`, for one of `whole` pixels of height.
    fn cut(picture: &RgbImage, height: u32, whole: u32, random: &mut Random) -> Scrap {
        let width = ((f64::from(height) * random.range(0.6, 1.8)) as u32).max(2);
        // A piece of the picture as if that were so many pixels large.
        let zoom = random.range(0.5, 4.0);
        let zoomed = [(480.0, width, picture.width()), (360.0, height, picture.height())];
        let [(left, across), (top, down)] = zoomed.map(|(least, size, of)| {
            let virtual_size = (least * zoom).floor() + f64::from(size);
            let at = random.range(0.0, virtual_size - f64::from(size));
            let scale = f64::from(of) / virtual_size;
            let length = ((f64::from(size) * scale) as u32).clamp(1, of.max(1));
            (((at * scale) as u32).min(of.saturating_sub(length)), length)
        });
        let piece = imageops::crop_imm(picture, left, top, across, down).to_image();
        let mut pixels = imageops::resize(&piece, width, height, FilterType::CatmullRom);
        recolour(&mut pixels, random);
        let shape = shape(width, height, f64::from(whole), random);
        Scrap { pixels, shape }
    }

    /// Lays it with its left upper corner at a place that may be outside, softly at the edge; marks where it is.
    fn lay(&self, onto: &mut RgbImage, truth: &mut GrayImage, (left, top): (i64, i64)) {
        let soft = imageops::blur(&eroded(&self.shape), 1.0);
        for (x, y, pixel) in self.pixels.enumerate_pixels() {
            let at = (u32::try_from(left + i64::from(x)), u32::try_from(top + i64::from(y)));
            let (Ok(at_x), Ok(at_y)) = at else { continue };
            let Some(below) = onto.get_pixel_mut_checked(at_x, at_y) else { continue };
            let share = u32::from(soft.get_pixel(x, y).0[0]);
            for (below, above) in below.0.iter_mut().zip(pixel.0) {
                *below = ((u32::from(*below) * (255 - share) + u32::from(above) * share + 127) / 255) as u8;
            }
            if self.shape.get_pixel(x, y).0[0] > 0 {
                truth.get_pixel_mut(at_x, at_y).0[0] = SCRAP;
            }
        }
    }
}

/// Other channels in other light, darker towards the foot.
fn recolour(pixels: &mut RgbImage, random: &mut Random) {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let order = orders[random.below(orders.len())];
    let change: [(f64, f64); 3] =
        std::array::from_fn(|_| (random.range(0.5, 1.8), random.range(-30.0, 60.0)));
    let shade = 0.5 * random.unit();
    let last = f64::from(pixels.height().saturating_sub(1).max(1));
    for (_, y, pixel) in pixels.enumerate_pixels_mut() {
        let light = 1.0 - shade * f64::from(y) / last;
        let old = pixel.0;
        pixel.0 = std::array::from_fn(|c| {
            let (gain, offset) = change[c];
            ((f64::from(old[order[c]]) * gain + offset) * light).clamp(0.0, 255.0) as u8
        });
    }
}

/// An ellipse whose edge is moved in and out by smooth noise.
fn shape(width: u32, height: u32, whole: f64, random: &mut Random) -> GrayImage {
    let wave = 24.0 * whole / REFERENCE_HEIGHT;
    let knots = |length: u32| ((f64::from(length) / wave) as u32).max(2) + 2;
    let noise = image::ImageBuffer::<image::Luma<f32>, _>::from_fn(knots(width), knots(height), |_, _| {
        image::Luma([random.normal() as f32])
    });
    let noise = imageops::resize(&noise, width, height, FilterType::CatmullRom);
    let place = |at: u32, length: u32| 2.0 * f64::from(at) / f64::from(length.saturating_sub(1).max(1)) - 1.0;
    GrayImage::from_fn(width, height, |x, y| {
        let wave = f64::from(noise.get_pixel(x, y).0[0]);
        let inside = 0.5 * wave + 1.1 - 1.6 * place(x, width).hypot(place(y, height)) > 0.3;
        image::Luma([if inside { 255 } else { 0 }])
    })
}

/// One pixel less at every edge.
fn eroded(shape: &GrayImage) -> GrayImage {
    GrayImage::from_fn(shape.width(), shape.height(), |x, y| {
        let near = |at: u32, length: u32| at.saturating_sub(1)..(at + 2).min(length);
        let least = near(y, shape.height())
            .flat_map(|y| near(x, shape.width()).map(move |x| shape.get_pixel(x, y).0[0]))
            .min();
        image::Luma([least.unwrap_or(0)])
    })
}

/// Where, at most two pixels away, there are scraps and what is none.
fn outline(truth: &GrayImage) -> Vec<bool> {
    let (width, height) = truth.dimensions();
    let near = |at: u32, length: u32| at.saturating_sub(2)..(at + 3).min(length);
    // Rows first, then columns: the window is a square.
    let along = |seen: &dyn Fn(u32, u32) -> (bool, bool), across: bool| -> Vec<(bool, bool)> {
        let mut out = Vec::with_capacity((width * height) as usize);
        for y in 0..height {
            for x in 0..width {
                let window = if across { near(x, width) } else { near(y, height) };
                out.push(window.fold((false, false), |(some, none), at| {
                    let (more, less) = if across { seen(at, y) } else { seen(x, at) };
                    (some || more, none || less)
                }));
            }
        }
        out
    };
    let own = |x: u32, y: u32| match truth.get_pixel(x, y).0[0] {
        0 => (false, true),
        _ => (true, false),
    };
    let rows = along(&own, true);
    let both = along(&|x, y| rows[(y * width + x) as usize], false);
    both.into_iter().map(|(some, none)| some && none).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scraps_stand_below_the_horizon_and_the_truth_tells_where() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..3).map(|i| dir.path().join(format!("{i}.png"))).collect();
        for (i, path) in paths.iter().enumerate() {
            let picture =
                RgbImage::from_fn(320, 180, |x, y| image::Rgb([(x * 3) as u8, (y * 5) as u8, 80 * i as u8]));
            picture.save(path).unwrap();
        }
        let plain = picture::read(&paths[0]).unwrap();
        let mut scraps = 0;
        for seed in 0..20 {
            let pasted = paste(&paths[0], &paths, &mut Random::new(seed)).unwrap();
            assert_eq!(pasted, paste(&paths[0], &paths, &mut Random::new(seed)).unwrap());
            assert_eq!(pasted.truth.dimensions(), (320, 180));
            let mut changed = 0;
            for (x, y, truth) in pasted.truth.enumerate_pixels() {
                let same = pasted.picture.get_pixel(x, y) == plain.get_pixel(x, y);
                match truth.0[0] {
                    0 => assert!(same, "seed {seed}: {x}, {y} changed outside of what the truth marks"),
                    SCRAP => {
                        scraps += 1;
                        changed += usize::from(!same);
                    }
                    other => assert_eq!(other, VOID),
                }
            }
            assert!(changed > 0 || pasted.truth.iter().all(|t| *t != SCRAP), "seed {seed}: no scrap to see");
            let top = pasted.truth.rows().position(|mut row| row.any(|t| t.0[0] == SCRAP));
            assert!(top.is_none_or(|top| top >= 60), "seed {seed}: a scrap begins in row {top:?}");
        }
        assert!(scraps > 5_000, "{scraps}");
    }

    #[test]
    fn an_outline_is_two_pixels_wide_on_both_sides() {
        let truth = GrayImage::from_fn(12, 3, |x, _| image::Luma([u8::from(x >= 6)]));
        let row: Vec<bool> = outline(&truth)[12..24].to_vec();
        assert_eq!(row, (0..12).map(|x| (4..8).contains(&x)).collect::<Vec<_>>());
        assert!(outline(&GrayImage::new(4, 4)).iter().all(|edge| !edge));
    }
}
