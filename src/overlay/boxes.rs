//! A box around each region and its peak score on a dark label beside it.

use std::fmt::Write as _;

use super::canvas::{Canvas, Ink};
use super::contour::line_radius;
use super::text::{Font, Writer};
use crate::region::Region;

/// Opacity of the dark ground under text (0..=255): white on it has a contrast of at least
/// 7:1 even over white.
pub const GROUND: u8 = 176;

/// Opacity of the dark edge around boxes.
const EDGE: u8 = 112;

/// Labels drawn at most; boxes beyond that many go without.
const MOST_LABELS: usize = 64;

/// A rectangle of the picture: left, top, and the ends past right and bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Area {
    x: usize,
    y: usize,
    to_x: usize,
    to_y: usize,
}

impl Area {
    /// The area without a margin; never less than nothing.
    fn inset(&self, margin: usize) -> Area {
        let (x, y) = (self.x + margin, self.y + margin);
        let to_x = self.to_x.saturating_sub(margin).max(x);
        Area { x, y, to_x, to_y: self.to_y.saturating_sub(margin).max(y) }
    }

    fn meets(&self, other: &Area) -> bool {
        self.x < other.to_x && other.x < self.to_x && self.y < other.to_y && other.y < self.to_y
    }
}

/// The colours of boxes and labels, in the channels of the canvas.
#[derive(Debug, Clone, Copy)]
pub struct BoxInks {
    /// Box lines.
    pub line: Ink,
    /// Text.
    pub text: Ink,
    /// The ground under text.
    pub ground: Ink,
}

/// Draws boxes; owns what it needs to place labels beside each other.
#[derive(Debug, Default)]
pub struct Boxes {
    placed: Vec<Area>,
    order: Vec<usize>,
    label: String,
}

impl Boxes {
    /// Draws all `regions`; nothing is written above row `ceiling` (the status strip's end).
    pub fn draw(
        &mut self,
        canvas: &mut Canvas<'_>,
        writer: &mut Writer,
        font: Font,
        ceiling: usize,
        regions: &[Region],
        inks: BoxInks,
    ) {
        // The highest peak gets its label first; ties keep their order.
        self.order.clear();
        self.order.extend(0..regions.len());
        self.order.sort_by(|&a, &b| regions[b].peak.total_cmp(&regions[a].peak));
        for region in regions {
            if let Some(area) = outline(region, canvas) {
                // The dark edge lets the line stand out from a bright sky.
                let line = 2 * line_radius(canvas.height);
                frame(canvas, area, line, inks.ground, EDGE);
                frame(canvas, area.inset(line), line, inks.line, 255);
            }
        }
        self.placed.clear();
        for &at in self.order.iter().take(MOST_LABELS) {
            let region = &regions[at];
            let Some(area) = outline(region, canvas) else {
                continue;
            };
            self.label.clear();
            score_text(region.peak, &mut self.label);
            let (w, h) = ((self.label.len() + 1) * font.width, font.height);
            let Some(place) = self.place(canvas, area, ceiling, w, h) else {
                continue;
            };
            canvas.fill(place.x, place.y, w, h, inks.ground, GROUND);
            let inside = (place.x + font.width / 2, place.y);
            writer.write(canvas, font, inside, &self.label, inks.text);
            self.placed.push(place);
        }
    }

    /// The first free place for a label of `w` x `h`: above the box, below it, inside its
    /// top. `None` if all are taken or the picture has no room.
    fn place(&self, canvas: &Canvas<'_>, area: Area, ceiling: usize, w: usize, h: usize) -> Option<Area> {
        let x = area.x.min(canvas.width.checked_sub(w)?) & !1;
        let lowest = canvas.height.checked_sub(h).filter(|&y| y >= ceiling)?;
        let at = |y: usize| Area { x, y: y & !1, to_x: x + w, to_y: (y & !1) + h };
        let above = area.y.checked_sub(h).filter(|&y| y >= ceiling).map(at);
        let below = Some(area.to_y.max(ceiling)).filter(|&y| y <= lowest).map(at);
        let inside = at(area.y.max(ceiling).min(lowest));
        let places = [above, below, Some(inside)];
        let free = |place: &&Area| !self.placed.iter().any(|other| other.meets(place));
        places.iter().flatten().find(free).copied()
    }
}

