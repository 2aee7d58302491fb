//! The eight ways in which a stored picture can have to be turned before it is looked at.

/// Mirrored, turned by quarters, or both. The names say how a pixel of the upright picture is found in the stored
/// one: rows and columns change places first, then either may be read from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Turn {
    /// Rows of the stored picture are columns of the upright one.
    pub(super) transposed: bool,
    /// Stored columns are read from the right.
    pub(super) from_right: bool,
    /// Stored rows are read from the bottom.
    pub(super) from_bottom: bool,
}

/// Side of the squares in which a transposed plane is copied: reads and writes both stay in the cache.
const BLOCK: usize = 32;

impl Turn {
    /// By GStreamer's `image-orientation` tag; `None` if it is none of the eight.
    pub(super) fn of_tag(tag: &str) -> Option<Turn> {
        let (transposed, from_right, from_bottom) = match tag {
            "rotate-0" => (false, false, false),
            "rotate-90" => (true, false, true),
            "rotate-180" => (false, true, true),
            "rotate-270" => (true, true, false),
            "flip-rotate-0" => (false, true, false),
            "flip-rotate-90" => (true, true, true),
            "flip-rotate-180" => (false, false, true),
            "flip-rotate-270" => (true, false, false),
            _ => return None,
        };
        Some(Turn { transposed, from_right, from_bottom })
    }

    /// By the display matrix of ISO/IEC 14496-12, 8.3.2: `x' = a x + c y`, `y' = b x + d y`, at any scale. `None`
    /// for angles that are no quarters and for matrices that show nothing.
    pub(super) fn of_matrix([a, b, c, d]: [i64; 4]) -> Option<Turn> {
        let small = |part: i64, whole: i64| part.saturating_abs().saturating_mul(50) < whole.saturating_abs();
        if small(b, a) && small(c, d) {
            return Some(Turn { transposed: false, from_right: a < 0, from_bottom: d < 0 });
        }
        if small(a, b) && small(d, c) {
            return Some(Turn { transposed: true, from_right: b < 0, from_bottom: c < 0 });
        }
        None
    }

    /// Whether stored and upright picture are the same.
    pub(super) fn is_none(self) -> bool {
        self == Turn::default()
    }

    /// The size of the upright picture.
    pub(super) fn size(self, width: usize, height: usize) -> (usize, usize) {
        if self.transposed { (height, width) } else { (width, height) }
    }

    /// Copies a stored plane of `width` x `height` bytes upright. `None` if a slice is too short.
    pub(super) fn copy(
        self,
        (from, from_stride): (&[u8], usize),
        (to, to_stride): (&mut [u8], usize),
        width: usize,
        height: usize,
    ) -> Option<()> {
        if width == 0 || height == 0 || from_stride < width || from.len() < from_stride * (height - 1) + width
        {
            return None;
        }
        let (out_width, out_height) = self.size(width, height);
        if to_stride < out_width || to.len() < to_stride * (out_height - 1) + out_width {
            return None;
        }
        let column = |x: usize| if self.from_right { width - 1 - x } else { x };
        let row = |y: usize| if self.from_bottom { height - 1 - y } else { y };
        if !self.transposed {
            for (y, out) in to.chunks_mut(to_stride).take(height).enumerate() {
                let stored = &from[row(y) * from_stride..][..width];
                out[..width].copy_from_slice(stored);
                if self.from_right {
                    out[..width].reverse();
                }
            }
            return Some(());
        }
        for top in (0..out_height).step_by(BLOCK) {
            for left in (0..out_width).step_by(BLOCK) {
                for y in top..(top + BLOCK).min(out_height) {
                    let x = column(y);
                    let right = (left + BLOCK).min(out_width);
                    let out = &mut to[y * to_stride + left..y * to_stride + right];
                    for (out, y) in out.iter_mut().zip(left..) {
                        *out = from[row(y) * from_stride + x];
                    }
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture 1 2 / 3 4 / 5 6, turned as its tag says. GStreamer's words: flipped from left to right, if at all,
    /// then rotated clockwise.
    #[test]
    fn all_eight_turns() {
        let stored = [1, 2, 0xEE, 3, 4, 0xEE, 5, 6, 0xEE];
        for (tag, matrix, want) in [
            ("rotate-0", [1, 0, 0, 1], [1, 2, 3, 4, 5, 6]),
            ("rotate-90", [0, 1, -1, 0], [5, 3, 1, 6, 4, 2]),
            ("rotate-180", [-1, 0, 0, -1], [6, 5, 4, 3, 2, 1]),
            ("rotate-270", [0, -1, 1, 0], [2, 4, 6, 1, 3, 5]),
            ("flip-rotate-0", [-1, 0, 0, 1], [2, 1, 4, 3, 6, 5]),
            ("flip-rotate-90", [0, -1, -1, 0], [6, 4, 2, 5, 3, 1]),
            ("flip-rotate-180", [1, 0, 0, -1], [5, 6, 3, 4, 1, 2]),
            ("flip-rotate-270", [0, 1, 1, 0], [1, 3, 5, 2, 4, 6]),
        ] {
            let turn = Turn::of_tag(tag).unwrap();
            assert_eq!(Turn::of_matrix(matrix.map(|n| n << 16)), Some(turn), "{tag}");
            let mut upright = [0; 6];
            let stride = turn.size(2, 3).0;
            turn.copy((&stored, 3), (&mut upright, stride), 2, 3).unwrap();
            assert_eq!(upright, want, "{tag}");
        }
        assert_eq!(Turn::of_tag("upside-down"), None);
        assert_eq!(Turn::of_matrix([46341, 46341, -46341, 46341]), None, "45 degrees");
        assert_eq!(Turn::of_matrix([0; 4]), None);
    }

    #[test]
    fn blocks_meet_at_any_size() {
        let (width, height) = (3 * BLOCK + 5, BLOCK + 7);
        let stored: Vec<u8> = (0..width * height).map(|i| (i * 7 % 251) as u8).collect();
        let turn = Turn { transposed: true, from_right: true, from_bottom: false };
        let mut upright = vec![0; width * height];
        turn.copy((&stored, width), (&mut upright, height), width, height).unwrap();
        for (x, y) in (0..height).flat_map(|x| (0..width).map(move |y| (x, y))) {
            assert_eq!(upright[y * height + x], stored[x * width + width - 1 - y]);
        }
        assert!(turn.copy((&stored[1..], width), (&mut upright, height), width, height).is_none());
        assert!(turn.copy((&stored, width), (&mut upright[1..], height), width, height).is_none());
    }
}
