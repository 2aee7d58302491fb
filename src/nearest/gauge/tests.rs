//! Recipes against a naive computation in double precision.

use std::sync::Arc;

use super::*;
use crate::bank::{
    Affine, Affinity, BankContents, Combine, DataType, Extras, FORMAT_WITH_RECIPE, OutlierRows, OutlierUse,
    Recipe, RecipePart, RowsBuf, Step, StepKind, Transform,
};
use crate::grid::Grid;
use crate::identity::ModelIdentity;
use crate::nearest::made_up::{Noise, bank, features};
use crate::nearest::{Device, open};

const WIDTH: usize = 22;
const K: usize = 3;

/// Columns 4..22 of `WIDTH`, as two parts: 11 numbers as they are, 7 divided by their norm and turned to 5. The
/// first four are looked at by nobody. Of the 11 the picture's mean is subtracted.
fn recipe(combine: Combine) -> (Recipe, Vec<Transform>) {
    let part = |name: &str, from, width, stored, steps, baseline| RecipePart {
        name: name.into(),
        from,
        width,
        stored,
        steps,
        baseline,
    };
    let normal = |mean, deviation| Some(Baseline { mean, deviation });
    let mut noise = Noise::new(2);
    let parts = vec![
        part("turned", 15, 7, 5, vec![StepKind::L2, StepKind::Pca(5)], normal(0.5, 0.25)),
        part("bare", 4, 11, 11, vec![StepKind::CenterImage], normal(3.0, 2.0)),
    ];
    let affine = Affine { mean: noise.many(7, 0.1, 0.0), matrix: Some(noise.many(35, 1.0, 0.0)) };
    let turned = Transform { steps: vec![Step::Unit, Step::Affine(affine)] };
    (Recipe::of(parts, combine), vec![turned, Transform { steps: vec![Step::CenterImage] }])
}

/// One vector's parts in double precision; `picture` is its picture's mean.
fn parts(recipe: &Recipe, transforms: &[Transform], picture: &[f64], vector: &[f32]) -> Vec<Vec<f64>> {
    let part = |(part, transform): (&RecipePart, &Transform)| {
        let mut x: Vec<f64> =
            vector[part.from..part.from + part.width].iter().map(|x| f64::from(*x)).collect();
        for step in &transform.steps {
            match step {
                Step::CenterImage => {
                    x.iter_mut().zip(&picture[part.from..]).for_each(|(x, mean)| *x -= mean);
                }
                Step::Unit => {
                    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
                    x.iter_mut().for_each(|x| *x /= norm);
                }
                Step::Affine(Affine { mean, matrix }) => {
                    let matrix = matrix.as_ref().unwrap();
                    let row = |row: &[f32]| {
                        row.iter()
                            .zip(&x)
                            .zip(mean)
                            .map(|((a, x), m)| f64::from(*a) * (x - f64::from(*m)))
                            .sum()
                    };
                    x = matrix.chunks(mean.len()).map(row).collect();
                }
            }
        }
        x
    };
    recipe.parts.iter().zip(transforms).map(part).collect()
}

/// The mean distance of `x` to the nearest `k` of `rows`.
fn naive(x: &[f64], rows: &[Vec<f64>], k: usize) -> f64 {
    let mut all: Vec<f64> =
        rows.iter().map(|row| row.iter().zip(x).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()).collect();
    all.sort_by(f64::total_cmp);
    all[..k].iter().sum::<f64>() / k as f64
}

/// Vectors as they are stored: table after table.
fn stored(combine: Combine, rows: &[Vec<Vec<f64>>]) -> RowsBuf {
    let mut stored = Vec::new();
    match combine {
        Combine::Concat => {
            rows.iter().for_each(|row| stored.extend(row.iter().flatten().map(|x| *x as f32)));
        }
        _ => (0..2).for_each(|p| {
            rows.iter().for_each(|row| stored.extend(row[p].iter().map(|x| *x as f32)));
        }),
    }
    RowsBuf::F32(stored)
}

