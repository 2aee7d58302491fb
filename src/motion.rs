//! Where the pixels of a frame were in the frame before: given, or found by matching blocks.

use crate::region::Rect;

mod focus;

pub use focus::Expansion;
#[cfg(test)]
pub(crate) use focus::driven;

/// Motion between a frame and the one before, in pixels: a pixel at x, y was at x + dx, y + dy.
#[derive(Debug, Clone, PartialEq)]
pub enum Motion {
    /// Nothing moved.
    Still,
    /// All moved alike.
    Shift {
        /// To the right.
        dx: f32,
        /// Down.
        dy: f32,
    },
    /// Each cell of a grid over the whole picture has its own motion (an optical flow has one cell per
    /// pixel).
    Field {
        /// Cells from left to right.
        cols: usize,
        /// `rows x cols` pairs of dx and dy, row by row.
        flow: Vec<[f32; 2]>,
    },
}

impl Motion {
    /// The motion of the pixel at `x`, `y` of a picture of `width` x `height`.
    pub fn at(&self, (x, y): (usize, usize), (width, height): (usize, usize)) -> [f32; 2] {
        match self {
            Motion::Still => [0.0, 0.0],
            Motion::Shift { dx, dy } => [*dx, *dy],
            Motion::Field { cols, flow } => {
                let rows = flow.len() / (*cols).max(1);
                let cell = (y * rows / height.max(1)) * cols + x * cols / width.max(1);
                flow.get(cell).copied().unwrap_or_default()
            }
        }
    }

    /// How motion is given.
    pub fn name(&self) -> &'static str {
        match self {
            Motion::Still => "still",
            Motion::Shift { .. } => "shift",
            Motion::Field { .. } => "field",
        }
    }
}

/// Width to which pictures are halved before blocks are matched.
const WIDTH: usize = 320;
/// Side of a block.
const BLOCK: usize = 16;
/// Blocks along one side of a rectangle that is followed.
const MOST_BLOCKS: usize = 4;
/// Largest motion in the halved picture.
const REACH: i32 = 12;
/// How far a block may be from where it is guessed to be.
const STEP: i32 = 4;
/// Blocks that differ by more grey levels (of 255, on average) from every place nearby show something else.
const STRANGE: f32 = 20.0;

/// A grey picture made small enough for blocks to be matched in no time.
#[derive(Debug, Clone, Default)]
pub struct Reduced {
    /// Size of the whole picture.
    whole: (usize, usize),
    width: usize,
    height: usize,
    /// Pixels of the whole picture per pixel of this one.
    scale: f32,
    pixels: Vec<u8>,
    spare: Vec<u8>,
}

impl Reduced {
    /// Takes a picture of `width x height` (rows without gaps), halved until it has at most 320 columns.
    pub fn take(&mut self, pixels: &[u8], width: usize, height: usize) {
        (self.whole, self.width, self.height) = ((width, height), width, height);
        self.scale = 1.0;
        self.pixels.clear();
        if pixels.len() != width * height {
            (self.width, self.height) = (0, 0);
            return;
        }
        if width <= WIDTH || height < 2 * BLOCK {
            self.pixels.extend_from_slice(pixels);
            return;
        }
        halve(pixels, width, &mut self.pixels);
        (self.width, self.height, self.scale) = (width / 2, height / 2, 2.0);
        while self.width > WIDTH && self.height >= 2 * BLOCK {
            halve(&self.pixels, self.width, &mut self.spare);
            std::mem::swap(&mut self.pixels, &mut self.spare);
            (self.width, self.height) = (self.width / 2, self.height / 2);
            self.scale *= 2.0;
        }
    }

    /// Becomes a copy of `other`, in the memory that it has.
    pub fn copy(&mut self, other: &Reduced) {
        (self.whole, self.width, self.height) = (other.whole, other.width, other.height);
        self.scale = other.scale;
        self.pixels.clear();
        self.pixels.extend_from_slice(&other.pixels);
    }

    /// Whether both are of pictures of one size.
    pub fn fits(&self, other: &Reduced) -> bool {
        self.whole == other.whole && self.pixels.len() == other.pixels.len() && !self.pixels.is_empty()
    }

    /// For each block of `after`, the place in `self` with the smallest sum of absolute differences, up to 12
    /// pixels of these small pictures away. Of equally good places the nearest is taken, so that plain road
    /// stands still. `None` if they do not fit.
    pub fn followed_by(&self, after: &Reduced) -> Option<Matched> {
        if !self.fits(after) {
            return None;
        }
        let (w, h) = (self.width, self.height);
        let (cols, rows) = (w.div_ceil(BLOCK), h.div_ceil(BLOCK));
        let mut places: Vec<(i32, i32)> =
            (-REACH..=REACH).flat_map(|dy| (-REACH..=REACH).map(move |dx| (dx, dy))).collect();
        places.sort_by_key(|(dx, dy)| dx * dx + dy * dy);
        let mut matched = Matched { cols, flow: Vec::new(), off: Vec::new() };
        for cell in 0..cols * rows {
            let (left, top) = (cell % cols * BLOCK, cell / cols * BLOCK);
            let mut best = (u32::MAX, (0, 0));
            for place in &places {
                if let Some(off) = after.difference(self, (left, top), *place, best.0)
                    && off < best.0
                {
                    best = (off, *place);
                }
            }
            let (off, (dx, dy)) = best;
            let pixels = (BLOCK.min(w - left) * BLOCK.min(h - top)) as f32;
            matched.flow.push([dx as f32 * self.scale, dy as f32 * self.scale]);
            matched.off.push(off as f32 / pixels);
        }
        Some(matched)
    }
}