/// The box around a region, a little outside it and on even pixels, within the picture;
/// `None` if the region lies outside the picture.
fn outline(region: &Region, canvas: &Canvas<'_>) -> Option<Area> {
    let gap = 6 * line_radius(canvas.height);
    let rect = region.rect;
    let (x, y) = (rect.x as usize, rect.y as usize);
    if x >= canvas.width || y >= canvas.height {
        return None;
    }
    let (to_x, to_y) = (x + rect.width as usize + gap, y + rect.height as usize + gap);
    Some(Area {
        x: x.saturating_sub(gap) & !1,
        y: y.saturating_sub(gap) & !1,
        to_x: to_x.next_multiple_of(2).min(canvas.width),
        to_y: to_y.next_multiple_of(2).min(canvas.height),
    })
}

/// Four lines along the inside of `area` that do not cross, `line` pixels wide.
fn frame(canvas: &mut Canvas<'_>, area: Area, line: usize, ink: Ink, opacity: u8) {
    let Area { x, y, to_x, to_y } = area;
    let (w, h) = (to_x - x, to_y - y);
    if w <= 2 * line || h <= 2 * line {
        canvas.fill(x, y, w, h, ink, opacity);
        return;
    }
    canvas.fill(x, y, w, line, ink, opacity);
    canvas.fill(x, to_y - line, w, line, ink, opacity);
    canvas.fill(x, y + line, line, h - 2 * line, ink, opacity);
    canvas.fill(to_x - line, y + line, line, h - 2 * line, ink, opacity);
}

/// A score in three to four digits, of constant width for one order of magnitude.
fn score_text(score: f32, text: &mut String) {
    let written = match score.abs() {
        _ if !score.is_finite() => write!(text, "{score}"),
        0.0..10.0 => write!(text, "{score:.2}"),
        10.0..100.0 => write!(text, "{score:.1}"),
        100.0..100_000.0 => write!(text, "{score:.0}"),
        _ => write!(text, "{score:.1e}"),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, PixelFormat};
    use crate::pool::Pool;
    use crate::region::Rect;

    #[test]
    fn scores_stay_short() {
        for (score, expected) in [
            (3.146, "3.15"),
            (42.42, "42.4"),
            (123.4, "123"),
            (-7.0, "-7.00"),
            (1.5e9, "1.5e9"),
            (f32::INFINITY, "inf"),
        ] {
            let mut text = String::new();
            score_text(score, &mut text);
            assert_eq!(text, expected);
        }
    }

    fn region(x: u32, y: u32, width: u32, height: u32, peak: f32) -> Region {
        Region { rect: Rect { x, y, width, height }, area: width.saturating_mul(height), peak }
    }

    #[test]
    fn labels_avoid_each_other_the_status_and_the_border() {
        let mut frame = Frame::take(&Pool::new(), PixelFormat::Rgb, 320, 240);
        let mut canvas = Canvas::new(&mut frame).unwrap();
        let font = Font::for_picture(240, 1.0);
        let inks = BoxInks { line: [255; 3], text: [255; 3], ground: [0; 3] };
        let regions = [
            region(100, 100, 50, 40, 5.0),
            region(104, 100, 50, 40, 9.0),
            region(310, 0, 10, 10, 4.0),
            region(0, 230, 10, 10, 4.0),
            region(0, 0, 320, 240, 1.0),
            region(999, 0, 5, 5, 7.0),
            region(300, 200, u32::MAX, u32::MAX, 3.0),
        ];
        let mut boxes = Boxes::default();
        boxes.draw(&mut canvas, &mut Writer::default(), font, 20, &regions, inks);
        assert_eq!(boxes.placed.len(), 6);
        for (at, label) in boxes.placed.iter().enumerate() {
            assert!(label.y >= 20 && label.to_y <= 240 && label.to_x <= 320, "{label:?}");
            assert!(!boxes.placed[..at].iter().any(|other| other.meets(label)), "{label:?}");
        }
        // Six pixels outside the strongest region, above its box.
        assert_eq!((boxes.placed[0].x, boxes.placed[0].to_y), (98, 94));
    }
}
