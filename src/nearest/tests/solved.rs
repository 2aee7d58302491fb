//! Searches whose answer is known, plain and hard, for all engines.

use std::sync::Arc;

use crate::bank::{Bank, DataType};
use crate::grid::{Distances, Features};
use crate::nearest::Nearest;
use crate::nearest::made_up::{Noise, bank, distance, error, features, mean, nearest};

/// What a distance may be off, see [`error`].
const TOLERANCE: f64 = 1e-4;

/// A bank and a frame, and the right answer.
pub(in crate::nearest) struct Solved {
    pub bank: Arc<Bank>,
    pub frame: Features,
    pub k: usize,
    /// Of each patch.
    truth: Vec<Vec<(f64, u32)>>,
}

impl Solved {
    /// The `k` nearest rows of each patch.
    pub(in crate::nearest) fn new(bank: Arc<Bank>, frame: Features, k: usize) -> Solved {
        let truth = frame.data.chunks(bank.width()).map(|patch| nearest(&bank, patch, k)).collect();
        Solved { bank, frame, k, truth }
    }

    /// What `engine` answers otherwise, or why it does not.
    pub(in crate::nearest) fn differences(&self, case: &str, engine: &mut dyn Nearest) -> Vec<String> {
        let Solved { bank, frame, k, truth } = self;
        let (mut out, mut rows, mut near) = (Distances::default(), Vec::new(), Vec::new());
        // The second time it knows the first answer.
        let searched =
            engine.distances(frame, &mut out).and_then(|()| engine.neighbours(frame, &mut rows, &mut near));
        if let Err(why) = searched {
            return vec![format!("{case}: {why:#}")];
        }
        let patches = frame.grid.len();
        assert_eq!((out.data.len(), rows.len(), near.len()), (patches, patches * k, patches * k));
        let (mut wrong, mut copy) = (Vec::new(), Vec::new());
        for (p, (patch, truth)) in frame.data.chunks(bank.width()).zip(truth).enumerate() {
            if error(out.data[p], mean(truth), patch) > TOLERANCE {
                wrong.push(format!("{case}: patch {p}: {} instead of {}", out.data[p], mean(truth)));
            }
            let (rows, near) = (&rows[p * k..][..*k], &near[p * k..][..*k]);
            for (i, (want, row)) in truth.iter().enumerate() {
                // Rows differ only where their distances do not, but for the last bits.
                let own = distance(bank, rows[i] as usize, patch, &mut copy);
                let other = (own - want).abs() > 1e-6 * want || rows[..i].contains(&rows[i]);
                if other || error(near[i], *want, patch) > TOLERANCE {
                    let (got, near) = (rows[i], near[i]);
                    wrong.push(format!(
                        "{case}: patch {p}, neighbour {i}: row {got} at {near} instead of {row} at {want}"
                    ));
                }
            }
        }
        wrong
    }
}

/// Rows of the bank, numbers of each, patches of the frame, neighbours.
pub(in crate::nearest) type Shape = (usize, usize, usize, usize);

/// What the numbers are like.
#[derive(Debug, Clone, Copy)]
pub(in crate::nearest) struct Numbers {
    /// The deviation of the bank's.
    pub scale: f32,
    /// Their mean.
    pub offset: f32,
    /// How far the patches lie from rows of the bank; infinite: they are like rows, and unrelated.
    pub near: f32,
    /// All but the first 3 of each 24 are smaller by this factor, which a rotation can use.
    pub thin: f32,
}

/// Plain ones.
pub(in crate::nearest) const PLAIN: Numbers =
    Numbers { scale: 1.0, offset: 0.0, near: f32::INFINITY, thin: 1.0 };

/// Those that rounding, products and squares find hard.
const HARD: [(&str, Numbers); 9] = [
    ("far from 0", Numbers { offset: 1000.0, ..PLAIN }),
    ("near and far from 0", Numbers { offset: 1000.0, near: 1e-2, ..PLAIN }),
    ("very near", Numbers { near: 1e-6, ..PLAIN }),
    ("rows themselves", Numbers { near: 0.0, ..PLAIN }),
    ("large numbers", Numbers { scale: 1e4, ..PLAIN }),
    ("beyond squares", Numbers { scale: 1e25, ..PLAIN }),
    ("beyond halves' scale", Numbers { scale: 1e35, ..PLAIN }),
    ("tiny numbers", Numbers { scale: 1e-5, ..PLAIN }),
    ("below squares", Numbers { scale: 1e-25, ..PLAIN }),
];

