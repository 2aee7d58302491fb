//! A part of a frame, small, to be looked at.

use crate::bank::Crop;
use crate::colour::RgbFromYcbcr;
use crate::frame::Frame;
use crate::region::Rect;

/// Longest side in pixels.
const SIDE: usize = 160;
/// Fewest pixels of the frame along a side.
const LEAST: usize = 48;

/// What lies in `rect` of `frame` and half as much around it, reduced to at most 160 pixels a side by taking single
/// pixels.
pub(super) fn crop(frame: &Frame, rect: &Rect) -> Crop {
    let span = |from: u32, length: u32, all: usize| {
        let wanted = (2 * length as usize).max(LEAST).min(all);
        let middle = from as usize + length as usize / 2;
        let first = middle.saturating_sub(wanted / 2).min(all - wanted);
        (first, wanted)
    };
    let (left, wide) = span(rect.x, rect.width, frame.width);
    let (top, tall) = span(rect.y, rect.height, frame.height);
    let longest = wide.max(tall).max(1);
    let side = |pixels: usize| (pixels * SIDE.min(longest) / longest).max(1);
    let (width, height) = (side(wide), side(tall));
    let at = |n: usize, of: usize, from: usize, length: usize| from + (2 * n + 1) * length / (2 * of);
    let mut rgb = Vec::with_capacity(width * height * 3);
    let layout = frame.i420();
    let colours = RgbFromYcbcr::new(frame.colour);
    for row in 0..height {
        let y = at(row, height, top, tall);
        for col in 0..width {
            let x = at(col, width, left, wide);
            rgb.extend(match &layout {
                Some(layout) => {
                    let (luma, cb, cr) = layout.planes(&frame.pixels);
                    let chroma = y / 2 * layout.uv_stride + x / 2;
                    colours.pixel([luma[y * layout.y_stride + x], cb[chroma], cr[chroma]])
                }
                None => {
                    let first = (y * frame.width + x) * 3;
                    [frame.pixels[first], frame.pixels[first + 1], frame.pixels[first + 2]]
                }
            });
        }
    }
    Crop { width, height, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;
    use crate::pool::Pool;

    #[test]
    fn a_crop_lies_around_its_region_and_within_the_frame() {
        let mut frame = Frame::take(&Pool::new(), PixelFormat::Rgb, 640, 360);
        for (n, pixel) in frame.pixels.chunks_mut(3).enumerate() {
            pixel.copy_from_slice(&[(n % 640 / 4) as u8, (n / 640 / 2) as u8, 7]);
        }
        let first = |crop: &Crop| [crop.rgb[0], crop.rgb[1], crop.rgb[2]];
        let small = crop(&frame, &Rect { x: 300, y: 100, width: 10, height: 10 });
        assert_eq!((small.width, small.height, first(&small)), (48, 48, [70, 40, 7]));
        let large = crop(&frame, &Rect { x: 0, y: 0, width: 400, height: 300 });
        assert_eq!((large.width, large.height, large.rgb.len()), (160, 90, 160 * 90 * 3));
        let corner = crop(&frame, &Rect { x: 630, y: 350, width: 10, height: 10 });
        assert_eq!((corner.width, corner.height, first(&corner)), (48, 48, [148, 156, 7]));
        let mut video = Frame::take(&Pool::new(), PixelFormat::I420, 64, 36);
        video.pixels.fill(128);
        let whole = crop(&video, &Rect { x: 0, y: 0, width: 64, height: 36 });
        assert_eq!((whole.width, whole.height), (64, 36));
        assert!(whole.rgb.iter().all(|x| *x == whole.rgb[0]));
    }
}
