//! Where the pixels of a frame were in the frame before: given, or found by matching blocks.

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
/// Largest motion in the halved picture.
const REACH: i32 = 12;

/// The motion between two grey pictures of `width x height` (rows without gaps): for each block of the later
/// one, the place in the earlier one with the smallest sum of absolute differences, found exhaustively in
/// pictures halved to at most 320 columns, up to 12 of their pixels away. Of equally good places the nearest
/// is taken, so that plain road stands still.
pub fn estimate(before: &[u8], after: &[u8], width: usize, height: usize) -> Motion {
    if before.len() != width * height || after.len() != before.len() || before.is_empty() {
        return Motion::Still;
    }
    let (mut before, mut after) = (before.to_vec(), after.to_vec());
    let (mut w, mut h, mut scale) = (width, height, 1.0_f32);
    while w > WIDTH && h >= 2 * BLOCK {
        (before, after) = (halved(&before, w), halved(&after, w));
        (w, h, scale) = (w / 2, h / 2, scale * 2.0);
    }
    let (cols, rows) = (w.div_ceil(BLOCK), h.div_ceil(BLOCK));
    let mut places: Vec<(i32, i32)> =
        (-REACH..=REACH).flat_map(|dy| (-REACH..=REACH).map(move |dx| (dx, dy))).collect();
    places.sort_by_key(|(dx, dy)| dx * dx + dy * dy);
    let picture = |data| Picture { data, width: w, height: h };
    let (before, after) = (picture(&before), picture(&after));
    let block = |cell: usize| {
        let (left, top) = (cell % cols * BLOCK, cell / cols * BLOCK);
        let mut best = (u32::MAX, (0, 0));
        for place in &places {
            if let Some(off) = after.difference(&before, (left, top), *place, best.0)
                && off < best.0
            {
                best = (off, *place);
            }
        }
        let (dx, dy) = best.1;
        [dx as f32 * scale, dy as f32 * scale]
    };
    Motion::Field { cols, flow: (0..cols * rows).map(block).collect() }
}

struct Picture<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
}

impl Picture<'_> {
    /// The sum of absolute differences of the block at `left`, `top` to that of `other` moved by `dx`, `dy`;
    /// `None` if that leaves the picture or the sum reaches `most`.
    fn difference(
        &self,
        other: &Picture<'_>,
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
            let pairs = self.data[own..own + columns].iter().zip(&other.data[its..its + columns]);
            sum += pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>();
            if sum >= most {
                return None;
            }
        }
        Some(sum)
    }
}

/// The means of squares of four pixels; an odd last row or column is dropped.
fn halved(data: &[u8], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 4);
    let rows: Vec<&[u8]> = data.chunks_exact(width).collect();
    for pair in rows.chunks_exact(2) {
        for (upper, lower) in pair[0].chunks_exact(2).zip(pair[1].chunks_exact(2)) {
            let sum: u16 = upper.iter().chain(lower).map(|v| u16::from(*v)).sum();
            out.push((sum / 4) as u8);
        }
    }
    out
}