/// Where the blocks of a picture were in the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    /// Blocks from left to right.
    pub cols: usize,
    /// Of each block, the pair of dx and dy in pixels of the whole picture: what is at x, y was at x + dx, y + dy.
    pub flow: Vec<[f32; 2]>,
    /// Of each block, by how many of 255 grey levels its pixels differ from that place, on average.
    pub off: Vec<f32>,
}

/// The motion between two grey pictures of `width x height` (rows without gaps), as [`Reduced::followed_by`] finds
/// it; none between pictures that do not fit.
pub fn estimate(before: &[u8], after: &[u8], width: usize, height: usize) -> Motion {
    if before.len() != width * height || after.len() != before.len() || before.is_empty() {
        return Motion::Still;
    }
    let [mut first, mut second] = [Reduced::default(), Reduced::default()];
    first.take(before, width, height);
    second.take(after, width, height);
    match first.followed_by(&second) {
        Some(Matched { cols, flow, .. }) => Motion::Field { cols, flow },
        None => Motion::Still,
    }
}

impl Reduced {
    /// Pixels of the whole picture per pixel of this one.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Blocks that cover a rectangle of the whole picture: their left and upper edges. A small rectangle has one, around
    /// its middle; of a large one, not all are taken.
    pub fn blocks_of(&self, rect: &Rect) -> impl Iterator<Item = (usize, usize)> {
        let small = |value: u32| (value as f32 / self.scale) as usize;
        let axis = |from: u32, length: u32, whole: usize| {
            let (from, length) = (small(from), small(length).max(1));
            let count = (length / BLOCK).clamp(1, MOST_BLOCKS);
            let most = whole.saturating_sub(BLOCK);
            (0..count)
                .map(move |n| (from + (2 * n + 1) * length / (2 * count)).saturating_sub(BLOCK / 2).min(most))
        };
        let columns = axis(rect.x, rect.width, self.width);
        let rows = axis(rect.y, rect.height, self.height);
        rows.flat_map(move |top| columns.clone().map(move |left| (left, top)))
    }

    /// Where the block of this picture at `left`, `top` is in `now`: the place with the smallest sum of absolute
    /// differences within `reach` pixels (of the small pictures) of `centre`, the nearest of equally good ones; and by
    /// how many of 255 grey levels it differs there, on average. `None` if all places lie outside.
    pub fn place_in(
        &self,
        now: &Reduced,
        (left, top): (usize, usize),
        centre: (i32, i32),
        reach: i32,
    ) -> Option<((i32, i32), f32)> {
        let mut best: Option<(u32, i32, (i32, i32))> = None;
        for (dx, dy) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy))) {
            let place = (centre.0 + dx, centre.1 + dy);
            let far = dx * dx + dy * dy;
            // One more than the best: a place as good and nearer is better.
            let most = best.map_or(u32::MAX, |(off, ..)| off.saturating_add(1));
            if let Some(off) = self.difference(now, (left, top), place, most)
                && best.is_none_or(|(known, known_far, _)| (off, far) < (known, known_far))
            {
                best = Some((off, far, place));
            }
        }
        let pixels = (BLOCK.min(self.width - left) * BLOCK.min(self.height - top)) as f32;
        best.map(|(off, _, place)| (place, off as f32 / pixels))
    }

    /// How far what `rect` of the whole picture shows has moved up to `now`, in pixels of these small pictures: the median
    /// of its blocks, those left out that nothing nearby looks like; `None` if that is all of them. With a `guess`, only
    /// places near to it are looked at.
    pub fn moved_to(&self, now: &Reduced, rect: &Rect, guess: Option<(i32, i32)>) -> Option<(i32, i32)> {
        let (centre, reach) = match guess {
            Some(guess) => (guess, STEP),
            None => ((0, 0), REACH),
        };
        let mut found: Vec<(i32, i32)> = self
            .blocks_of(rect)
            .filter_map(|block| self.place_in(now, block, centre, reach))
            .filter(|(_, off)| *off <= STRANGE)
            .map(|(place, _)| place)
            .collect();
        let middle = found.len() / 2;
        if found.is_empty() {
            return None;
        }
        let x = found.select_nth_unstable_by_key(middle, |place| place.0).1.0;
        let y = found.select_nth_unstable_by_key(middle, |place| place.1).1.1;
        Some((x, y))
    }

    /// The sum of absolute differences of the block at `left`, `top` to that of `other` moved by `dx`, `dy`;
    /// `None` if that leaves the picture or the sum reaches `most`.
    fn difference(
        &self,
        other: &Reduced,
        (left, top): (usize, usize),
        (dx, dy): (i32, i32),
        most: u32,
    ) -> Option<u32> {
        let (right, bottom) = ((left + BLOCK).min(self.width), (top + BLOCK).min(self.height));
        let from_x = left.checked_add_signed(dx as isize)?;
        let from_y = top.checked_add_signed(dy as isize)?;
        let (columns, lines) = (right - left, bottom - top);
        if from_x + columns > other.width || from_y + lines > other.height {
            return None;
        }
        let mut sum = 0;
        for line in 0..lines {
            let own = (top + line) * self.width + left;
            let its = (from_y + line) * other.width + from_x;
            let pairs = self.pixels[own..own + columns].iter().zip(&other.pixels[its..its + columns]);
            sum += pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>();
            if sum >= most {
                return None;
            }
        }
        Some(sum)
    }
}

/// The means of squares of four pixels; an odd last row or column is dropped.
fn halve(data: &[u8], width: usize, out: &mut Vec<u8>) {
    out.clear();
    for pair in data.chunks_exact(2 * width) {
        let (upper, lower) = pair.split_at(width);
        let squares = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
        out.extend(squares.map(|([a, b], [c, d])| {
            ((u16::from(*a) + u16::from(*b) + u16::from(*c) + u16::from(*d)) / 4) as u8
        }));
    }
}
