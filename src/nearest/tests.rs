//! The search against a naive one in double precision.

use super::*;
use crate::bank::{BankContents, BuildRecord, DataType, Extras, FORMAT, Metadata, Origin, RowsBuf};
use crate::grid::Grid;
use crate::identity::ModelIdentity;
use crate::pool::Pooled;

/// A bank of the given rows, for searching only.
pub(super) fn bank(data_type: DataType, width: usize, data: &[f32]) -> Arc<Bank> {
    let mut features = RowsBuf::new(data_type);
    for (i, row) in data.chunks(width).enumerate() {
        features.set(i, row);
    }
    let model = ModelIdentity {
        sha256: String::new(),
        features: String::new(),
        patch: 8,
        input_size: String::new(),
        normalisation: String::new(),
        name: String::new(),
        parts: Vec::new(),
        width,
    };
    let metadata = Metadata {
        format: FORMAT,
        farout: String::new(),
        model,
        build: BuildRecord::default(),
        recipe: None,
        calibration: None,
        sources: Vec::new(),
    };
    let origins = vec![Origin { source: 0, frame: 0, row: 0, col: 0 }; data.len() / width];
    Arc::new(
        Bank::from_contents(BankContents { features, origins, metadata, extras: Extras::default() }, 1)
            .unwrap(),
    )
}

pub(super) fn features(width: usize, data: Vec<f32>) -> Features {
    let grid = Grid { rows: 1, cols: data.len() / width };
    Features { grid, width, data: Pooled::unpooled(data), on_gpu: None }
}

/// Numbers around 0 with deviation about 1, the same on every machine.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn next(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (self.0 >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum * 1.73
    }

    pub(super) fn many(&mut self, n: usize, scale: f32, offset: f32) -> Vec<f32> {
        (0..n).map(|_| self.next() * scale + offset).collect()
    }
}

pub(super) fn naive(bank: &Bank, patch: &[f32], k: usize) -> Vec<(f64, u32)> {
    let mut row = vec![0.0; bank.width()];
    let mut all: Vec<(f64, u32)> = (0..bank.rows())
        .map(|r| {
            bank.features().copy_to(r * bank.width(), &mut row);
            let square: f64 =
                patch.iter().zip(&row).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            (square.sqrt(), r as u32)
        })
        .collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all.truncate(k);
    all
}

/// The backends that this machine has, and an engine of each.
fn engines(k: usize, threads: usize, bank: &Arc<Bank>) -> Vec<CpuSearch> {
    let here = Backend::ALL.into_iter().filter(|b| b.resolve().is_ok());
    here.map(|b| CpuSearch::with(b, k, threads, bank).unwrap()).collect()
}

/// Compares every backend with the naive search; returns what differs.
fn differences(case: &str, bank: &Arc<Bank>, frame: &Features, k: usize, threads: usize) -> Vec<String> {
    let truth: Vec<_> = frame.data.chunks(bank.width()).map(|patch| naive(bank, patch, k)).collect();
    let engines = engines(k, threads, bank);
    assert!(!engines.is_empty());
    engines
        .into_iter()
        .flat_map(|mut engine| {
            let case = format!("{case}, {}", engine.name());
            different(&case, &mut engine, bank, frame, &truth)
        })
        .collect()
}