/// A bank of `raw`, and of `strange` as known outliers.
fn bank_of(recipe: &Recipe, transforms: &[Transform], raw: &[f32], strange: &[f32]) -> Arc<Bank> {
    let all = |raw: &[f32]| -> Vec<Vec<Vec<f64>>> {
        raw.chunks(WIDTH).map(|row| parts(recipe, transforms, &[0.0; WIDTH], row)).collect()
    };
    let plain = Arc::into_inner(bank(DataType::F32, WIDTH, raw)).unwrap().into_contents().unwrap();
    let mut metadata = plain.metadata;
    (metadata.format, metadata.recipe) = (FORMAT_WITH_RECIPE, Some(recipe.clone()));
    let outliers = OutlierRows { rows: stored(recipe.combine, &all(strange)), means: None };
    let extras = Extras { transforms: transforms.to_vec(), outliers: Some(outliers), ..Extras::default() };
    let features = stored(recipe.combine, &all(raw));
    Arc::new(Bank::from_contents(BankContents { features, metadata, extras, ..plain }, K).unwrap())
}

#[test]
fn one_distance_of_several_parts_is_that_of_the_formula() {
    let mut noise = Noise::new(7);
    let (raw, strange) = (noise.many(300 * WIDTH, 1.0, 0.3), noise.many(40 * WIDTH, 1.2, 0.5));
    let frame =
        Features { grid: Grid { rows: 1, cols: 41 }, ..features(WIDTH, noise.many(41 * WIDTH, 1.0, 0.3)) };
    let picture: Vec<f64> = (0..WIDTH)
        .map(|c| frame.data.chunks(WIDTH).map(|patch| f64::from(patch[c])).sum::<f64>() / 41.0)
        .collect();
    let affinity = Some(Affinity { part: 1, temperature: 0.3, radius: 2.0, share: 0.6 });
    let mut cases = Vec::new();
    for combine in [Combine::Concat, Combine::Sum, Combine::Max] {
        cases.push((combine, OutlierUse::Off, None));
        cases.push((combine, OutlierUse::Ratio, None));
        cases.push((combine, OutlierUse::Difference(0.8), affinity));
    }
    for (combine, outliers, affinity) in cases {
        let (plain, transforms) = recipe(combine);
        let recipe = Recipe { outliers, outlier_k: 2, affinity, ..plain };
        let bank = bank_of(&recipe, &transforms, &raw, &strange);
        let each = |raw: &[f32], mean: &[f64]| -> Vec<Vec<Vec<f64>>> {
            raw.chunks(WIDTH).map(|row| parts(&recipe, &transforms, mean, row)).collect()
        };
        let nothing = [0.0; WIDTH];
        let (rows, known, patches) =
            (each(&raw, &nothing), each(&strange, &nothing), each(&frame.data, &picture));
        let only = |all: &[Vec<Vec<f64>>], p: usize| all.iter().map(|row| row[p].clone()).collect::<Vec<_>>();
        let whole = |all: &[Vec<Vec<f64>>]| all.iter().map(|row| row.concat()).collect::<Vec<_>>();
        let score = |x: &[f64], rows: &[Vec<f64>], known: &[Vec<f64>]| {
            let (d, o) = (naive(x, rows, K), naive(x, known, 2));
            match outliers {
                OutlierUse::Off => d,
                OutlierUse::Ratio => d / o,
                OutlierUse::Difference(w) => d - w * o,
            }
        };
        let mut want: Vec<f32> = patches
            .iter()
            .map(|x| {
                let of = |p: usize| score(&x[p], &only(&rows, p), &only(&known, p));
                (match combine {
                    Combine::Concat => score(&x.concat(), &whole(&rows), &whole(&known)),
                    Combine::Sum => of(0) / 0.25 + of(1) / 2.0,
                    Combine::Max => ((of(0) - 0.5) / 0.25).max((of(1) - 3.0) / 2.0),
                }) as f32
            })
            .collect();
        if let Some(how) = &affinity {
            let y: Vec<f32> = patches.iter().flat_map(|x| x[1].iter().map(|x| *x as f32)).collect();
            Smoothing::default().apply(how, frame.grid, &y, (11, 0, 11), &mut want);
        }
        for threads in [1, 3] {
            let config = SearchConfig { k: K, threads, device: Device::Cpu, ..SearchConfig::default() };
            let mut gauge = open(&config, &bank).unwrap().engine;
            let name = gauge.name();
            assert_eq!(name.contains("2 parts"), combine != Combine::Concat, "{name}");
            assert_eq!(name.contains("known outliers"), !outliers.is_off(), "{name}");
            let mut out = Distances::default();
            // The second time it knows the first answer.
            for _ in 0..2 {
                gauge.distances(&frame, &mut out).unwrap();
                for (got, want) in out.data.iter().zip(&want) {
                    let near = (got - want).abs() < 2e-4 * want.abs().max(1.0);
                    assert!(near, "{combine:?}, {outliers}, {affinity:?}: {got} {want}");
                }
            }
            let mut broken = frame.clone();
            broken.data[5 * WIDTH + 20] = f32::NAN;
            broken.data[6 * WIDTH] = f32::NAN;
            gauge.distances(&broken, &mut out).unwrap();
            assert_eq!(out.data[5], f32::INFINITY);
            assert!(out.data[6].is_finite(), "a column that nobody looks at");
            let narrow = features(WIDTH - 1, vec![0.0; WIDTH - 1]);
            let why = gauge.distances(&narrow, &mut out).unwrap_err().to_string();
            assert!(why.contains("21 numbers") && why.contains("rebuild"), "{why}");
        }
    }
}

