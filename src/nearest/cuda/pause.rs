//! When frames are sifted by codes, and when not: where codes rule little out, they are tried more and more rarely.

/// Frames that are left out at most.
const LONGEST: u32 = 64;

/// Frames until the next try.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pause {
    left: u32,
    length: u32,
    /// Whether there is no next try.
    pub(super) for_ever: bool,
}

impl Pause {
    /// Whether the next frame is sifted; to be asked once per frame.
    pub(super) fn over(&mut self) -> bool {
        let over = self.left == 0 && !self.for_ever;
        self.left = self.left.saturating_sub(1);
        over
    }

    /// A frame was sifted, and `open` of its `tiles` of patches had to be searched all the same.
    pub(super) fn after(&mut self, open: usize, tiles: usize) {
        self.length = if open * 2 > tiles { (self.length * 2).clamp(1, LONGEST) } else { 0 };
        self.left = self.length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_good_is_tried_ever_more_rarely_and_again_once_it_is() {
        let mut pause = Pause::default();
        let mut tried = Vec::new();
        for frame in 0..300 {
            if pause.over() {
                tried.push(frame);
                pause.after(if frame < 200 { 6 } else { 5 }, 10);
            }
        }
        assert_eq!(tried[..8], [0, 2, 5, 10, 19, 36, 69, 134]);
        assert_eq!(tried[8..11], [199, 264, 265]);
        pause.for_ever = true;
        assert!(!pause.over());
    }
}
