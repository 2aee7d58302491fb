//! Things cut out of labelled pictures, as known outliers: hazards that somebody has pictures of.

use std::path::Path;

use anyhow::{Context, Result, bail};
use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};

use super::cutout::Cutout;
use super::picture;
use crate::collect::{self, LabelMask};
use crate::eval::metrics::Components;
use crate::grid::Grid;
use crate::random::Random;

/// Pixels; smaller marks are crumbs of something that is hidden.
const LEAST: u32 = 3000;
/// The label value of an object.
const OBJECT: u16 = 1;

/// An object as it was cut out.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    pixels: RgbImage,
    /// 255 inside, 0 outside.
    shape: GrayImage,
}

/// What `folder/labels` marks with 1 in `folder/images`, each 8-connected part of at least 3000 pixels, freed of the tint of
/// its picture.
///
/// # Errors
/// A folder, picture or mask that cannot be used, by name; not one object.
pub fn cut_out(folder: &Path) -> Result<Vec<Object>> {
    let [images, labels] = ["images", "labels"].map(|name| folder.join(name));
    if !(images.is_dir() && labels.is_dir()) {
        bail!(
            "{} has no folders images and labels: --objects wants pictures in the one and masks with 1 for objects in the other",
            folder.display()
        );
    }
    let named = || format!("--objects {}", folder.display());
    let mut inputs = collect::list(&[images.to_string_lossy().into_owned()]).with_context(named)?;
    collect::attach_labels(&mut inputs, &labels).with_context(named)?;
    let (mut objects, mut values) = (Vec::new(), Vec::new());
    for input in &inputs {
        let Some(label) = &input.label else { continue };
        let mask = LabelMask::read(label)?;
        let mut whole = picture::read(&input.path)?;
        let (width, height) = whole.dimensions();
        mask.must_fit(label, (width as usize, height as usize))?;
        // The mask may have another resolution: one value for each pixel of the picture.
        mask.patch_classes(Grid { rows: height as usize, cols: width as usize }, &mut values);
        let inside: Vec<bool> = values.iter().map(|value| *value == OBJECT).collect();
        let components = Components::of(&inside, width as usize);
        let found = components.regions(&[], width as usize);
        if found.iter().all(|part| part.area < LEAST) {
            continue;
        }
        grey_on_average(&mut whole);
        for (number, part) in found.iter().enumerate().filter(|(_, part)| part.area >= LEAST) {
            let place = part.rect;
            let shape = GrayImage::from_fn(place.width, place.height, |x, y| {
                let at = (place.y + y) as usize * width as usize + (place.x + x) as usize;
                image::Luma([if components.of_pixel[at] as usize == number + 1 { 255 } else { 0 }])
            });
            let pixels = imageops::crop_imm(&whole, place.x, place.y, place.width, place.height).to_image();
            objects.push(Object { pixels, shape });
        }
    }
    if objects.is_empty() {
        bail!(
            "{} has no object: no mask in labels marks {LEAST} connected pixels with {OBJECT}",
            folder.display()
        );
    }
    Ok(objects)
}

/// Scales the channels so that their means are equal.
fn grey_on_average(picture: &mut RgbImage) {
    let mut sums = [0_u64; 3];
    for pixel in picture.pixels() {
        sums.iter_mut().zip(pixel.0).for_each(|(sum, value)| *sum += u64::from(value));
    }
    let mean = sums.iter().sum::<u64>() as f64 / 3.0;
    let gains = sums.map(|sum| mean / (sum as f64).max(1.0));
    for pixel in picture.pixels_mut() {
        pixel.0.iter_mut().zip(gains).for_each(|(value, gain)| {
            *value = (f64::from(*value) * gain).clamp(0.0, 255.0) as u8;
        });
    }
}

impl Object {
    /// The object at a height in pixels, mirrored or not, in other light.
    pub(super) fn at(&self, height: u32, random: &mut Random) -> Cutout {
        let width = (u64::from(height) * u64::from(self.pixels.width())
            / u64::from(self.pixels.height()).max(1))
        .clamp(8, u64::from(u16::MAX)) as u32;
        let mut pixels = imageops::resize(&self.pixels, width, height, FilterType::Lanczos3);
        let mut shape = imageops::resize(&self.shape, width, height, FilterType::Triangle);
        if random.unit() < 0.5 {
            imageops::flip_horizontal_in_place(&mut pixels);
            imageops::flip_horizontal_in_place(&mut shape);
        }
        let (light, offset) = (random.range(0.9, 1.7), random.range(-10.0, 10.0));
        let tint: [f64; 3] = std::array::from_fn(|_| light * random.range(0.9, 1.1));
        for pixel in pixels.pixels_mut() {
            pixel.0.iter_mut().zip(tint).for_each(|(value, gain)| {
                *value = (f64::from(*value) * gain + offset).clamp(0.0, 255.0) as u8;
            });
        }
        shape.iter_mut().for_each(|share| *share = if *share > 127 { 255 } else { 0 });
        Cutout { pixels, shape }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_parts_are_cut_out_and_small_ones_left() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(cut_out(dir.path()).unwrap_err().to_string().contains("no folders images and labels"));
        for name in ["images", "labels"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        // A bluish picture with a large and a small thing.
        let large = |x: u32, y: u32| (20..100).contains(&x) && (30..90).contains(&y);
        let small = |x: u32, y: u32| (120..140).contains(&x) && (30..50).contains(&y);
        RgbImage::from_fn(160, 120, |x, y| {
            image::Rgb(if large(x, y) { [90, 90, 180] } else { [40, 40, 80] })
        })
        .save(at("images/a.png"))
        .unwrap();
        let mask = |thing: &dyn Fn(u32, u32) -> bool| {
            GrayImage::from_fn(160, 120, |x, y| image::Luma([u8::from(thing(x, y))]))
                .save(at("labels/a.png"))
                .unwrap();
        };
        mask(&small);
        assert!(cut_out(dir.path()).unwrap_err().to_string().contains("no object"));
        mask(&|x, y| large(x, y) || small(x, y));
        let objects = cut_out(dir.path()).unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].pixels.dimensions(), (80, 60));
        assert!(objects[0].shape.iter().all(|share| *share == 255));
        let [r, g, b] = objects[0].pixels.get_pixel(40, 30).0;
        assert!(r.abs_diff(b) <= 1 && r == g, "still tinted: {r} {g} {b}");
        let scrap = objects[0].at(30, &mut Random::new(1));
        assert_eq!((scrap.pixels.dimensions(), scrap.shape.dimensions()), ((40, 30), (40, 30)));
    }
}
