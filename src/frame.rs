//! A video frame: pixels in one of two layouts, its number, and the clocks it carries.

use std::time::{Duration, Instant};

use crate::pool::{Pool, Pooled};

/// The number of a frame within its stream, from 0, counted before anything is dropped.
pub type FrameId = u64;

/// The number of a stream within the run, from 0; none is given twice.
pub type StreamId = u32;

/// How the pixels of a [`Frame`] lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Planar Y'CbCr 4:2:0, 8 bits, laid out as GStreamer lays out I420 by default
    /// (see [`I420Layout`]): what decoders give and encoders take.
    I420,
    /// Packed 8-bit sRGB, `width * 3` bytes per row: what still images are.
    Rgb,
}

/// The matrix between Y'CbCr and R'G'B'. Still images and synthetic frames use [`Matrix::Bt601`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Matrix {
    /// ITU-R BT.601, standard definition.
    #[default]
    Bt601,
    /// ITU-R BT.709, high definition.
    Bt709,
    /// ITU-R BT.2020 with non-constant luminance, ultra-high definition and HDR.
    Bt2020,
    /// SMPTE 240M, early high definition.
    Smpte240m,
    /// United States FCC (1953).
    Fcc,
}

impl Matrix {
    /// The weights Kr and Kb of red and blue in luma (ITU-T H.273, table 4).
    pub fn luma_weights(self) -> (f32, f32) {
        match self {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
            Matrix::Smpte240m => (0.212, 0.087),
            Matrix::Fcc => (0.30, 0.11),
        }
    }
}

/// What the numbers of an I420 frame mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Colour {
    /// The matrix between Y'CbCr and R'G'B'.
    pub matrix: Matrix,
    /// True: 0..=255 (JPEG); false: 16..=235 / 16..=240 (video).
    pub full_range: bool,
}

/// Where the planes of an I420 picture lie: GStreamer's default layout for the size, so that
/// whole buffers are exchanged with it without touching rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct I420Layout {
    /// Picture width in pixels.
    pub width: usize,
    /// Picture height in pixels.
    pub height: usize,
    /// Bytes from one luma row to the next.
    pub y_stride: usize,
    /// Bytes from one chroma row to the next.
    pub uv_stride: usize,
    /// Offset of the Cb plane.
    pub u_offset: usize,
    /// Offset of the Cr plane.
    pub v_offset: usize,
    /// Bytes in all.
    pub len: usize,
}

impl I420Layout {
    /// The layout of a `width` x `height` picture.
    pub fn new(width: usize, height: usize) -> Self {
        let y_stride = width.next_multiple_of(4);
        let rows = height.next_multiple_of(2);
        let uv_stride = width.div_ceil(2).next_multiple_of(4);
        let u_offset = y_stride * rows;
        let v_offset = u_offset + uv_stride * rows / 2;
        I420Layout {
            width,
            height,
            y_stride,
            uv_stride,
            u_offset,
            v_offset,
            len: v_offset + uv_stride * rows / 2,
        }
    }

    /// Width of the chroma planes in samples.
    pub fn uv_width(&self) -> usize {
        self.width.div_ceil(2)
    }

    /// Height of the chroma planes in samples.
    pub fn uv_height(&self) -> usize {
        self.height.div_ceil(2)
    }

    /// The three planes of `data`, writable: Y, Cb, Cr.
    pub fn planes_mut<'a>(&self, data: &'a mut [u8]) -> (&'a mut [u8], &'a mut [u8], &'a mut [u8]) {
        let (y, rest) = data[..self.len].split_at_mut(self.u_offset);
        let (u, v) = rest.split_at_mut(self.v_offset - self.u_offset);
        (y, u, v)
    }

    /// The three planes of `data`: Y, Cb, Cr.
    pub fn planes<'a>(&self, data: &'a [u8]) -> (&'a [u8], &'a [u8], &'a [u8]) {
        (&data[..self.u_offset], &data[self.u_offset..self.v_offset], &data[self.v_offset..self.len])
    }
}

/// Exact truth of a synthetic frame, one byte per pixel, row by row without padding.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Class of each pixel (`source::synthetic` names them).
    pub class: Vec<u8>,
    /// 0 where the world is normal, else the number of the stranger seen in the pixel (1..=255).
    pub stranger: Vec<u8>,
}

/// Why a frame shows an old picture, or none: its camera gives no new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSignal {
    /// Since when.
    pub since: jiff::Timestamp,
    /// The reason, as far as it is known.
    pub why: String,
}

impl std::fmt::Display for NoSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = self.since.to_zoned_datetime(jiff::tz::TimeZone::system());
        write!(f, "no signal since {} ({})", since.strftime("%T"), self.why)
    }
}

/// One picture of a stream.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The stream that it belongs to; 0 where there is one.
    pub stream: StreamId,
    /// Number within the stream.
    pub id: FrameId,
    /// Presentation time since the start of the stream (re-based over reconnects and loops).
    pub pts: Duration,
    /// When the source delivered the frame; for paced files and synthetic frames: when it was due.
    pub captured: Instant,
    /// Live: the time of day at which it was captured, by the camera's own clock where that is known and right, else by
    /// [`crate::clock::Clock::of_run`]. None for recordings that are not played at their pace, whose results are the
    /// same every time, and for pictures that stand in for others.
    pub utc: Option<jiff::Timestamp>,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Layout of `pixels`.
    pub format: PixelFormat,
    /// Meaning of `pixels` if I420.
    pub colour: Colour,
    /// The pixels, exactly [`Frame::byte_len`] bytes.
    pub pixels: Pooled<Vec<u8>>,
    /// What still images and clips are called: file stem or path; empty for live sources.
    pub name: std::sync::Arc<str>,
    /// The truth, if the source knows it and was asked for it.
    pub truth: Option<Pooled<Truth>>,
    /// If this is no picture of now.
    pub no_signal: Option<std::sync::Arc<NoSignal>>,
}

impl Frame {
    /// Bytes that a picture of this size takes.
    pub fn byte_len(format: PixelFormat, width: usize, height: usize) -> usize {
        match format {
            PixelFormat::I420 => I420Layout::new(width, height).len,
            PixelFormat::Rgb => width * height * 3,
        }
    }

    /// A frame whose pixels (contents unspecified, length right) come from `pool`.
    pub fn take(pool: &Pool<Vec<u8>>, format: PixelFormat, width: usize, height: usize) -> Frame {
        let mut pixels = pool.take();
        pixels.resize(Self::byte_len(format, width, height), 0);
        Frame {
            stream: 0,
            id: 0,
            pts: Duration::ZERO,
            captured: Instant::now(),
            utc: None,
            width,
            height,
            format,
            colour: Colour::default(),
            pixels,
            name: "".into(),
            truth: None,
            no_signal: None,
        }
    }

    /// The plane layout, if the frame is I420.
    pub fn i420(&self) -> Option<I420Layout> {
        (self.format == PixelFormat::I420).then(|| I420Layout::new(self.width, self.height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_round_as_gstreamer_rounds() {
        // gst_video_info_set_format(I420, 639, 361): strides 640, 320; offsets 0, 231680, 289600.
        let layout = I420Layout::new(639, 361);
        assert_eq!((layout.y_stride, layout.uv_stride), (640, 320));
        assert_eq!((layout.u_offset, layout.v_offset, layout.len), (231_680, 289_600, 347_520));
    }
}