#[test]
fn the_zero_vector_stays_where_it_is() {
    let (recipe, _) = recipe(Combine::Sum);
    let transforms = vec![Transform { steps: vec![Step::Unit] }, Transform::default()];
    let recipe = Recipe {
        parts: vec![RecipePart { stored: 7, ..recipe.parts[0].clone() }, recipe.parts[1].clone()],
        ..recipe
    };
    let mut projector = Projector::new(&recipe, &transforms, WIDTH);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut vectors = vec![0.0; 2 * WIDTH];
    vectors[WIDTH + 15] = 3.0;
    vectors[WIDTH + 16] = -4.0;
    projector.picture(&vectors, &mut [&mut a, &mut b]);
    assert_eq!(a, [&[0.0; 7][..], &[0.6, -0.8, 0.0, 0.0, 0.0, 0.0, 0.0]].concat());
    assert_eq!(b, [0.0; 22]);
}

/// Without the affinity, a patch's distance depends on its own numbers and on the mean that is taken off alone.
#[test]
fn views_are_centred_by_all_of_their_tiles_and_crops_by_the_picture() {
    use crate::nearest::ViewSearch;
    use crate::views::{Crop, Layout, Tiles, View, ViewsConfig};

    let mut noise = Noise::new(11);
    let raw = noise.many(200 * WIDTH, 1.0, 0.3);
    let (recipe, transforms) = recipe(Combine::Sum);
    let bank = bank_of(&recipe, &transforms, &raw, &raw[..WIDTH]);
    let config = SearchConfig { k: K, threads: 1, device: Device::Cpu, ..SearchConfig::default() };
    let mut gauge = open(&config, &bank).unwrap().engine;
    let grid = |cols| Grid { rows: 1, cols };
    let mut of = |patches: usize, offset| Features {
        grid: grid(patches),
        ..features(WIDTH, noise.many(patches * WIDTH, 1.0, offset))
    };
    let (picture, left, right, crop) = (of(30, 0.3), of(12, 0.0), of(24, 2.0), of(9, -1.0));
    let tiles = View { tiles: Tiles { cols: 2, rows: 1 }, ..View::default() };
    let far = View { crop: Crop([0.2, 0.4, 0.8, 0.6]), ..View::default() };
    let layout = Layout::of(&ViewsConfig { more: vec![tiles, far], ..ViewsConfig::default() }).unwrap();
    let views = [left.clone(), right.clone(), crop.clone()];
    let mut search = ViewSearch::new(&layout);
    let found = search.step(&mut gauge, &picture, &views, &[]).unwrap().to_vec();

    // One picture of both tiles has the mean of all of their patches.
    let both = Features { grid: grid(36), ..features(WIDTH, [&left.data[..], &right.data[..]].concat()) };
    let mut want = Distances::default();
    gauge.distances(&both, &mut want).unwrap();
    let near = |got: &[f32], want: &[f32]| got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4 * b.abs());
    assert!(near(&found[0].data, &want.data[..12]) && near(&found[1].data, &want.data[12..]));
    let mut own = Distances::default();
    gauge.distances(&left, &mut own).unwrap();
    assert!(!near(&found[0].data, &own.data), "the mean of one tile alone is another");
    let mut mean = Vec::new();
    gauge.mean_of(&picture, &mut mean);
    gauge.distances_about(&crop, Some(&mean), &[], &mut want).unwrap();
    assert_eq!(found[2].data[..], want.data[..]);
    // With what each remembers, or with nothing to remember, they are the same.
    let again = search.step(&mut gauge, &picture, &views, &[]).unwrap();
    assert!(again.iter().zip(&found).all(|(again, first)| again.data[..] == first.data[..]));
    assert!(search.step(&mut gauge, &picture, &views[1..], &[]).is_err());
}

