//! The picture in the place of one that does not come: the last one in grey, and a sentence over it.

use super::canvas::Canvas;
use super::text::{self, Font};
use super::{Overlay, OverlayError};
use crate::frame::{Frame, PixelFormat};

/// Lines that the sentence may take.
const LINES: usize = 4;
/// Opacity of the ground of the text, of 255.
const GROUND: u8 = 200;

impl Overlay {
    /// Takes the colours out of a picture, darkens it and writes `text` over its middle, so that it never looks current.
    ///
    /// # Errors
    /// A buffer of another length than size and format call for; the frame is untouched then.
    pub fn card(&mut self, frame: &mut Frame, text: &str) -> Result<(), OverlayError> {
        let (id, width, height, format) = (frame.id, frame.width, frame.height, frame.format);
        let (bytes, expected) = (frame.pixels.len(), Frame::byte_len(format, width, height));
        if bytes != expected {
            return Err(OverlayError::OtherLength { frame: id, width, height, format, bytes, expected });
        }
        grey(frame);
        let Some(mut canvas) = Canvas::new(frame) else { return Ok(()) };
        let font = Font::for_picture(height, self.config.text_scale);
        let columns = (width / font.width).saturating_sub(2);
        let room = (height / font.height).min(LINES);
        if columns < 4 || room == 0 {
            return Ok(());
        }
        let mut lines = Vec::new();
        text::wrap(text, columns, room, &mut lines);
        let (white, black) = (canvas.ink([255; 3]), canvas.ink([0; 3]));
        let top = (height - lines.len() * font.height) / 2;
        for (row, line) in lines.iter().enumerate() {
            let long = line.chars().count() * font.width;
            let (x, y) = ((width - long) / 2, top + row * font.height);
            canvas.fill(x.saturating_sub(font.width), y, long + 2 * font.width, font.height, black, GROUND);
            self.writer.write(&mut canvas, font, (x, y), line, white);
        }
        Ok(())
    }
}

/// Half as bright and without colours.
fn grey(frame: &mut Frame) {
    match (frame.format, frame.i420()) {
        (PixelFormat::I420, Some(layout)) => {
            let (y, u, v) = layout.planes_mut(&mut frame.pixels);
            y.iter_mut().for_each(|value| *value = *value / 2 + 16);
            u.fill(128);
            v.fill(128);
        }
        _ => {
            for pixel in frame.pixels.as_chunks_mut::<3>().0 {
                let sum: u16 = pixel.iter().map(|&value| u16::from(value)).sum();
                *pixel = [(sum / 6) as u8; 3];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::OverlayConfig;
    use crate::pool::Pool;

    #[test]
    fn colours_go_and_the_sentence_stands_in_the_middle() {
        for format in [PixelFormat::I420, PixelFormat::Rgb] {
            let mut frame = Frame::take(&Pool::new(), format, 320, 180);
            frame.pixels.fill(100);
            if format == PixelFormat::Rgb {
                frame.pixels.iter_mut().step_by(3).for_each(|red| *red = 250);
            }
            Overlay::new(&OverlayConfig::default()).card(&mut frame, "no signal since 12:03:41").unwrap();
            let row = |y: usize| match format {
                PixelFormat::I420 => frame.pixels[y * 320..(y + 1) * 320].to_vec(),
                PixelFormat::Rgb => frame.pixels[y * 960..(y + 1) * 960].to_vec(),
            };
            assert!(row(10).windows(2).all(|pair| pair[0] == pair[1]), "{format:?} is not grey");
            assert!(row(10)[0] < 100, "{format:?} is not darker");
            let middle: Vec<u8> = (80..100).flat_map(row).collect();
            assert!(middle.iter().any(|v| *v > 200) && middle.iter().any(|v| *v < 30), "{format:?}: no text");
        }
        let mut tiny = Frame::take(&Pool::new(), PixelFormat::Rgb, 4, 2);
        Overlay::new(&OverlayConfig::default()).card(&mut tiny, "no signal").unwrap();
        tiny.pixels.truncate(5);
        assert!(Overlay::new(&OverlayConfig::default()).card(&mut tiny, "").is_err());
    }
}
