//! Scraps of the footage: outlines at random, filled with texture of a picture, zoomed, recoloured and shaded. They need no
//! labels, and look like no thing that there is.

use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};

use super::cutout::Cutout;
use crate::random::Random;

/// Height of a picture that the waves of an outline are told for.
const REFERENCE_HEIGHT: f64 = 960.0;

/// A scrap of so many pixels of height out of `picture`, for one of `whole` pixels of height.
pub(super) fn cut(picture: &RgbImage, height: u32, whole: u32, random: &mut Random) -> Cutout {
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
    Cutout { pixels, shape }
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
