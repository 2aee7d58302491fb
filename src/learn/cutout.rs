//! Something to paste, and how it is laid onto a picture.

use image::{GrayImage, RgbImage, imageops};

/// In the truth: something that was pasted.
pub const PASTED: u8 = 1;

/// Something to paste, such as a rounded outline of texture.
pub(super) struct Cutout {
    pub(super) pixels: RgbImage,
    /// 255 inside, 0 outside.
    pub(super) shape: GrayImage,
}

impl Cutout {
    /// Lays it with its left upper corner at a place that may be outside, softly at the edge; marks where it is.
    pub(super) fn lay(&self, onto: &mut RgbImage, truth: &mut GrayImage, (left, top): (i64, i64)) {
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
                truth.get_pixel_mut(at_x, at_y).0[0] = PASTED;
            }
        }
    }
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
