//! Draws findings over the picture: heat, contours, boxes with scores, a status line.
//!
//! The colour of a pixel depends on its own score and on fixed numbers alone, never on the
//! rest of the frame, so that steady scores give a steady picture. Smoothing over time is
//! the business of the scores.

mod blend;
mod boxes;
mod canvas;
mod card;
mod config;
mod contour;
mod heat;
mod palette;
mod text;

pub use config::{ColourMap, HexColour, OverlayConfig};
pub use palette::colour_at;

use blend::HeatTable;
use boxes::{BoxInks, Boxes, GROUND};
use canvas::Canvas;
use contour::Contour;
use heat::Levels;
use text::{Font, Writer};

use crate::frame::{Colour, Frame, PixelFormat};
use crate::grid::PixelScores;
use crate::region::Region;

/// Lines that the status may take.
const STATUS_LINES: usize = 2;

/// What scores mean: fixed for a run, so that heat is comparable from frame to frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreScale {
    /// Scores above this are anomalous. If not finite, neither heat nor contours are drawn.
    pub threshold: f32,
    /// A typical step of the score, e.g. its standard deviation on in-distribution images:
    /// heat begins two steps below the threshold and is full one step above it.
    pub spread: f32,
}

/// Why nothing was drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// The scores are those of a picture of another size.
    #[error(
        "frame {frame} is {width}x{height}, its scores are {score_width}x{score_height} \
         ({count} numbers): upsample them to the frame's size"
    )]
    OtherSize {
        /// Number of the frame.
        frame: u64,
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
        /// Width of the scores.
        score_width: usize,
        /// Height of the scores.
        score_height: usize,
        /// How many scores there are.
        count: usize,
    },
    /// The frame's buffer does not have the length that its size and format call for.
    #[error("frame {frame} holds {bytes} bytes, a {width}x{height} {format:?} picture has {expected}")]
    OtherLength {
        /// Number of the frame.
        frame: u64,
        /// Its width.
        width: usize,
        /// Its height.
        height: usize,
        /// Its layout.
        format: PixelFormat,
        /// Bytes that it holds.
        bytes: usize,
        /// Bytes that it should hold.
        expected: usize,
    },
}

/// Draws over frames of any size and layout; owns all buffers that takes.
#[derive(Debug)]
pub struct Overlay {
    config: OverlayConfig,
    /// How strongly findings are drawn, 0 to 255 for 0 to 1.
    strength: u8,
    table: Option<((PixelFormat, Colour, u8), Box<HeatTable>)>,
    levels: Vec<u8>,
    contour: Contour,
    /// Of each pixel, whether it may lie within the contour; empty: all may.
    counted: Vec<bool>,
    boxes: Boxes,
    writer: Writer,
    lines: Vec<String>,
    /// Height of the picture that `most_lines` was seen on.
    seen_height: usize,
    most_lines: usize,
}

impl Overlay {
    /// An overlay that draws what `config` says.
    pub fn new(config: &OverlayConfig) -> Overlay {
        Overlay {
            config: config.clone(),
            strength: u8::MAX,
            table: None,
            levels: Vec::new(),
            contour: Contour::default(),
            counted: Vec::new(),
            boxes: Boxes::default(),
            writer: Writer::default(),
            lines: Vec::new(),
            seen_height: 0,
            most_lines: 0,
        }
    }

    /// From now on the contour runs around pixels only that are true in `counted`, one value per pixel; around all
    /// where it has none.
    pub fn count_only(&mut self, counted: &[bool]) {
        self.counted.clear();
        self.counted.extend_from_slice(counted);
    }

    /// From now on findings are drawn so strongly, 0 (not at all) to 1: heat fades, lines and boxes go at the half.
    pub fn fade(&mut self, strength: f32) {
        self.strength = (strength.clamp(0.0, 1.0) * 255.0) as u8;
    }

