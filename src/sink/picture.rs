//! Frames as the encoding pipeline takes them: their caps, their memory, even sides.

use gstreamer as gst;
use gstreamer_video as gst_video;

use crate::frame::{Colour, Frame, I420Layout, Matrix, PixelFormat};
use crate::pool::Pooled;

/// What encoders are told if the rate is unknown. Times are the frames' own all the same; without
/// a rate x264 declares a thousand million frames per second, and the last frame gets no duration.
pub(super) const NOMINAL_RATE: f64 = 30.0;

/// What the caps at the entry say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) format: PixelFormat,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) colour: Colour,
}

/// A frame's pixels as GStreamer's memory: given back to their pool when the encoder is done.
pub(super) struct Pixels(pub(super) Pooled<Vec<u8>>);

impl AsRef<[u8]> for Pixels {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Picture {
    pub(super) fn caps(&self, rate: f64) -> Result<gst::Caps, gst::glib::BoolError> {
        let (width, height) = (self.width as u32, self.height as u32);
        let rate = gst::Fraction::approximate_f64(rate).unwrap_or(gst::Fraction::new(NOMINAL_RATE as i32, 1));
        let format = match self.format {
            PixelFormat::I420 => gst_video::VideoFormat::I420,
            PixelFormat::Rgb => gst_video::VideoFormat::Rgb,
        };
        let mut info = gst_video::VideoInfo::builder(format, width, height).fps(rate);
        let colorimetry = match self.format {
            PixelFormat::I420 => self.encoded_colorimetry().parse::<gst_video::VideoColorimetry>()?,
            PixelFormat::Rgb => "sRGB".parse()?,
        };
        info = info.colorimetry(&colorimetry);
        info.build()?.to_caps()
    }

    /// Range, matrix, transfer and primaries as GStreamer writes them.
    pub(super) fn encoded_colorimetry(&self) -> &'static str {
        match (self.format, self.colour.matrix, self.colour.full_range) {
            (PixelFormat::Rgb, _, _) => "bt601",
            (_, Matrix::Bt601, false) => "bt601",
            (_, Matrix::Bt601, true) => "1:4:16:4",
            (_, Matrix::Bt709, false) => "bt709",
            (_, Matrix::Bt709, true) => "1:3:5:1",
            // Frames carry no transfer function; HDR is written with the one of the matrix's own standard.
            (_, Matrix::Bt2020, false) => "2:6:13:7",
            (_, Matrix::Bt2020, true) => "1:6:13:7",
            (_, Matrix::Smpte240m, false) => "2:5:6:5",
            (_, Matrix::Smpte240m, true) => "1:5:6:5",
            (_, Matrix::Fcc, false) => "2:2:4:2",
            (_, Matrix::Fcc, true) => "1:2:4:2",
        }
    }
}

/// Doubles the last row or column of an I420 frame with odd sides. GStreamer's layout has room
/// for them: it is the same for the odd and the even size.
pub(super) fn make_even(frame: &mut Frame) {
    let (width, height) = (frame.width, frame.height);
    let stride = I420Layout::new(width, height).y_stride;
    if width % 2 == 1 {
        for row in frame.pixels.chunks_exact_mut(stride).take(height) {
            row[width] = row[width - 1];
        }
        frame.width += 1;
    }
    if height % 2 == 1 {
        frame.pixels.copy_within((height - 1) * stride..height * stride, height * stride);
        frame.height += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;

    #[test]
    fn odd_sides_are_doubled_in_place() {
        for (width, height) in [(5, 3), (639, 361), (6, 4), (7, 4), (6, 5)] {
            let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, width, height);
            let odd = I420Layout::new(width, height);
            for (row, y) in frame.pixels.chunks_exact_mut(odd.y_stride).take(height).zip(0_usize..) {
                row[..width].iter_mut().zip(0_usize..).for_each(|(p, x)| *p = (x * 7 + y * 13) as u8);
            }
            make_even(&mut frame);
            let even = I420Layout::new(frame.width, frame.height);
            assert_eq!(
                (even.y_stride, even.uv_stride, even.u_offset, even.v_offset, even.len),
                (odd.y_stride, odd.uv_stride, odd.u_offset, odd.v_offset, odd.len)
            );
            for (x, y) in (0..frame.height).flat_map(|y| (0..frame.width).map(move |x| (x, y))) {
                let want = (x.min(width - 1) * 7 + y.min(height - 1) * 13) as u8;
                assert_eq!(frame.pixels[y * even.y_stride + x], want, "{width}x{height} at {x},{y}");
            }
        }
    }
}