/// Compares an engine with the truth; returns what differs.
fn different(
    case: &str,
    engine: &mut dyn Nearest,
    bank: &Bank,
    frame: &Features,
    truth: &[Vec<(f64, u32)>],
) -> Vec<String> {
    let k = truth.first().map_or(0, Vec::len);
    let (mut out, mut rows, mut near) = (Distances::default(), Vec::new(), Vec::new());
    engine.distances(frame, &mut out).unwrap();
    // The second time it knows the first answer.
    engine.neighbours(frame, &mut rows, &mut near).unwrap();
    if frame.grid.is_empty() {
        assert!(out.data.is_empty() && rows.is_empty() && near.is_empty());
    }
    assert_eq!(
        (out.data.len(), rows.len(), near.len()),
        (frame.grid.len(), frame.grid.len() * k, frame.grid.len() * k)
    );
    let mut wrong = Vec::new();
    for (p, patch) in frame.data.chunks(bank.width()).enumerate() {
        let truth = &truth[p];
        let mean = truth.iter().map(|t| t.0).sum::<f64>() / k as f64;
        let norm = patch.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * b + 1e-6 * norm;
        if !close(f64::from(out.data[p]), mean) {
            wrong.push(format!("{case}: patch {p}: {} instead of {mean}", out.data[p]));
        }
        for (i, (distance, row)) in truth.iter().enumerate() {
            // Distances here are exact up to the last bits: rows differ only where those do.
            if rows[p * k + i] != *row && (f64::from(near[p * k + i]) - distance).abs() > 1e-6 * distance {
                wrong.push(format!(
                    "{case}: patch {p}, neighbour {i}: row {} instead of {row}",
                    rows[p * k + i]
                ));
            }
            if !close(f64::from(near[p * k + i]), *distance) {
                wrong.push(format!(
                    "{case}: patch {p}, neighbour {i}: {} instead of {distance}",
                    near[p * k + i]
                ));
            }
        }
    }
    wrong
}

