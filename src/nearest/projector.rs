//! From a model's features to the numbers that are compared: columns of parts, transformed and put into tables.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::product::{Matrix, multiply};
use crate::bank::{Affine, Recipe, Step, Transform};

/// Vectors that are transformed together. Each block is filled up to this many, so that a vector's numbers depend
/// on nothing but itself: not on its place, not on threads.
const BLOCK: usize = 32;
/// Rows of a matrix are a multiple of so many, filled up with zeros: products then allocate nothing.
const PADDING: usize = 16;
/// Columns whose mean one task computes.
const COLUMNS: usize = 64;

/// Applies the transforms of a recipe.
pub struct Projector {
    /// Numbers per vector of the model.
    width: usize,
    parts: Vec<Part>,
    /// Numbers per vector in each table.
    tables: Vec<usize>,
    plain: bool,
    scratch: Vec<Mutex<Scratch>>,
    /// The mean of the present picture.
    mean: Vec<f32>,
}

/// What becomes of some columns.
struct Part {
    from: usize,
    width: usize,
    /// The table that they go to, and their first column there.
    table: usize,
    at: usize,
    stored: usize,
    /// Whether the mean of the picture is subtracted first.
    centred: bool,
    steps: Vec<Prepared>,
}

/// The means of the pictures that vectors come from.
#[derive(Clone, Copy)]
pub enum ImageMeans<'a> {
    /// Not known, or subtracted already.
    None,
    /// One mean of as many numbers as a vector.
    Shared(&'a [f32]),
    /// All means one after another, and for each vector which is its own.
    Each(&'a [f32], &'a [u32]),
}

impl<'a> ImageMeans<'a> {
    /// Of vectors of `width` numbers: the mean of number `vector`, if it is known.
    fn of(&self, vector: usize, width: usize) -> Option<&'a [f32]> {
        match self {
            ImageMeans::None => None,
            ImageMeans::Shared(mean) => Some(mean),
            ImageMeans::Each(means, own) => means.get(*own.get(vector)? as usize * width..)?.get(..width),
        }
    }
}

/// A step as it is computed.
enum Prepared {
    Unit,
    Centre(Vec<f32>),
    Turn {
        mean: Vec<f32>,
        /// `padded x takes` numbers, column by column.
        columns: Vec<f32>,
        gives: usize,
        padded: usize,
    },
}

/// One thread's block, before and after a step.
#[derive(Default)]
struct Scratch {
    now: Vec<f32>,
    next: Vec<f32>,
}

impl Projector {
    /// Prepares `recipe` with the transforms of its parts, for vectors of `width` numbers.
    ///
    /// # Panics
    /// If recipe and transforms do not fit; an opened [`crate::bank::Bank`] has checked its own.
    pub fn new(recipe: &Recipe, transforms: &[Transform], width: usize) -> Projector {
        let apart = recipe.combine.searches_apart();
        let mut next = 0;
        let place = |(number, (part, transform)): (usize, (&crate::bank::RecipePart, &Transform))| {
            let (table, at) = if apart { (number, 0) } else { (0, next) };
            next += part.stored;
            let steps = transform.steps.iter().filter_map(Prepared::of).collect();
            let centred = transform.steps.first() == Some(&Step::CenterImage);
            Part { from: part.from, width: part.width, table, at, stored: part.stored, centred, steps }
        };
        assert_eq!(recipe.parts.len(), transforms.len());
        let parts = recipe.parts.iter().zip(transforms).enumerate().map(place).collect();
        let (tables, plain) = (recipe.tables(), recipe.keeps_features(width));
        Projector { width, parts, tables, plain, scratch: Vec::new(), mean: Vec::new() }
    }

    /// Whether it leaves everything as it is.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether any part is centred by the mean of its picture.
    pub fn centres_images(&self) -> bool {
        self.parts.iter().any(|part| part.centred)
    }

    /// Where part number `part` stands: the table, its first column there, and how many there are.
    ///
    /// # Panics
    /// If there is no such part.
    pub fn place(&self, part: usize) -> (usize, usize, usize) {
        let Part { table, at, stored, .. } = self.parts[part];
        (table, at, stored)
    }

    /// Numbers per vector in each table.
    pub fn tables(&self) -> &[usize] {
        &self.tables
    }

    /// Transforms the features of one picture: T vectors of `width` numbers, all that there are of it;
    /// `tables[i]` becomes T x `self.tables()[i]` numbers. A vector with NaN or infinite numbers gives such, and does
    /// not touch the others. Runs on the current rayon pool; once it has seen a size it allocates no more.
    ///
    /// # Panics
    /// If `vectors` are no whole vectors, or there are fewer tables.
    pub fn picture(&mut self, vectors: &[f32], tables: &mut [&mut Vec<f32>]) {
        if !self.centres_images() {
            return self.rows(vectors, ImageMeans::None, tables);
        }
        let mut mean = std::mem::take(&mut self.mean);
        image_mean(vectors, self.width, &mut mean);
        self.rows(vectors, ImageMeans::Shared(&mean), tables);
        self.mean = mean;
    }

