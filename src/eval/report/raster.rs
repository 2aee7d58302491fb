//! Plots as PNG pictures, anti-aliased, three pixels to a unit.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::plot::{COLOURS, DASHES, HEIGHT, Plot, WIDTH};

/// Pixels per plot unit.
const SCALE: f64 = 3.0;
const INK: [u8; 3] = [34, 34, 34];
const GRID: [u8; 3] = [221, 221, 221];
const AXIS: [u8; 3] = [68, 68, 68];

/// An RGB picture that is drawn on.
pub struct Raster {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height x width x 3` bytes.
    pub rgb: Vec<u8>,
}

/// How a text stands to its point.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// The drawing, on white.
pub fn draw(plot: &Plot) -> Raster {
    let (width, height) = ((WIDTH * SCALE) as usize, (HEIGHT * SCALE) as usize);
    let mut raster = Raster { width, height, rgb: vec![255; width * height * 3] };
    let [left, top, right, bottom] = Plot::frame();
    let (middle, centre) = ((left + right) / 2.0, (top + bottom) / 2.0);
    raster.text((left, 18.0), &plot.title, Anchor::Start);
    for (value, label) in plot.x.ticks() {
        let (x, _) = plot.at((value, plot.y.low));
        raster.line((x, top), (x, bottom), 1.0, GRID, 1.0);
        raster.text((x, bottom + 15.0), &label, Anchor::Middle);
    }
    for (value, label) in plot.y.ticks() {
        let (_, y) = plot.at((plot.x.low, value));
        raster.line((left, y), (right, y), 1.0, GRID, 1.0);
        raster.text((left - 6.0, y + 4.0), &label, Anchor::End);
    }
    raster.text((middle, HEIGHT - 10.0), &plot.x.label, Anchor::Middle);
    raster.vertical_text((13.0, centre), &plot.y.label);
    for series in &plot.series {
        let outline = plot.outline(series);
        let style = series.style % COLOURS.len();
        if series.filled {
            raster.fill(&outline, COLOURS[style], 0.3);
            raster.polyline(&outline, 1.5, COLOURS[style], &[]);
        } else {
            raster.polyline(&outline, 1.8, COLOURS[style], DASHES[style]);
        }
    }
    if let Some((value, label)) = &plot.mark {
        let (x, _) = plot.at((*value, plot.y.low));
        raster.polyline(&[(x, top), (x, bottom)], 1.0, AXIS, &[3.0, 3.0]);
        let (at, anchor) = if x > middle { (x - 4.0, Anchor::End) } else { (x + 4.0, Anchor::Start) };
        raster.text((at, top + 12.0), label, anchor);
    }
    raster.line((left, top), (left, bottom), 1.0, AXIS, 1.0);
    raster.line((left, bottom), (right, bottom), 1.0, AXIS, 1.0);
    let mut x = right;
    for series in plot.series.iter().rev().filter(|series| !series.name.is_empty()) {
        raster.text((x, top - 4.0), &series.name, Anchor::End);
        x -= raster.text_width(&series.name) + 26.0;
        let style = series.style % COLOURS.len();
        let dashes: &[f64] = if series.filled { &[] } else { DASHES[style] };
        raster.polyline(&[(x, top - 8.0), (x + 22.0, top - 8.0)], 2.4, COLOURS[style], dashes);
        x -= 12.0;
    }
    raster
}

impl Raster {
    fn blend(&mut self, x: i64, y: i64, colour: [u8; 3], share: f64) {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 || share <= 0.0 {
            return;
        }
        let at = (y as usize * self.width + x as usize) * 3;
        for (old, new) in self.rgb[at..at + 3].iter_mut().zip(colour) {
            *old = (f64::from(*old) + (f64::from(new) - f64::from(*old)) * share.min(1.0)).round() as u8;
        }
    }

    /// A straight line between two points in plot units; coverage by distance.
    fn line(
        &mut self,
        (ax, ay): (f64, f64),
        (bx, by): (f64, f64),
        width: f64,
        colour: [u8; 3],
        opacity: f64,
    ) {
        let (ax, ay, bx, by) = (ax * SCALE, ay * SCALE, bx * SCALE, by * SCALE);
        let radius = width * SCALE / 2.0;
        let (dx, dy) = (bx - ax, by - ay);
        let length = (dx * dx + dy * dy).max(1e-9);
        let reach = radius + 1.0;
        for y in (ay.min(by) - reach).floor() as i64..=(ay.max(by) + reach).ceil() as i64 {
            for x in (ax.min(bx) - reach).floor() as i64..=(ax.max(bx) + reach).ceil() as i64 {
                let (px, py) = (x as f64 + 0.5 - ax, y as f64 + 0.5 - ay);
                let along = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
                let distance = (px - along * dx).hypot(py - along * dy);
                self.blend(x, y, colour, (radius + 0.5 - distance).clamp(0.0, 1.0) * opacity);
            }
        }
    }

    /// A line through points in plot units, with dashes.
    fn polyline(&mut self, points: &[(f64, f64)], width: f64, colour: [u8; 3], dashes: &[f64]) {
        let mut left = dashes.first().copied().unwrap_or(f64::INFINITY);
        let (mut dash, mut drawn) = (0, true);
        for pair in points.windows(2) {
            let ((mut x, mut y), (bx, by)) = (pair[0], pair[1]);
            loop {
                let rest = (bx - x).hypot(by - y);
                let step = rest.min(left);
                let share = if rest > 0.0 { step / rest } else { 1.0 };
                let next = (x + (bx - x) * share, y + (by - y) * share);
                if drawn {
                    self.line((x, y), next, width, colour, 1.0);
                }
                (x, y) = next;
                left -= step;
                if left <= 1e-9 {
                    dash = (dash + 1) % dashes.len().max(1);
                    (left, drawn) = (dashes.get(dash).copied().unwrap_or(f64::INFINITY), !drawn);
                }
                if rest - step <= 1e-9 {
                    break;
                }
            }
        }
    }

    /// Fills a closed outline, even-odd, four samples per pixel row.
    fn fill(&mut self, outline: &[(f64, f64)], colour: [u8; 3], opacity: f64) {
        const ROWS: usize = 4;
        for row in 0..self.height * ROWS {
            let y = (row as f64 + 0.5) / ROWS as f64 / SCALE;
            let mut crossings: Vec<f64> = Vec::new();
            for (i, a) in outline.iter().enumerate() {
                let b = outline[(i + 1) % outline.len()];
                if (a.1 <= y) != (b.1 <= y) {
                    crossings.push((a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0)) * SCALE);
                }
            }
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                for x in pair[0].round() as i64..pair[1].round() as i64 {
                    self.blend(x, (row / ROWS) as i64, colour, opacity / ROWS as f64);
                }
            }
        }
    }

    fn text_width(&self, text: &str) -> f64 {
        (text.chars().count() * get_raster_width(FontWeight::Bold, RasterHeight::Size24)) as f64 / SCALE
    }

    /// Text with its baseline at a point in plot units.
    fn text(&mut self, (x, y): (f64, f64), text: &str, anchor: Anchor) {
        let width = self.text_width(text);
        let start = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        // The baseline lies at about four fifths of the box.
        let (x, y) = ((start * SCALE) as i64, (y * SCALE) as i64 - 19);
        glyphs(text, |gx, gy, share| self.blend(x + gx, y + gy, INK, share));
    }

    /// Text that runs upwards, its middle at a point in plot units.
    fn vertical_text(&mut self, (x, y): (f64, f64), text: &str) {
        let (x, y) = ((x * SCALE) as i64 - 19, ((y + self.text_width(text) / 2.0) * SCALE) as i64);
        glyphs(text, |gx, gy, share| self.blend(x + gy, y - gx, INK, share));
    }
}

/// The covered pixels of a line of text.
fn glyphs(text: &str, mut put: impl FnMut(i64, i64, f64)) {
    let advance = get_raster_width(FontWeight::Bold, RasterHeight::Size24);
    for (i, letter) in text.chars().enumerate() {
        let glyph = get_raster(letter, FontWeight::Bold, RasterHeight::Size24)
            .or_else(|| get_raster('?', FontWeight::Bold, RasterHeight::Size24));
        let Some(glyph) = glyph else { continue };
        for (y, row) in glyph.rows().enumerate() {
            for (x, coverage) in row.iter().enumerate().filter(|(_, coverage)| **coverage > 0) {
                put((i * advance + x) as i64, y as i64, f64::from(*coverage) / 255.0);
            }
        }
    }
}
