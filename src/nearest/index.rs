//! The bank as int8 codes in the order in which a kernel reads them.

use rayon::prelude::*;

use super::bound::{Known, Whole, row_square};
use super::encode::{Code, Encode};
use super::head;
use super::kernel::{BLOCK, Block, Kernel};
use super::lines::Lines;
use super::space::Space;
use crate::bank::Rows;

/// The rows of a bank, encoded. Holds C bytes and a few numbers per row.
pub(super) struct Index {
    pub(super) space: Space,
    pub(super) kernel: &'static Kernel,
    rows: usize,
    /// Numbers of the head, as they are.
    head: usize,
    /// Numbers of the head, padded to the kernel's step.
    width: usize,
    /// `blocks x width x BLOCK` bytes, see [`Block`].
    heads: Lines,
    scales: Vec<f32>,
    squares: Vec<f32>,
    tails: Vec<f32>,
    slacks: Vec<f32>,
    rest: Option<Rest>,
}

/// Codes of what the heads leave out, row by row.
struct Rest {
    /// Numbers per row, padded to a multiple of 64.
    width: usize,
    numbers: Lines,
    wholes: Vec<RowWhole>,
}

/// [`Whole`] of a row, smaller.
#[derive(Clone, Copy, Default)]
struct RowWhole {
    scale: f32,
    square: f32,
    slack: f32,
}

/// One block's part of everything, to write.
struct Part<'a> {
    heads: &'a mut [u8],
    scales: &'a mut [f32],
    squares: &'a mut [f32],
    tails: &'a mut [f32],
    slacks: &'a mut [f32],
    rest: Option<(&'a mut [u8], &'a mut [RowWhole])>,
}

/// What encoding takes.
struct Scratch {
    centred: Vec<f32>,
    turned: Vec<f32>,
    numbers: Vec<i8>,
    rest: Vec<i8>,
}

impl Index {
    /// Encodes `rows`; the first `head` numbers (in the order of `space`) are compared first.
    pub(super) fn new(rows: Rows<'_>, space: Space, head: usize, kernel: &'static Kernel) -> Index {
        let (all, count) = (space.width(), rows.count(space.width()));
        let (width, blocks) = (head.next_multiple_of(kernel.step), count.div_ceil(BLOCK));
        let numbers = || vec![0.0; blocks * BLOCK];
        let mut heads = Lines::default();
        heads.resize(blocks * BLOCK * width);
        let rest = (head < all).then(|| {
            let width = (all - head).next_multiple_of(64);
            let mut numbers = Lines::default();
            numbers.resize(blocks * BLOCK * width);
            Rest { width, numbers, wholes: vec![RowWhole::default(); blocks * BLOCK] }
        });
        let mut index = Index {
            space,
            kernel,
            rows: count,
            head,
            width,
            heads,
            scales: numbers(),
            squares: numbers(),
            tails: if rest.is_some() { numbers() } else { vec![0.0; BLOCK] },
            slacks: numbers(),
            rest,
        };
        if index.space.sound {
            index.fill(rows, head);
        }
        index
    }

