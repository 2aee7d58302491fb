//! JPEGs as they are stored, plane by plane: what a video decoder gives out.

use mozjpeg::{ColorSpace, CompInfoExt, Decompress, Marker};

use super::{Input, JpegError, opened, read_rgb};

/// What the samples are and how they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// One plane: luma.
    Grey,
    /// Y', Cb and Cr; chroma is halved across and down.
    #[default]
    Yuv420,
    /// Y', Cb and Cr; chroma is halved across.
    Yuv422,
    /// Y', Cb and Cr in full.
    Yuv444,
    /// One plane of R'G'B', three bytes a pixel.
    Rgb,
}

impl Layout {
    /// Columns and rows of plane `n` of a picture of this size, in bytes.
    pub fn size(self, n: usize, width: usize, height: usize) -> (usize, usize) {
        match (self, n) {
            (Layout::Rgb, _) => (3 * width, height),
            (Layout::Yuv420, 1..) => (width.div_ceil(2), height.div_ceil(2)),
            (Layout::Yuv422, 1..) => (width.div_ceil(2), height),
            _ => (width, height),
        }
    }

    /// How many planes there are.
    pub fn planes(self) -> usize {
        if matches!(self, Layout::Grey | Layout::Rgb) { 1 } else { 3 }
    }
}

/// A decoded picture. Reading another one into it uses its memory again.
#[derive(Debug, Default)]
pub struct Planes {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// What the planes hold.
    pub layout: Layout,
    /// Luma is 16..=235 and chroma 16..=240, not 0..=255: the comment `CS=ITU601` says so, by FFmpeg's convention.
    pub video_range: bool,
    samples: [Vec<u8>; 3],
    strides: [usize; 3],
}

impl Planes {
    /// The rows of plane `n`, each of the [`Layout::size`] that it has.
    pub fn rows(&self, n: usize) -> impl Iterator<Item = &[u8]> {
        let (columns, rows) = self.layout.size(n, self.width, self.height);
        let rows = self.samples[n].chunks_exact(self.strides[n].max(1)).take(rows);
        rows.map(move |row| &row[..columns.min(row.len())])
    }

    /// Decodes a JPEG. Y'CbCr stays as it is where one of the layouts fits, and becomes 4:4:4 where none does.
    ///
    /// # Errors
    /// As [`super::decode`]; what the planes hold then is of no use.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), JpegError> {
        opened(bytes, &[Marker::COM], |decoder| {
            (self.width, self.height) = decoder.size();
            self.video_range = decoder.markers().any(|comment| {
                let text = comment.data.strip_suffix(b"\0").unwrap_or(comment.data);
                text.trim_ascii_end() == b"CS=ITU601"
            });
            self.samples.iter_mut().for_each(Vec::clear);
            match raw_layout(&decoder) {
                Some(layout) => {
                    self.layout = layout;
                    self.read_raw(decoder)
                }
                None if decoder.color_space() == ColorSpace::JCS_YCbCr => self.read_full(decoder),
                None => {
                    self.layout = Layout::Rgb;
                    self.strides[0] = 3 * self.width;
                    self.samples[0].resize(3 * self.width * self.height, 0);
                    read_rgb(decoder, &mut self.samples[0])
                }
            }
        })
    }

    /// Planes as the library has them before it enlarges chroma.
    fn read_raw(&mut self, decoder: Decompress<Input<'_>>) -> Result<(), JpegError> {
        for (stride, component) in self.strides.iter_mut().zip(decoder.components()) {
            *stride = component.row_stride();
        }
        let mut started = decoder.raw()?;
        let [y, u, v] = &mut self.samples;
        started.read_raw_data(&mut [y, u, v]);
        started.finish()?;
        Ok(())
    }

    /// Y'CbCr whose chroma the library enlarges.
    fn read_full(&mut self, decoder: Decompress<Input<'_>>) -> Result<(), JpegError> {
        self.layout = Layout::Yuv444;
        self.strides = [self.width; 3];
        let mut started = decoder.to_colorspace(ColorSpace::JCS_YCbCr)?;
        let mut line = vec![0_u8; 3 * self.width];
        for _ in 0..self.height {
            started.read_scanlines_into(&mut line)?;
            for (n, plane) in self.samples.iter_mut().enumerate() {
                plane.extend(line.as_chunks::<3>().0.iter().map(|pixel| pixel[n]));
            }
        }
        started.finish()?;
        Ok(())
    }
}

/// How a picture's planes lie if they can be had as they are.
fn raw_layout(decoder: &Decompress<Input<'_>>) -> Option<Layout> {
    // The library gives out rows of at most two blocks at once.
    const MOST: u8 = 2;
    let factors: Vec<(u8, u8)> = decoder.components().iter().map(CompInfoExt::sampling).collect();
    match (decoder.color_space(), &factors[..]) {
        (ColorSpace::JCS_GRAYSCALE, [(_, down)]) if *down <= MOST => Some(Layout::Grey),
        (ColorSpace::JCS_YCbCr, [luma, first, second]) if luma.1 <= MOST && first == second => {
            let times = |n: u8| (first.0 * n, first.1);
            match () {
                () if luma == first => Some(Layout::Yuv444),
                () if *luma == times(2) => Some(Layout::Yuv422),
                () if *luma == (2 * first.0, 2 * first.1) => Some(Layout::Yuv420),
                () => None,
            }
        }
        _ => None,
    }
}
