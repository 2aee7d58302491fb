//! The brightness of a picture: one byte per pixel, whatever the picture's layout.

use crate::frame::{Frame, PixelFormat};

/// Brightness, row by row without gaps. Keeps its memory from picture to picture.
#[derive(Debug, Clone, Default)]
pub struct Luma {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height x width` values.
    pub pixels: Vec<u8>,
}

impl Luma {
    /// Takes the brightness of `frame`: Y' as it is, or that of BT.601.
    pub fn take(&mut self, frame: &Frame) {
        (self.width, self.height) = (frame.width, frame.height);
        self.pixels.clear();
        match (frame.format, frame.i420()) {
            (PixelFormat::I420, Some(layout)) => {
                let (y, _, _) = layout.planes(&frame.pixels);
                y.chunks(layout.y_stride)
                    .take(frame.height)
                    .for_each(|row| self.pixels.extend_from_slice(&row[..frame.width]));
            }
            _ => {
                let pixels = frame.pixels.as_chunks::<3>().0.iter();
                // BT.601 weights in 256ths.
                self.pixels.extend(pixels.map(|[r, g, b]| {
                    ((u32::from(*r) * 77 + u32::from(*g) * 150 + u32::from(*b) * 29) >> 8) as u8
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    #[test]
    fn both_layouts_give_one_byte_per_pixel() {
        let mut luma = Luma::default();
        let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, 5, 3);
        let stride = frame.i420().unwrap().y_stride;
        for (i, pixel) in frame.pixels.iter_mut().enumerate() {
            *pixel = i as u8;
        }
        luma.take(&frame);
        let want: Vec<u8> = (0..3).flat_map(|y| (0..5).map(move |x| (y * stride + x) as u8)).collect();
        assert_eq!((luma.width, luma.height, luma.pixels), (5, 3, want));
        let mut luma = Luma::default();
        let mut frame = Frame::take(&Pool::new(), PixelFormat::Rgb, 3, 1);
        frame.pixels.copy_from_slice(&[255, 255, 255, 0, 0, 0, 0, 255, 0]);
        luma.take(&frame);
        assert_eq!(luma.pixels, [255, 0, 149]);
    }
}
