//! A part of the picture, in shares of its sides, so that it is the same part at every size.

/// From the left, top, right and bottom edge of the part to the left or top of the picture, in shares of its
/// width or height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Of the width.
    pub left: f64,
    /// Of the height.
    pub top: f64,
    /// Of the width, above `left`.
    pub right: f64,
    /// Of the height, above `top`.
    pub bottom: f64,
}

impl Window {
    /// All of the picture.
    pub const WHOLE: Window = Window { left: 0.0, top: 0.0, right: 1.0, bottom: 1.0 };

    /// Share of the picture's width.
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    /// Share of the picture's height.
    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// Of a grid of patches that covers the picture, which have their centre in the window, row by row.
    pub fn patches(&self, rows: usize, cols: usize) -> impl Iterator<Item = bool> {
        let inside = |from: f64, to: f64, i: usize, count: usize| {
            let at = (i as f64 + 0.5) / count as f64;
            (from..=to).contains(&at)
        };
        let Window { left, top, right, bottom } = *self;
        (0..rows * cols)
            .map(move |i| inside(top, bottom, i / cols, rows) && inside(left, right, i % cols, cols))
    }

    /// Width and height in pixels of a picture of this size, rounded; 0 for less than half a pixel. Windows that are
    /// equally large but for rounding have the same.
    pub fn pixels(&self, width: usize, height: usize) -> (usize, usize) {
        let side = |share: f64, pixels: usize| (share * pixels as f64 + 1e-9).round() as usize;
        (side(self.width(), width), side(self.height(), height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_in_pixels_are_rounded() {
        let third = Window { left: 0.2, top: 0.35, right: 0.8, bottom: 0.65 };
        assert_eq!(Window::WHOLE.pixels(641, 359), (641, 359));
        assert_eq!(third.pixels(641, 359), (385, 108));
        assert_eq!(third.pixels(1, 1), (1, 0));
        let inside: Vec<bool> = third.patches(3, 5).collect();
        let row = [false, true, true, true, false];
        assert_eq!(inside, [[false; 5], row, [false; 5]].concat());
    }
}