/// Plain numbers in each of `shapes`, and all kinds of hard ones in the shape `hard`.
pub(in crate::nearest) fn cases(
    shapes: &[(&'static str, Shape)],
    hard: Shape,
) -> Vec<(&'static str, Shape, Numbers)> {
    let plain = shapes.iter().map(|(name, shape)| (*name, *shape, PLAIN));
    plain.chain(HARD.map(|(name, numbers)| (name, hard, numbers))).collect()
}

impl Numbers {
    /// The types that can store them.
    pub(in crate::nearest) fn types(&self) -> &'static [DataType] {
        if self.scale > 6e4 { &[DataType::F32] } else { &[DataType::F16, DataType::F32] }
    }

    /// A bank and a frame of them.
    pub(in crate::nearest) fn solved(&self, (rows, width, patches, k): Shape, data_type: DataType) -> Solved {
        let mut noise = Noise::new(rows as u64);
        let mut around_0 = |rows: usize, scale: f32| {
            let mut data = noise.many(rows * width, scale, 0.0);
            data.chunks_mut(24).for_each(|part| part.iter_mut().skip(3).for_each(|x| *x *= self.thin));
            data
        };
        let mut stored = around_0(rows, self.scale);
        stored.iter_mut().for_each(|x| *x += self.offset);
        let bank = bank(data_type, width, &stored);
        let mut data = around_0(patches, if self.near.is_finite() { self.near } else { self.scale });
        for (p, patch) in data.chunks_mut(width).enumerate() {
            let mut centre = vec![self.offset; width];
            if self.near.is_finite() {
                bank.features().copy_to(p * 7 % rows * width, &mut centre);
            }
            patch.iter_mut().zip(&centre).for_each(|(x, centre)| *x += centre);
        }
        Solved::new(bank, features(width, data), k)
    }
}

/// 300 rows within 1e-3 of one another, far from the mean: products cannot order them. Five patches are among them (more
/// than the CUDA search measures at once), two too far out for products.
pub(in crate::nearest) fn cluster() -> Solved {
    let mut noise = Noise::new(5);
    let mut data = noise.many(200 * 32, 1.0, 0.0);
    let centre = noise.many(32, 30.0, 0.0);
    for _ in 0..300 {
        data.extend(centre.iter().map(|c| c + noise.number() * 1e-3));
    }
    let mut patches: Vec<f32> = centre.repeat(5).iter().map(|c| c + 1e-4).collect();
    patches.extend(noise.many(32, 1e20, 0.0));
    patches.extend(noise.many(32, 3e38 / 8.0, 0.0));
    patches.extend(noise.many(32, 1.0, 0.0));
    Solved::new(bank(DataType::F32, 32, &data), features(32, patches), 3)
}

/// Of equal rows the engine of the 3 nearest that `open` gives finds the first.
pub(in crate::nearest) fn equal_rows_are_told_apart_by_number<E: Nearest>(
    open: impl FnOnce(&Arc<Bank>) -> E,
) {
    let row = [3.0, -1.0, 0.25, 8.0];
    let bank = bank(DataType::F16, 4, &row.repeat(700));
    let frame = features(4, [row, [0.0; 4], [3.0, -1.0, 0.25, 8.001]].concat());
    let mut engine = open(&bank);
    let (mut rows, mut near) = (Vec::new(), Vec::new());
    engine.neighbours(&frame, &mut rows, &mut near).unwrap();
    assert_eq!(rows, [0, 1, 2, 0, 1, 2, 0, 1, 2], "{near:?}");
    assert_eq!(Solved::new(bank, frame, 3).differences("equal", &mut engine), [""; 0]);
}

/// Patches with numbers that are none are infinitely far and counted, and others are what they are without them.
pub(in crate::nearest) fn faulty_patches_harm_no_other<E: Nearest>(open: impl FnOnce(&Arc<Bank>) -> E) {
    let mut noise = Noise::new(9);
    let bank = bank(DataType::F16, 24, &noise.many(300 * 24, 1.0, 0.0));
    let clean = features(24, noise.many(10 * 24, 1.0, 0.0));
    let mut engine = open(&bank);
    let (mut want, mut got) = (Distances::default(), Distances::default());
    engine.distances(&clean, &mut want).unwrap();
    let mut broken = clean.clone();
    for (patch, value) in [(0, f32::NAN), (4, f32::INFINITY), (9, f32::NEG_INFINITY)] {
        broken.data[patch * 24 + 5] = value;
    }
    engine.distances(&broken, &mut got).unwrap();
    assert_eq!(engine.faulty(), 3);
    for patch in 0..10 {
        let expected = if [0, 4, 9].contains(&patch) { f32::INFINITY } else { want.data[patch] };
        assert_eq!(got.data[patch].to_bits(), expected.to_bits(), "patch {patch}");
    }
    let (mut rows, mut near) = (Vec::new(), Vec::new());
    engine.neighbours(&broken, &mut rows, &mut near).unwrap();
    assert_eq!((rows[0], near[0]), (u32::MAX, f32::INFINITY));
}