    fn fill(&mut self, rows: Rows<'_>, head: usize) {
        let (width, all, count) = (self.width, self.space.width(), self.rows);
        let (space, kernel) = (&self.space, self.kernel);
        // All blocks share the tails if there are none.
        let tails = self.tails.chunks_mut(BLOCK);
        let mut unused = vec![[0.0; BLOCK]; if self.rest.is_some() { 0 } else { count.div_ceil(BLOCK) }];
        let tails: Vec<&mut [f32]> = if self.rest.is_some() {
            tails.collect()
        } else {
            unused.iter_mut().map(|t| &mut t[..]).collect()
        };
        let rest: Vec<Option<(&mut [u8], &mut [RowWhole])>> = match &mut self.rest {
            Some(rest) => {
                let numbers = rest.numbers.bytes_mut().chunks_mut(BLOCK * rest.width);
                numbers.zip(rest.wholes.chunks_mut(BLOCK)).map(Some).collect()
            }
            None => (0..count.div_ceil(BLOCK)).map(|_| None).collect(),
        };
        let rest_width = rest.first().and_then(Option::as_ref).map_or(0, |r| r.0.len() / BLOCK);
        self.heads
            .bytes_mut()
            .par_chunks_mut(BLOCK * width)
            .zip(self.scales.par_chunks_mut(BLOCK))
            .zip(self.squares.par_chunks_mut(BLOCK))
            .zip(self.slacks.par_chunks_mut(BLOCK))
            .zip(tails)
            .zip(rest)
            .enumerate()
            .with_min_len(4)
            .for_each_init(
                || Scratch {
                    centred: vec![0.0; BLOCK * all],
                    turned: vec![0.0; BLOCK * all],
                    numbers: vec![0; BLOCK * width],
                    rest: vec![0; rest_width],
                },
                |scratch, (block, (((((heads, scales), squares), slacks), tails), rest))| {
                    let part = Part { heads, scales, squares, tails, slacks, rest };
                    let there = (count - block * BLOCK).min(BLOCK);
                    scratch.centred.fill(0.0);
                    rows.copy_to(block * BLOCK * all, &mut scratch.centred[..there * all]);
                    encode_block(space, kernel, head, there, scratch, part);
                },
            );
    }

    /// The index of `rows` for searches with `kernel`.
    pub(super) fn of(rows: Rows<'_>, width: usize, kernel: &'static Kernel) -> Index {
        let mut space = Space::around(rows, width);
        let head = head::choose(rows, &mut space, kernel);
        Index::new(rows, space, head, kernel)
    }

    /// Numbers of the head.
    pub(super) fn head(&self) -> usize {
        self.head
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.squares.len() / BLOCK
    }

    /// Numbers of a patch's head, padded.
    pub(super) fn head_width(&self) -> usize {
        self.width
    }

    /// Numbers of a patch's tail, padded; 0 if there is none.
    pub(super) fn rest_width(&self) -> usize {
        self.rest.as_ref().map_or(0, |r| r.width)
    }

    /// One block of rows.
    pub(super) fn block(&self, block: usize) -> Block<'_> {
        let numbers = &self.heads.bytes()[block * BLOCK * self.width..][..BLOCK * self.width];
        Block {
            numbers,
            scales: &self.scales.as_chunks().0[block],
            squares: &self.squares.as_chunks().0[block],
            tails: &self.tails.as_chunks().0[if self.rest.is_some() { block } else { 0 }],
            slacks: &self.slacks.as_chunks().0[block],
        }
    }

    /// The squared length of what lies between the codes of a patch and a row, and the sum of their slacks;
    /// `product` is that of the heads, `rest` the patch's numbers of the tail.
    pub(super) fn between(&self, known: &Known, product: i32, rest: &[i8], row: usize) -> (f64, f64) {
        let head = f64::from(known.scale) * f64::from(self.scales[row]) * f64::from(product);
        match &self.rest {
            None => {
                let slack = f64::from(self.slacks[row]);
                // The margin that `squares` has less was meant for f32; it does no harm here.
                let square = f64::from(self.squares[row]) + slack * slack;
                (known.square + square - 2.0 * head, known.slack + slack)
            }
            Some(tails) => {
                let numbers = &tails.numbers.bytes()[row * tails.width..][..tails.width];
                let whole = tails.wholes[row];
                // SAFETY: the kernel was chosen for this processor.
                let product = unsafe { (self.kernel.dot)(numbers, rest) } + known.whole.start;
                let tail = f64::from(known.whole.scale) * f64::from(whole.scale) * f64::from(product);
                let square = known.whole.square + f64::from(whole.square) - 2.0 * (head + tail);
                (square, known.whole.slack + f64::from(whole.slack))
            }
        }
    }
}

/// Rounded up.
fn up(x: f64) -> f32 {
    (x as f32).next_up()
}

