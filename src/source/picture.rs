//! A decoded GStreamer buffer becomes a [`Frame`]: one copy into pooled memory.

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::colorimetry::colour;
use super::turn::Turn;
use crate::frame::{Frame, I420Layout, PixelFormat};
use crate::pool::Pool;

/// Copies I420 buffers into frames.
#[derive(Default)]
pub(super) struct Copier {
    pool: Pool<Vec<u8>>,
    known: Option<(gst::Caps, gst_video::VideoInfo)>,
}

impl Copier {
    /// What the sample's caps say; parsed only when they change.
    pub(super) fn info(&mut self, sample: &gst::SampleRef) -> Option<gst_video::VideoInfo> {
        let caps = sample.caps()?;
        if let Some((known, info)) = &self.known
            && known.as_ref() == caps
        {
            return Some(info.clone());
        }
        let info = gst_video::VideoInfo::from_caps(caps).ok()?;
        self.known = Some((caps.to_owned(), info.clone()));
        Some(info)
    }

    /// The picture of `buffer` as an upright frame; number, times and name are left to the caller.
    /// `None` if the buffer cannot be mapped or is not what `info` says.
    pub(super) fn frame(
        &self,
        buffer: &gst::BufferRef,
        info: &gst_video::VideoInfo,
        turn: Turn,
    ) -> Option<Frame> {
        let mapped = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).ok()?;
        if mapped.format() != gst_video::VideoFormat::I420 {
            return None;
        }
        let (width, height) = (mapped.width() as usize, mapped.height() as usize);
        let (upright_width, upright_height) = turn.size(width, height);
        let mut frame = Frame::take(&self.pool, PixelFormat::I420, upright_width, upright_height);
        frame.colour = colour(info);
        let (stored, layout) =
            (I420Layout::new(width, height), I420Layout::new(upright_width, upright_height));
        let (y, u, v) = layout.planes_mut(&mut frame.pixels);
        let strides =
            <[i32; 3]>::try_from(mapped.plane_stride()).ok()?.map(|s| usize::try_from(s).unwrap_or(0));
        let planes = [
            (y, layout.y_stride, width, height),
            (u, layout.uv_stride, stored.uv_width(), stored.uv_height()),
            (v, layout.uv_stride, stored.uv_width(), stored.uv_height()),
        ];
        for (n, ((to, to_stride, width, height), stride)) in (0..).zip(planes.into_iter().zip(strides)) {
            let from = mapped.plane_data(n).ok()?;
            if turn.is_none() {
                copy_plane(from, stride, to, to_stride, width, height)?;
            } else {
                turn.copy((from, stride), (to, to_stride), width, height)?;
            }
        }
        Some(frame)
    }
}

/// Copies `rows` rows of `width` bytes; in one piece if both strides are equal.
fn copy_plane(
    from: &[u8],
    from_stride: usize,
    to: &mut [u8],
    to_stride: usize,
    width: usize,
    rows: usize,
) -> Option<()> {
    if rows == 0 || from_stride < width {
        return None;
    }
    if from_stride == to_stride {
        let len = from_stride * (rows - 1) + width;
        to.get_mut(..len)?.copy_from_slice(from.get(..len)?);
        return Some(());
    }
    for (from, to) in from.chunks(from_stride).zip(to.chunks_mut(to_stride)).take(rows) {
        to.get_mut(..width)?.copy_from_slice(from.get(..width)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Colour, Matrix};

    /// A buffer with wide strides and swapped plane order, as hardware decoders make them.
    #[test]
    fn strides_and_offsets_are_honoured() {
        gst::init().unwrap();
        for (width, height, stride, full) in [(5_usize, 3_usize, 32_usize, false), (8, 4, 8, true)] {
            let layout = I420Layout::new(width, height);
            let info =
                gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width as u32, height as u32)
                    .colorimetry(&(if full { "1:4:0:0" } else { "bt709" }).parse().unwrap())
                    .build()
                    .unwrap();
            let (rows, uv_rows) = (height.next_multiple_of(2), layout.uv_height());
            let uv_stride = stride / 2;
            let v_offset = stride * rows;
            let u_offset = v_offset + uv_stride * uv_rows;
            let mut bytes = vec![0xEE; u_offset + uv_stride * uv_rows];
            let value = |plane: usize, x: usize, y: usize| (plane * 100 + y * 10 + x) as u8;
            for (plane, offset, stride, w, h) in [
                (0, 0, stride, width, height),
                (1, u_offset, uv_stride, layout.uv_width(), layout.uv_height()),
                (2, v_offset, uv_stride, layout.uv_width(), layout.uv_height()),
            ] {
                for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))) {
                    bytes[offset + y * stride + x] = value(plane, x, y);
                }
            }
            let mut buffer = gst::Buffer::from_mut_slice(bytes);
            gst_video::VideoMeta::add_full(
                buffer.get_mut().unwrap(),
                gst_video::VideoFrameFlags::empty(),
                gst_video::VideoFormat::I420,
                width as u32,
                height as u32,
                &[0, u_offset, v_offset],
                &[stride as i32, uv_stride as i32, uv_stride as i32],
            )
            .unwrap();
            let frame = Copier::default().frame(&buffer, &info, Turn::default()).unwrap();
            assert_eq!(
                frame.colour,
                Colour { matrix: if full { Matrix::Bt601 } else { Matrix::Bt709 }, full_range: full }
            );
            let (y_plane, u, v) = layout.planes(&frame.pixels);
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                assert_eq!(y_plane[y * layout.y_stride + x], value(0, x, y), "{x} {y}");
                let (cx, cy) = (x / 2, y / 2);
                assert_eq!(u[cy * layout.uv_stride + cx], value(1, cx, cy));
                assert_eq!(v[cy * layout.uv_stride + cx], value(2, cx, cy));
            }
        }
    }
}
