//! Known outliers pasted into the footage: scraps of it, or objects that were cut out elsewhere.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};

use super::cutout::Cutout;
use super::objects::Object;
use super::{picture, scraps};
use crate::random::Random;

/// Lines of a picture that is pasted onto.
const HEIGHT: u32 = 960;
/// As a share of the height: how far up things get small.
const HORIZON: f64 = 0.42;
/// In the truth: its outline, which is neither.
pub const VOID: u8 = 255;

/// A picture with known outliers on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pasted {
    /// The picture.
    pub picture: RgbImage,
    /// Of each pixel: 0, `PASTED` or [`VOID`].
    pub truth: GrayImage,
}

/// What is pasted.
#[derive(Debug, Clone, Copy)]
pub enum Material<'a> {
    /// Outlines at random, filled from these pictures.
    Scraps(&'a [PathBuf]),
    /// Things that were cut out.
    Objects(&'a [Object]),
}

impl Material<'_> {
    /// One thing with so many pixels of height, for a picture of `whole` pixels of height.
    fn take(self, height: u32, whole: u32, random: &mut Random) -> Result<Cutout> {
        match self {
            Material::Scraps(textures) => {
                let from = textures
                    .get(random.below(textures.len().max(1)))
                    .context("no picture to take scraps of")?;
                Ok(scraps::cut(&picture::read(from)?, height, whole, random))
            }
            Material::Objects(objects) => {
                let one = objects.get(random.below(objects.len().max(1))).context("no object to paste")?;
                Ok(one.at(height, random))
            }
        }
    }
}

/// A picture at the height that things are pasted at: their edges are as sharp whatever the footage's resolution.
fn scaled(picture: &RgbImage) -> RgbImage {
    let width = u64::from(picture.width()) * u64::from(HEIGHT) / u64::from(picture.height()).max(1);
    let width = width.clamp(1, u64::from(u16::MAX)) as u32;
    imageops::resize(picture, width, HEIGHT, FilterType::Lanczos3)
}

/// Pastes one to three things onto the picture at `path`, scaled to 960 lines, their feet below the horizon, the larger the nearer. The same
/// arguments give the same pixels.
///
/// # Errors
/// A picture that cannot be read.
pub fn paste(path: &Path, material: Material<'_>, random: &mut Random) -> Result<Pasted> {
    let mut onto = scaled(&picture::read(path)?);
    let (width, height) = onto.dimensions();
    let mut truth = GrayImage::new(width, height);
    for _ in 0..1 + random.below(3) {
        let foot = random.range(HORIZON + 0.1, 0.97);
        let size = ((foot - HORIZON) * random.range(0.25, 1.0) * f64::from(height)).max(12.0) as u32;
        let scrap = material.take(size, height, random)?;
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
    use super::super::cutout::PASTED;
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
        let plain = scaled(&picture::read(&paths[0]).unwrap());
        let mut scraps = 0;
        for seed in 0..5 {
            let pasted = paste(&paths[0], Material::Scraps(&paths), &mut Random::new(seed)).unwrap();
            assert_eq!(pasted, paste(&paths[0], Material::Scraps(&paths), &mut Random::new(seed)).unwrap());
            assert_eq!(pasted.truth.dimensions(), (1706, 960));
            let mut changed = 0;
            for (x, y, truth) in pasted.truth.enumerate_pixels() {
                let same = pasted.picture.get_pixel(x, y) == plain.get_pixel(x, y);
                match truth.0[0] {
                    // A thing cut by the picture's edge may shade the pixels beside it.
                    0 => assert!(
                        same || !(3..1703).contains(&x),
                        "seed {seed}: {x}, {y} changed outside of what the truth marks"
                    ),
                    PASTED => {
                        scraps += 1;
                        changed += usize::from(!same);
                    }
                    other => assert_eq!(other, VOID),
                }
            }
            assert!(changed > 0 || pasted.truth.iter().all(|t| *t != PASTED), "seed {seed}: no scrap to see");
            let top = pasted.truth.rows().position(|mut row| row.any(|t| t.0[0] == PASTED));
            assert!(top.is_none_or(|top| top >= 320), "seed {seed}: a scrap begins in row {top:?}");
        }
        assert!(scraps > 30_000, "{scraps}");
    }

    #[test]
    fn an_outline_is_two_pixels_wide_on_both_sides() {
        let truth = GrayImage::from_fn(12, 3, |x, _| image::Luma([u8::from(x >= 6)]));
        let row: Vec<bool> = outline(&truth)[12..24].to_vec();
        assert_eq!(row, (0..12).map(|x| (4..8).contains(&x)).collect::<Vec<_>>());
        assert!(outline(&GrayImage::new(4, 4)).iter().all(|edge| !edge));
    }
}
