//! Text: a pre-rasterised monospaced font in sizes that follow the picture, and fitting of
//! a line of fields to a width.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::canvas::{Canvas, Ink};

/// Sizes the font comes in; larger ones are whole multiples of the largest.
const SIZES: [(usize, RasterHeight); 4] = [
    (16, RasterHeight::Size16),
    (20, RasterHeight::Size20),
    (24, RasterHeight::Size24),
    (32, RasterHeight::Size32),
];

/// One size of the font: every character fills a `width x height` box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Font {
    raster: RasterHeight,
    magnify: usize,
    /// Width of a character in pixels.
    pub width: usize,
    /// Height of a line in pixels, always even.
    pub height: usize,
}

impl Font {
    /// The size for a picture of that height: 16 px at 360 rows, 24 at 720, 32 at 1080.
    pub fn for_picture(height: usize, scale: f32) -> Font {
        let wanted = ((8.0 + height as f32 / 45.0) * scale).clamp(16.0, 512.0) as usize;
        let (_, largest) = SIZES[SIZES.len() - 1];
        let (raster, magnify) = match wanted / 32 {
            magnify @ 2.. => (largest, magnify),
            _ => {
                let fitting = SIZES.iter().rev().find(|(size, _)| *size <= wanted);
                (fitting.map_or(SIZES[0].1, |(_, raster)| *raster), 1)
            }
        };
        let width = get_raster_width(FontWeight::Bold, raster) * magnify;
        Font { raster, magnify, width, height: raster.val() * magnify }
    }
}

/// Draws lines of text; owns the stencil they are composed in.
#[derive(Debug, Default)]
pub struct Writer {
    stencil: Vec<u8>,
}

impl Writer {
    /// Writes `text` with its upper left corner at (`x`, `y`) (rounded down to even pixels).
    /// What the font lacks (it has ASCII) shows as `?`.
    pub fn write(
        &mut self,
        canvas: &mut Canvas<'_>,
        font: Font,
        (x, y): (usize, usize),
        text: &str,
        ink: Ink,
    ) {
        let seen = canvas.width.saturating_sub(x & !1).div_ceil(font.width);
        let width = text.chars().count().min(seen) * font.width;
        self.stencil.clear();
        self.stencil.resize(width * font.height, 0);
        for (column, character) in text.chars().take(seen).enumerate() {
            let glyph = get_raster(character, FontWeight::Bold, font.raster)
                .or_else(|| get_raster('?', FontWeight::Bold, font.raster));
            let Some(glyph) = glyph else { continue };
            let left = column * font.width;
            for (row, line) in self.stencil.chunks_exact_mut(width).enumerate() {
                let source = glyph.rows().nth(row / font.magnify).unwrap_or_default();
                let line = line[left..].chunks_mut(font.magnify);
                for (target, &coverage) in line.zip(source) {
                    target.fill(coverage);
                }
            }
        }
        canvas.stamp(x, y, width, &self.stencil, ink);
    }
}

/// Breaks `status` into at most `most` lines of at most `columns` characters. Fields are
/// set apart by two or more blanks; lines break between fields, else at a blank, else
/// anywhere. What does not fit is cut, and the last line then ends in `...`. The lines are
/// put into `lines`.
pub fn wrap(status: &str, columns: usize, most: usize, lines: &mut Vec<String>) {
    let mut used = 0;
    let mut rest = status.trim();
    while !rest.is_empty() && used < most && columns > 0 {
        if lines.len() == used {
            lines.push(String::new());
        }
        let line = &mut lines[used];
        line.clear();
        used += 1;
        let end = rest.char_indices().nth(columns).map_or(rest.len(), |(at, _)| at);
        if end == rest.len() {
            line.push_str(rest);
            rest = "";
        } else if used == most {
            let kept = columns.saturating_sub(3);
            line.extend(rest.chars().take(kept));
            line.truncate(line.trim_end().len());
            line.extend("...".chars().take(columns));
            rest = "";
        } else {
            // A gap that begins where the line is full is a place to break too.
            let blanks = rest[end..].bytes().take(2).take_while(|&c| c == b' ').count();
            let gap = rest[..end + blanks].rfind("  ");
            let blank = || rest[..end + blanks.min(1)].rfind(' ');
            let at = gap.or_else(blank).unwrap_or(end);
            line.push_str(rest[..at].trim_end());
            rest = rest[at..].trim_start();
        }
    }
    lines.truncate(used);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_picture() {
        for (height, expected) in
            [(0, 16), (360, 16), (480, 16), (540, 20), (720, 24), (1080, 32), (2160, 32), (4320, 96)]
        {
            assert_eq!(Font::for_picture(height, 1.0).height, expected, "{height} rows");
        }
        assert_eq!(Font::for_picture(1080, 2.0).height, 64);
        assert!(640 / Font::for_picture(360, 1.0).width >= 64, "too few columns at 640 px");
    }

    #[test]
    fn every_printable_character_has_a_shape() {
        for c in '!'..='~' {
            for (_, raster) in SIZES {
                let glyph = get_raster(c, FontWeight::Bold, raster).unwrap();
                assert!(glyph.pixels().iter().any(|&p| p > 128), "{c}");
            }
        }
    }

    #[test]
    fn lines_break_between_fields() {
        let cases: [(&str, usize, usize, &[&str]); 9] = [
            ("", 10, 2, &[]),
            ("25.0 fps  cpu", 20, 2, &["25.0 fps  cpu"]),
            ("25.0 fps  cpu", 10, 2, &["25.0 fps", "cpu"]),
            ("25.0 fps  cpu", 8, 2, &["25.0 fps", "cpu"]),
            ("one two three", 9, 2, &["one two", "three"]),
            ("abcdefghij", 4, 3, &["abcd", "efgh", "ij"]),
            ("a  bb  ccccccc", 6, 2, &["a  bb", "ccc..."]),
            ("größe über alles", 5, 1, &["gr..."]),
            ("abc", 0, 2, &[]),
        ];
        let mut lines = vec!["old".to_owned(); 5];
        for (status, columns, most, expected) in cases {
            wrap(status, columns, most, &mut lines);
            assert_eq!(lines, expected, "{status:?} in {columns} columns");
        }
    }
}