    /// Draws in place. `scores` are of the frame's size, or empty when there are none (then
    /// only boxes and status are drawn). An infinite score is full heat and inside the
    /// contour; NaN is neither. `status` is a row of fields set apart by two blanks; it is
    /// broken or shortened to the picture's width.
    ///
    /// # Errors
    /// Sizes that contradict each other; the frame is untouched then.
    pub fn draw(
        &mut self,
        frame: &mut Frame,
        scores: &PixelScores,
        regions: &[Region],
        scale: ScoreScale,
        status: &str,
    ) -> Result<(), OverlayError> {
        let (id, width, height, format) = (frame.id, frame.width, frame.height, frame.format);
        let bytes = frame.pixels.len();
        let count = scores.data.len();
        let alike = (scores.width, scores.height, count) == (width, height, width * height);
        if count > 0 && !alike {
            let (score_width, score_height) = (scores.width, scores.height);
            return Err(OverlayError::OtherSize {
                frame: id,
                width,
                height,
                score_width,
                score_height,
                count,
            });
        }
        let Some(mut canvas) = Canvas::new(frame) else {
            let expected = Frame::byte_len(format, width, height);
            return Err(OverlayError::OtherLength { frame: id, width, height, format, bytes, expected });
        };
        if width == 0 || height == 0 {
            return Ok(());
        }
        if let (Some(levels), true) = (Levels::new(scale), count > 0) {
            self.draw_scores(&mut canvas, &scores.data, levels, scale.threshold);
        }
        let inks = BoxInks {
            line: canvas.ink(self.config.line_colour.0),
            text: canvas.ink([255; 3]),
            ground: canvas.ink([0; 3]),
        };
        let font = Font::for_picture(height, self.config.text_scale);
        let ceiling = self.fit_status(&canvas, font, status);
        if self.config.boxes && self.strength > u8::MAX / 2 {
            let writer = &mut self.writer;
            self.boxes.draw(&mut canvas, writer, font, ceiling, regions, inks);
        }
        canvas.fill(0, 0, width, ceiling, inks.ground, GROUND);
        for (row, line) in self.lines.iter().enumerate() {
            let at = (font.width / 2, row * font.height);
            self.writer.write(&mut canvas, font, at, line, inks.text);
        }
        Ok(())
    }

    /// Heat and contour.
    fn draw_scores(&mut self, canvas: &mut Canvas<'_>, scores: &[f32], levels: Levels, threshold: f32) {
        let (width, height, (format, colour)) = (canvas.width, canvas.height, canvas.kind());
        let kind = (format, colour, self.strength);
        let lines = self.strength > u8::MAX / 2;
        let config = &self.config;
        let table = match &mut self.table {
            Some((known, table)) if *known == kind => table,
            other => {
                let table = heat::heat_table(
                    config.colormap,
                    config.opacity * f32::from(self.strength) / 255.0,
                    canvas,
                );
                &mut other.insert((kind, Box::new(table))).1
            }
        };
        self.contour.start(width, height);
        self.levels.resize(width.div_ceil(2), 0);
        for (pair, rows) in scores.chunks(2 * width).enumerate() {
            let (top, bottom) = rows.split_at(width);
            // The last row of an odd height stands for both.
            let both = if bottom.is_empty() { top } else { bottom };
            if !levels.pair(top, both, &mut self.levels) {
                continue;
            }
            if config.heat {
                canvas.heat(pair, &self.levels, table);
            }
            if config.contour && lines {
                let counted = |y: usize| self.counted.get(y * width..(y + 1) * width).unwrap_or_default();
                self.contour.mark(2 * pair, top, threshold, counted(2 * pair));
                if !bottom.is_empty() {
                    self.contour.mark(2 * pair + 1, bottom, threshold, counted(2 * pair + 1));
                }
            }
        }
        if config.contour && lines {
            let ink = canvas.ink(config.line_colour.0);
            self.contour.draw(canvas, ink);
        }
    }

    /// Breaks the status into lines and gives the height of its strip. The strip keeps the
    /// most lines it ever had at this picture height, so that it does not jump when a
    /// number gets longer. Pictures too small for text get none.
    fn fit_status(&mut self, canvas: &Canvas<'_>, font: Font, status: &str) -> usize {
        let columns = (canvas.width / font.width).saturating_sub(1);
        let room = (canvas.height / 4 / font.height).min(STATUS_LINES);
        if !self.config.status || columns < 8 || room == 0 {
            self.lines.clear();
            return 0;
        }
        text::wrap(status, columns, room, &mut self.lines);
        if self.seen_height != canvas.height {
            (self.seen_height, self.most_lines) = (canvas.height, 0);
        }
        self.most_lines = self.most_lines.max(self.lines.len());
        self.most_lines * font.height
    }
}

#[cfg(test)]
mod tests;