/// Name, bank rows, width, patches, k, scale and offset of the bank, and how far the patches lie from
/// rows of it (infinite: unrelated numbers).
type Case = (&'static str, usize, usize, usize, usize, f32, f32, f32);

#[test]
fn it_agrees_with_a_naive_search_in_double_precision() {
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("plain",              1500, 384,  70, 3, 1.0,     0.0, f32::INFINITY),
        ("odd sizes",           517,  37,  19, 3, 1.0,     0.0, f32::INFINITY),
        ("more than a block",    33,   5, 1030, 2, 1.0,    0.0, f32::INFINITY),
        ("one row",               1,   8,   5, 1, 1.0,     0.0, f32::INFINITY),
        ("one number",          700,   1,   9, 4, 1.0,     0.0, f32::INFINITY),
        ("k = N",                40,  16,   7, 40, 1.0,    0.0, f32::INFINITY),
        ("no patches",           40,  16,   0, 3, 1.0,     0.0, f32::INFINITY),
        ("far from 0",         1100,  64,  33, 3, 1.0,  1000.0, f32::INFINITY),
        ("near and far from 0",1100,  64,  33, 3, 1.0,  1000.0, 1e-2),
        ("very near",          1100,  64,  33, 3, 1.0,     0.0, 1e-6),
        ("rows themselves",    1100,  64,  33, 3, 1.0,     0.0, 0.0),
        ("large numbers",       600,  48,  20, 3, 1e4,     0.0, f32::INFINITY),
        ("beyond squares",      100,  48,  20, 3, 1e25,    0.0, f32::INFINITY),
        ("thin",               2100, 192,  13, 3, 1.0,     0.0, f32::INFINITY),
        ("thin, far, near",    2100, 208,  13, 5, 2.0,    50.0, 1e-2),
        ("tiny numbers",        600,  48,  20, 3, 1e-5,    0.0, f32::INFINITY),
    ];
    let mut wrong = Vec::new();
    for &(name, rows, width, patches, k, scale, offset, near) in cases {
        for data_type in [DataType::F16, DataType::F32] {
            if data_type == DataType::F16 && scale > 6e4 {
                continue;
            }
            let mut noise = Noise(rows as u64);
            let mut stored = noise.many(rows * width, scale, offset);
            let mut data = noise.many(patches * width, if near.is_finite() { near } else { scale }, offset);
            if name.starts_with("thin") {
                // All numbers but the first few of each 24 nearly vanish, which a rotation can use.
                for row in stored.chunks_mut(24).chain(data.chunks_mut(24)) {
                    row[3..].iter_mut().for_each(|x| *x = (*x - offset) * 0.1 + offset);
                }
            }
            let bank = bank(data_type, width, &stored);
            if near.is_finite() {
                let mut row = vec![0.0; width];
                for (p, patch) in data.chunks_mut(width).enumerate() {
                    bank.features().copy_to(p * 7 % rows * width, &mut row);
                    patch.iter_mut().zip(&row).for_each(|(x, r)| *x = r + (*x - offset));
                }
            }
            let frame = features(width, data);
            for threads in [1, 3] {
                wrong.extend(differences(
                    &format!("{name}, {data_type:?}, {threads} threads"),
                    &bank,
                    &frame,
                    k,
                    threads,
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn equal_rows_are_told_apart_by_number() {
    let row = [3.0, -1.0, 0.25, 8.0];
    let bank = bank(DataType::F16, 4, &row.repeat(700));
    for data in [row.to_vec(), vec![0.0; 4], vec![3.0, -1.0, 0.25, 8.001]] {
        let frame = features(4, data);
        let mut engine = CpuSearch::new(3, 2, &bank).unwrap();
        let (mut rows, mut near) = (Vec::new(), Vec::new());
        engine.neighbours(&frame, &mut rows, &mut near).unwrap();
        assert_eq!(rows, [0, 1, 2], "{near:?}");
        assert!(differences("equal", &bank, &frame, 3, 2).is_empty());
    }
}

#[test]
fn clusters_of_near_duplicates_are_searched_exactly() {
    // 300 rows within 1e-3 of one another, far from the mean: the product cannot order them.
    let mut noise = Noise(5);
    let mut data = noise.many(400 * 32, 1.0, 0.0);
    let centre = noise.many(32, 30.0, 0.0);
    for _ in 0..300 {
        data.extend(centre.iter().map(|c| c + noise.next() * 1e-3));
    }
    let bank = bank(DataType::F32, 32, &data);
    let frame = features(32, centre.iter().chain(&centre).map(|c| c + 1e-4).collect());
    assert_eq!(differences("cluster", &bank, &frame, 3, 2), [""; 0]);
}

#[test]
fn what_was_seen_before_and_how_many_threads_change_nothing() {
    // Frames that follow each other, a cut, another size, and back.
    let mut noise = Noise(11);
    let bank = bank(DataType::F16, 64, &noise.many(1500 * 64, 1.0, 0.0));
    let still = noise.many(48 * 64, 1.0, 0.0);
    let mut frames: Vec<Features> = (0..3)
        .map(|_| {
            let moved = still.iter().zip(noise.many(48 * 64, 0.1, 0.0)).map(|(x, n)| x + n).collect();
            Features { grid: Grid { rows: 6, cols: 8 }, ..features(64, moved) }
        })
        .collect();
    frames.push(Features { grid: Grid { rows: 6, cols: 8 }, ..features(64, noise.many(48 * 64, 1.0, 0.0)) });
    frames.push(features(64, noise.many(5 * 64, 1.0, 0.0)));
    frames.push(features(64, Vec::new()));
    frames.push(frames[0].clone());
    let mut wrong = Vec::new();
    for threads in [1, 3] {
        for mut engine in engines(3, threads, &bank) {
            for (f, frame) in frames.iter().enumerate() {
                let truth: Vec<_> = frame.data.chunks(64).map(|patch| naive(&bank, patch, 3)).collect();
                let case = format!("frame {f}, {}", engine.name());
                wrong.extend(different(&case, &mut engine, &bank, frame, &truth));
                let (mut rows, mut near, mut fresh_rows, mut fresh) = (vec![], vec![], vec![], vec![]);
                engine.neighbours(frame, &mut rows, &mut near).unwrap();
                let mut other = CpuSearch::with(engine.backend(), 3, 2, &bank).unwrap();
                other.neighbours(frame, &mut fresh_rows, &mut fresh).unwrap();
                if rows != fresh_rows || near != fresh {
                    wrong.push(format!("{case}: not the answer of a fresh search"));
                }
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_rotation_is_used_where_it_helps_and_the_codes_stay_small() {
    let mut noise = Noise(4);
    let mut wrong = Vec::new();
    for (name, width, thin, whole) in
        [("flat", 192, 1.0, true), ("thin", 192, 0.05, false), ("thin", 384, 0.05, false)]
    {
        let mut stored = noise.many(2500 * width, 1.0, 0.0);
        stored.chunks_mut(24).for_each(|row| row[3..].iter_mut().for_each(|x| *x *= thin));
        let bank = bank(DataType::F16, width, &stored);
        for engine in engines(3, 1, &bank) {
            let (head, all) = engine.head();
            // With AMX products cost so little that a head need not pay, in plain Rust so much that it always may.
            let clear = match engine.backend() {
                Backend::AmxInt8 => whole,
                Backend::Portable => !whole,
                _ => true,
            };
            if clear && (head == all) != whole {
                wrong.push(format!("{name}, {width} wide, {}: a head of {head}", engine.name()));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_backend_that_is_not_here_is_refused_with_the_key() {
    let bank = bank(DataType::F16, 4, &[0.0; 40]);
    let foreign = if cfg!(target_arch = "x86_64") { Backend::NeonDotprod } else { Backend::Avx2 };
    let config = SearchConfig { device: Device::Cpu, backend: foreign, ..SearchConfig::default() };
    let err = open(&config, &bank).err().unwrap().to_string();
    assert!(err.contains("search.backend") && err.contains(foreign.name()), "{err}");
    for backend in Backend::ALL {
        assert_eq!(serde_json::to_value(backend).unwrap(), backend.name());
    }
}

#[test]
fn faulty_patches_are_infinite_counted_and_harm_no_other() {
    let mut noise = Noise(9);
    let bank = bank(DataType::F16, 24, &noise.many(600 * 24, 1.0, 0.0));
    let clean = features(24, noise.many(10 * 24, 1.0, 0.0));
    let mut engine = CpuSearch::new(3, 2, &bank).unwrap();
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
        assert_eq!(got.data[patch], expected, "patch {patch}");
    }
    let (mut rows, mut near) = (Vec::new(), Vec::new());
    engine.neighbours(&broken, &mut rows, &mut near).unwrap();
    assert_eq!((rows[0], near[0]), (u32::MAX, f32::INFINITY));
}

#[test]
fn a_wrong_width_is_an_error() {
    let bank = bank(DataType::F16, 4, &[0.0; 40]);
    let mut engine = CpuSearch::new(3, 1, &bank).unwrap();
    let err = engine.distances(&features(5, vec![0.0; 10]), &mut Distances::default()).unwrap_err();
    assert!(err.to_string().contains("4 wide"), "{err}");
}

#[test]
fn opening_chooses_and_says_why() {
    let bank = bank(DataType::F16, 4, &[0.0; 40]);
    let config = SearchConfig { device: Device::Cpu, ..SearchConfig::default() };
    assert!(open(&config, &bank).unwrap().fallback.is_none());
    let gpu = cuda::CudaSearch::open(3, None, &bank).is_ok();
    assert_eq!(open(&SearchConfig::default(), &bank).unwrap().fallback.is_none(), gpu);
    let insist = SearchConfig { device: Device::Cuda, ..SearchConfig::default() };
    let err = open(&insist, &bank).err().map(|e| e.to_string());
    assert!(err.as_ref().is_none_or(|err| err.contains("search.device")) && err.is_none() == gpu, "{err:?}");
    assert!(matches!(
        open(&SearchConfig { k: 11, ..config }, &bank),
        Err(SearchError::Neighbours { k: 11, rows: 10 })
    ));
    let search = findings();
    assert!(search.iter().any(|f| f.name == "portable") && search.iter().any(|f| f.name == "cuda"));
    assert_eq!(search.iter().filter(|f| f.detail.starts_with("chosen")).count(), 1);
}
