//! The search against a naive one in double precision.

pub(super) mod solved;

use super::made_up::{Noise, bank, features};
use super::*;
use crate::bank::DataType;
use crate::grid::Grid;
use solved::{Numbers, PLAIN, Solved, cases, cluster};

/// The backends that this machine has, and an engine of each.
fn engines(k: usize, threads: usize, bank: &Arc<Bank>) -> Vec<CpuSearch> {
    let here = Backend::ALL.into_iter().filter(|b| b.resolve().is_ok());
    here.map(|b| CpuSearch::with(b, k, threads, bank).unwrap()).collect()
}

/// What the backends answer otherwise.
fn differences(case: &str, solved: &Solved, threads: usize) -> Vec<String> {
    let engines = engines(solved.k, threads, &solved.bank);
    assert!(!engines.is_empty());
    engines
        .into_iter()
        .flat_map(|mut engine| solved.differences(&format!("{case}, {}", engine.name()), &mut engine))
        .collect()
}

#[test]
fn it_agrees_with_a_naive_search_in_double_precision() {
    let shapes = [
        ("plain", (1500, 384, 70, 3)),
        ("odd sizes", (517, 37, 19, 3)),
        ("more than a block", (33, 5, 1030, 2)),
        ("one row", (1, 8, 5, 1)),
        ("one number", (700, 1, 9, 4)),
        ("k = N", (40, 16, 7, 40)),
        ("no patches", (40, 16, 0, 3)),
    ];
    let mut all = cases(&shapes, (1100, 64, 33, 3));
    all.push(("thin", (2100, 192, 13, 3), Numbers { thin: 0.1, ..PLAIN }));
    let far = Numbers { scale: 2.0, offset: 50.0, near: 1e-2, thin: 0.1 };
    all.push(("thin, far, near", (2100, 208, 13, 5), far));
    let mut wrong = Vec::new();
    for (name, shape, numbers) in all {
        for data_type in numbers.types() {
            let solved = numbers.solved(shape, *data_type);
            for threads in [1, 3] {
                let case = format!("{name}, {data_type:?}, {threads} threads");
                wrong.extend(differences(&case, &solved, threads));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn equal_rows_are_told_apart_by_number() {
    solved::equal_rows_are_told_apart_by_number(|bank| CpuSearch::new(3, 2, bank).unwrap());
}

#[test]
fn clusters_of_near_duplicates_are_searched_exactly() {
    assert_eq!(differences("cluster", &cluster(), 2), [""; 0]);
}

#[test]
fn what_was_seen_before_and_how_many_threads_change_nothing() {
    // Frames that follow each other, a cut, another size, and back.
    let mut noise = Noise::new(11);
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
    let all: Vec<_> = frames.into_iter().map(|frame| Solved::new(Arc::clone(&bank), frame, 3)).collect();
    let mut wrong = Vec::new();
    for threads in [1, 3] {
        for mut engine in engines(3, threads, &bank) {
            for (f, solved) in all.iter().enumerate() {
                let case = format!("frame {f}, {}", engine.name());
                wrong.extend(solved.differences(&case, &mut engine));
                let (mut rows, mut near, mut fresh_rows, mut fresh) = (vec![], vec![], vec![], vec![]);
                engine.neighbours(&solved.frame, &mut rows, &mut near).unwrap();
                let mut other = CpuSearch::with(engine.backend(), 3, 2, &bank).unwrap();
                other.neighbours(&solved.frame, &mut fresh_rows, &mut fresh).unwrap();
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
    let mut wrong = Vec::new();
    for (name, width, thin, whole) in
        [("flat", 192, 1.0, true), ("thin", 192, 0.05, false), ("thin", 384, 0.05, false)]
    {
        let Solved { bank, .. } = Numbers { thin, ..PLAIN }.solved((2500, width, 0, 3), DataType::F16);
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
    solved::faulty_patches_harm_no_other(|bank| CpuSearch::new(3, 2, bank).unwrap());
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
    let search = findings(0);
    assert!(search.iter().any(|f| f.name == "portable") && search.iter().any(|f| f.name == "cuda"));
    assert_eq!(search.iter().filter(|f| f.detail.starts_with("chosen")).count(), 1);
}