fn encode_block(
    space: &Space,
    kernel: &Kernel,
    head: usize,
    there: usize,
    scratch: &mut Scratch,
    part: Part<'_>,
) {
    let (all, width) = (space.width(), part.heads.len() / BLOCK);
    let norms: [f64; BLOCK] = std::array::from_fn(|r| {
        if r < there { space.centre(&mut scratch.centred[r * all..][..all]) } else { 0.0 }
    });
    let turned = space.turn(&scratch.centred, &mut scratch.turned);
    let mut rest = part.rest;
    for r in 0..BLOCK {
        let numbers = &mut scratch.numbers[r * width..][..width];
        if r >= there {
            // Further away than any bar.
            numbers.fill(0);
            part.squares[r] = f32::INFINITY;
            continue;
        }
        let tail_numbers = rest.as_ref().map(|_| &mut scratch.rest[..]);
        let coded = code(space, kernel, head, norms[r], &turned[r * all..][..all], numbers, tail_numbers);
        part.scales[r] = coded.head.scale;
        part.tails[r] = coded.tail;
        part.slacks[r] = up(coded.slack);
        part.squares[r] = row_square(coded.square, f64::from(part.slacks[r]));
        if let Some((bytes, wholes)) = &mut rest {
            let bytes = &mut bytes[r * scratch.rest.len()..][..scratch.rest.len()];
            bytes
                .iter_mut()
                .zip(&scratch.rest)
                .for_each(|(b, n)| *b = (*n as u8).wrapping_add(kernel.rest_bias));
            let square = (coded.whole.square as f32).next_down();
            wholes[r] = RowWhole { scale: coded.whole.scale, square, slack: up(coded.whole.slack) };
        }
    }
    for (r, row) in scratch.numbers.chunks_exact(width).enumerate() {
        for (w, four) in row.as_chunks::<4>().0.iter().enumerate() {
            let biased = four.map(|n| (n as u8).wrapping_add(kernel.bias));
            part.heads[(w * BLOCK + r) * 4..][..4].copy_from_slice(&biased);
        }
    }
}

/// A row or patch as codes.
pub(super) struct Coded {
    pub(super) head: Code,
    /// Norm of what the head leaves out.
    pub(super) tail: f32,
    /// Squared norm and slack of head code and tail.
    pub(super) square: f64,
    pub(super) slack: f64,
    /// The same of both codes.
    pub(super) whole: Whole,
    /// Sum of the tail's int8 numbers.
    pub(super) rest_sum: i32,
}

/// Encodes one vector of norm `norm` that was brought into `space`.
pub(super) fn code(
    space: &Space,
    kernel: &Kernel,
    head: usize,
    norm: f64,
    turned: &[f32],
    numbers: &mut [i8],
    rest: Option<&mut [i8]>,
) -> Coded {
    let (first, others) = turned.split_at(head.min(turned.len()));
    let encode = |values, out| {
        // SAFETY: the kernel was chosen for this processor.
        unsafe { (kernel.encode)(Encode { values, limit: kernel.limit, out }) }
    };
    let head = encode(first, numbers);
    // Underflow when scaling loses less than this.
    let error = space.error() * norm + 1e-33 * (turned.len() as f64).sqrt();
    let Some(rest) = rest else {
        let slack = head.slack + error;
        return Coded { head, tail: 0.0, square: head.square, slack, whole: Whole::default(), rest_sum: 0 };
    };
    let tail_code = encode(others, rest);
    let exact = others.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    let tail = exact as f32;
    let square = head.square + f64::from(tail) * f64::from(tail);
    Coded {
        head,
        tail,
        square,
        slack: head.slack + (exact - f64::from(tail)).abs() + error,
        whole: Whole {
            scale: tail_code.scale,
            start: 0,
            square: head.square + tail_code.square,
            slack: head.slack.hypot(tail_code.slack) * (1.0 + 1e-12) + error,
        },
        rest_sum: tail_code.sum,
    }
}