/// A patch nearer to what is marked than to the bank is treated as if it lay w times as far, whatever the recipe; and what is
/// marked holds from the next frame on, until it is taken back.
#[test]
fn what_is_marked_as_normal_counts_by_its_nearest_feature() {
    use crate::bank::{Look, Supplement, SupplementConfig, Supplements};

    let mut noise = Noise::new(23);
    let (raw, strange) = (noise.many(200 * WIDTH, 1.0, 0.3), noise.many(40 * WIDTH, 1.2, 0.5));
    let grid = Grid { rows: 1, cols: 41 };
    let frame = Features { grid, ..features(WIDTH, noise.many(41 * WIDTH, 2.0, 0.3)) };
    let (marked, mean) = (noise.many(5 * WIDTH, 2.0, 0.3), noise.many(WIDTH, 0.2, 0.3));
    let mean: Vec<f32> = mean;
    for (combine, outliers) in [
        (Combine::Concat, OutlierUse::Off),
        (Combine::Sum, OutlierUse::Off),
        (Combine::Max, OutlierUse::Ratio),
        (Combine::Sum, OutlierUse::Difference(0.5)),
    ] {
        let (plain, transforms) = recipe(combine);
        let recipe = Recipe { outliers, ..plain };
        let bank = bank_of(&recipe, &transforms, &raw, &strange);
        let config = SearchConfig { k: K, threads: 2, device: Device::Cpu, ..SearchConfig::default() };
        let mut gauge = open(&config, &bank).unwrap().engine;
        let (mut before, mut out) = (Distances::default(), Distances::default());
        gauge.distances(&frame, &mut before).unwrap();
        let supplements = Supplements::open(&SupplementConfig::default()).unwrap();
        gauge.supplement(supplements.clone());
        gauge.distances(&frame, &mut out).unwrap();
        assert_eq!(out.data[..], before.data[..], "nothing is marked");

        let places = (0..5).map(|col| (0, col)).collect();
        // The first and the second are what the frame shows at 3 and 17, centred by the frame's own mean.
        let mut shown = Vec::new();
        gauge.mean_of(&frame, &mut shown);
        let seen = [3, 17].map(|patch| &frame.data[patch * WIDTH..][..WIDTH]).concat();
        let here = Look {
            frame: 1,
            places: vec![(0, 3), (0, 17)],
            features: seen,
            mean: shown.clone(),
            picture: None,
        };
        let there = Look { frame: 2, places, features: marked.clone(), mean: mean.clone(), picture: None };
        let model = &bank.metadata().model;
        let mark = crate::bank::supplement_tests::mark("one");
        supplements.add(Supplement::of(model, mark.clone(), [&here, &there])).unwrap();
        let generation = gauge.supplemented_by();
        gauge.distances(&frame, &mut out).unwrap();
        assert!(gauge.supplemented_by() > generation);

        let f64s = |mean: &[f32]| mean.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let each = |raw: &[f32], mean: &[f32]| -> Vec<Vec<Vec<f64>>> {
            raw.chunks(WIDTH).map(|row| parts(&recipe, &transforms, &f64s(mean), row)).collect()
        };
        let rows = [each(&here.features, &shown), each(&marked, &mean)].concat();
        let known = each(&strange, &[0.0; WIDTH]);
        let patches = each(&frame.data, &shown);
        let part = |all: &[Vec<Vec<f64>>], p: usize| all.iter().map(|row| row[p].clone()).collect::<Vec<_>>();
        let whole = |all: &[Vec<Vec<f64>>]| all.iter().map(|row| row.concat()).collect::<Vec<_>>();
        let (references, apart) = (each(&raw, &[0.0; WIDTH]), combine != Combine::Concat);
        let deviations = if apart { vec![0.25, 2.0] } else { vec![1.0] };
        let tables =
            |all: &[Vec<Vec<f64>>]| if apart { vec![part(all, 0), part(all, 1)] } else { vec![whole(all)] };
        let (marked, references, known) = (tables(&rows), tables(&references), tables(&known));
        let mut lowered = 0;
        for (patch, ((got, before), x)) in out.data.iter().zip(before.data.iter()).zip(&patches).enumerate() {
            let x = if apart { x.clone() } else { vec![x.concat()] };
            let distances = |rows: &[Vec<Vec<f64>>], k| -> Vec<f64> {
                x.iter().zip(rows).map(|(x, rows)| naive(x, rows, k)).collect()
            };
            let (near, far, o) = (distances(&marked, 1), distances(&references, K), distances(&known, 1));
            let sum = |all: &[f64]| all.iter().zip(&deviations).map(|(d, s)| d / s).sum::<f64>();
            let w = (sum(&near) / (0.8 * sum(&far))).min(1.0).powi(3);
            let of = |p: usize| match outliers {
                OutlierUse::Off => w * far[p],
                OutlierUse::Ratio => w * far[p] / o[p],
                OutlierUse::Difference(weight) => w * far[p] - weight * o[p],
            };
            let want = match combine {
                Combine::Concat => of(0),
                Combine::Sum => of(0) / 0.25 + of(1) / 2.0,
                Combine::Max => ((of(0) - 0.5) / 0.25).max((of(1) - 3.0) / 2.0),
            } as f32;
            lowered += usize::from(w < 1.0);
            assert!(
                (got - want).abs() < 1e-3 * want.abs().max(1.0),
                "{combine:?} {outliers} {patch}: {got} {want}"
            );
            assert!(w < 1.0 || got == before, "{combine:?} {outliers} {patch}: {got} {before}");
            assert!(
                ![3, 17].contains(&patch) || got < before,
                "{combine:?} {outliers} {patch}: {got} {before}"
            );
        }
        assert!((2..40).contains(&lowered), "{lowered}");
        // Patches that are not finite stay infinite.
        let mut broken = frame.clone();
        broken.data[5 * WIDTH + 20] = f32::NAN;
        gauge.distances(&broken, &mut out).unwrap();
        assert_eq!(out.data[5], f32::INFINITY);
        // What another model said does not count.
        supplements.remove("one").unwrap();
        let other = ModelIdentity { sha256: "another".into(), ..model.clone() };
        supplements.add(Supplement::of(&other, mark, [&here])).unwrap();
        gauge.distances(&frame, &mut out).unwrap();
        assert_eq!(out.data[..], before.data[..]);
    }
}