    /// The same for vectors of any pictures, whose means are given.
    ///
    /// # Panics
    /// As [`Projector::picture`].
    pub fn rows(&mut self, vectors: &[f32], means: ImageMeans<'_>, tables: &mut [&mut Vec<f32>]) {
        let count = vectors.len() / self.width;
        assert!(vectors.len() == count * self.width && tables.len() == self.tables.len());
        self.scratch.resize_with(rayon::current_num_threads().max(self.scratch.len()), Mutex::default);
        for (table, width) in tables.iter_mut().zip(&self.tables) {
            table.resize(count * width, 0.0);
        }
        for part in &self.parts {
            let (out_width, scratch) = (self.tables[part.table], &self.scratch);
            tables[part.table]
                .par_chunks_mut(BLOCK * out_width)
                .zip(vectors.par_chunks(BLOCK * self.width))
                .enumerate()
                .for_each(|(number, (out, vectors))| {
                    let thread = rayon::current_thread_index().unwrap_or(0) % scratch.len();
                    let mut scratch = scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
                    let Scratch { now, .. } = &mut *scratch;
                    now.clear();
                    now.resize(BLOCK * part.width, 0.0);
                    for (i, (to, from)) in
                        now.chunks_exact_mut(part.width).zip(vectors.chunks_exact(self.width)).enumerate()
                    {
                        to.copy_from_slice(&from[part.from..][..part.width]);
                        if part.centred
                            && let Some(mean) = means.of(number * BLOCK + i, self.width)
                        {
                            subtract(to, &mean[part.from..][..part.width]);
                        }
                    }
                    part.block(&mut scratch, out, out_width);
                });
        }
    }
}

/// The mean of the vectors of a picture without those that have NaN or infinite numbers, in double precision;
/// zeros if there are none. Sums are made in the order of the vectors, on the current rayon pool.
pub fn image_mean(vectors: &[f32], width: usize, out: &mut Vec<f32>) {
    let sound = |vector: &[f32]| vector.iter().fold(true, |all, x| all & x.is_finite());
    let all_sound = sound(vectors);
    let counted = |vector: &&[f32]| all_sound || sound(vector);
    let count = vectors.chunks_exact(width).filter(counted).count().max(1) as f64;
    out.clear();
    out.resize(width, 0.0);
    out.par_chunks_mut(COLUMNS).enumerate().for_each(|(number, out)| {
        let mut sums = [0.0f64; COLUMNS];
        for vector in vectors.chunks_exact(width).filter(counted) {
            sums.iter_mut().zip(&vector[number * COLUMNS..]).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum / count) as f32);
    });
}

impl Part {
    /// Brings the block in `scratch` through all steps, and to its columns of `out`.
    fn block(&self, scratch: &mut Scratch, out: &mut [f32], out_width: usize) {
        let Scratch { now, next } = scratch;
        let mut wide = self.width;
        for step in &self.steps {
            wide = step.apply(now, next, wide);
        }
        for (to, from) in out.chunks_exact_mut(out_width).zip(now.chunks_exact(wide)) {
            to[self.at..][..wide].copy_from_slice(from);
        }
    }
}

impl Prepared {
    /// `None` for what is done before.
    fn of(step: &Step) -> Option<Prepared> {
        Some(match step {
            Step::CenterImage => return None,
            Step::Unit => Prepared::Unit,
            Step::Affine(Affine { mean, matrix: None }) => Prepared::Centre(mean.clone()),
            Step::Affine(affine @ Affine { mean, matrix: Some(matrix) }) => {
                let (takes, gives) = (affine.takes(), affine.gives());
                let padded = gives.next_multiple_of(PADDING);
                let mut columns = vec![0.0; takes * padded];
                for (r, row) in matrix.chunks_exact(takes).enumerate() {
                    row.iter().enumerate().for_each(|(c, x)| columns[c * padded + r] = *x);
                }
                Prepared::Turn { mean: mean.clone(), columns, gives, padded }
            }
        })
    }

    /// Makes [`BLOCK`] vectors of `wide` numbers in `now` into others; their width. `next` is room.
    fn apply(&self, now: &mut Vec<f32>, next: &mut Vec<f32>, wide: usize) -> usize {
        match self {
            Prepared::Unit => {
                now.chunks_exact_mut(wide).for_each(unit);
                wide
            }
            Prepared::Centre(mean) => {
                now.chunks_exact_mut(wide).for_each(|vector| subtract(vector, mean));
                wide
            }
            Prepared::Turn { mean, columns, gives, padded } => {
                now.chunks_exact_mut(wide).for_each(|vector| subtract(vector, mean));
                next.clear();
                next.resize(BLOCK * padded, 0.0);
                multiply(Matrix::by_columns(columns, *padded), Matrix::by_columns(now, wide), next);
                now.clear();
                next.chunks_exact(*padded).for_each(|vector| now.extend_from_slice(&vector[..*gives]));
                *gives
            }
        }
    }
}

fn subtract(vector: &mut [f32], mean: &[f32]) {
    vector.iter_mut().zip(mean).for_each(|(x, m)| *x -= m);
}

/// Divides by the norm; zeros stay.
fn unit(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}
