//! The emulated search against a naive one in double precision.

use std::sync::Arc;

use super::super::card::Card;
use super::super::driver;
use super::super::engine::{DeviceFeatures, Engine, Patches};
use super::super::geometry::Arch;
use super::super::search::CudaSearch;
use super::emulated::{EmulatedCard, Machine};
use crate::bank::{Bank, DataType};
use crate::grid::{Distances, Features, Grid};
use crate::nearest::tests::{Noise, bank, features, naive};
use crate::nearest::{Nearest, NoCuda};
use crate::skipped::skipped;

/// One of each way to multiply: plain, m16n8k8, m16n8k16 with three stages and with four.
pub(super) const KINDS: [Arch; 4] = [Arch::of(61), Arch::of(75), Arch::of(87), Arch::of(89)];

/// An engine on an emulated card of two processors.
pub(super) fn engine(
    machine: &Arc<Machine>,
    k: usize,
    bank: &Arc<Bank>,
    seed: u64,
) -> Result<Engine<EmulatedCard>, NoCuda> {
    Engine::new(EmulatedCard::new(machine, 2, seed), k, bank)
}

/// Compares an engine with the naive search; returns what differs.
pub(super) fn differences(
    case: &str,
    engine: &mut dyn Nearest,
    bank: &Bank,
    frame: &Features,
    k: usize,
) -> Vec<String> {
    let (mut out, mut rows, mut near) = (Distances::default(), Vec::new(), Vec::new());
    let searched =
        engine.distances(frame, &mut out).and_then(|()| engine.neighbours(frame, &mut rows, &mut near));
    if let Err(why) = searched {
        return vec![format!("{case}: {why:#}")];
    }
    let patches = frame.grid.len();
    assert_eq!((out.data.len(), rows.len(), near.len()), (patches, patches * k, patches * k));
    let mut wrong = Vec::new();
    for (p, patch) in frame.data.chunks(bank.width()).enumerate() {
        let all = naive(bank, patch, bank.rows());
        let norm = patch.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * b + 1e-6 * norm;
        let mean = all[..k].iter().map(|t| t.0).sum::<f64>() / k as f64;
        if !close(f64::from(out.data[p]), mean) {
            wrong.push(format!("{case}: patch {p}: {} instead of {mean}", out.data[p]));
        }
        let (rows, near) = (&rows[p * k..(p + 1) * k], &near[p * k..(p + 1) * k]);
        for (i, (row, distance)) in rows.iter().zip(near).enumerate() {
            let truth = all.iter().find(|t| t.1 == *row).map_or(f64::NAN, |t| t.0);
            if !close(f64::from(*distance), all[i].0) || !close(truth, all[i].0) || rows[..i].contains(row) {
                wrong.push(format!(
                    "{case}: patch {p}, neighbour {i}: row {row} at {distance} instead of {:?}",
                    all[i]
                ));
            }
        }
    }
    wrong
}

/// Name, bank rows, width, patches, k, scale and offset of the bank, and how far the patches lie from
/// rows of it (infinite: unrelated numbers).
type Case = (&'static str, usize, usize, usize, usize, f32, f32, f32);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("plain",               700,  70,  40,  3, 1.0,     0.0, f32::INFINITY),
    ("odd sizes",           517,  37,  19,  5, 1.0,     0.0, f32::INFINITY),
    ("tiles of patches",    129,   5, 260,  2, 1.0,     0.0, f32::INFINITY),
    ("long parts",         1700,   8,   9,  3, 1.0,     0.0, f32::INFINITY),
    ("the largest k",       300,  33,   9, 16, 1.0,     0.0, f32::INFINITY),
    ("one row",               1,   8,   5,  1, 1.0,     0.0, f32::INFINITY),
    ("one number",          300,   1,   9,  4, 1.0,     0.0, f32::INFINITY),
    ("k = N",                16,  16,   7, 16, 1.0,     0.0, f32::INFINITY),
    ("no patches",           40,  16,   0,  3, 1.0,     0.0, f32::INFINITY),
    ("far from 0",          260,  64,   9,  3, 1.0,  1000.0, f32::INFINITY),
    ("near and far from 0", 260,  64,   9,  3, 1.0,  1000.0, 1e-2),
    ("very near",           260,  64,   9,  3, 1.0,     0.0, 1e-6),
    ("rows themselves",     260,  64,   9,  3, 1.0,     0.0, 0.0),
    ("large numbers",       140,  48,   9,  3, 1e4,     0.0, f32::INFINITY),
    ("beyond squares",      140,  48,   9,  3, 1e25,    0.0, f32::INFINITY),
    ("beyond halves' scale", 70,  48,   5,  3, 1e35,    0.0, f32::INFINITY),
    ("tiny numbers",        140,  48,   9,  3, 1e-5,    0.0, f32::INFINITY),
    ("below squares",       140,  48,   5,  3, 1e-25,   0.0, f32::INFINITY),
];

fn case(
    &(_, rows, width, patches, _, scale, offset, near): &Case,
    data_type: DataType,
) -> (Arc<Bank>, Features) {
    let mut noise = Noise(rows as u64);
    let bank = bank(data_type, width, &noise.many(rows * width, scale, offset));
    let mut data = noise.many(patches * width, if near.is_finite() { near } else { scale }, offset);
    if near.is_finite() {
        let mut row = vec![0.0; width];
        for (p, patch) in data.chunks_mut(width).enumerate() {
            bank.features().copy_to(p * 7 % rows * width, &mut row);
            patch.iter_mut().zip(&row).for_each(|(x, r)| *x = r + (*x - offset));
        }
    }
    (bank, features(width, data))
}

fn all_cases(arch: Arch) {
    let machine = Machine::of(arch);
    let mut wrong = Vec::new();
    for (number, given) in CASES.iter().enumerate() {
        for data_type in [DataType::F16, DataType::F32] {
            if data_type == DataType::F16 && given.5 > 6e4 {
                continue;
            }
            let (bank, frame) = case(given, data_type);
            let mut engine = engine(&machine, given.4, &bank, number as u64).unwrap();
            let name = format!("{arch}, {}, {data_type:?}", given.0);
            wrong.extend(differences(&name, &mut engine, &bank, &frame, given.4));
            if given.0 == "plain" {
                assert_eq!(engine.rescans, 0, "{name}: products order unrelated numbers well enough");
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn the_plain_kernel_agrees() {
    all_cases(KINDS[0]);
}

#[test]
fn the_turing_kernel_agrees() {
    all_cases(KINDS[1]);
}

#[test]
fn the_ampere_kernel_agrees() {
    all_cases(KINDS[2]);
}

#[test]
fn the_ada_kernel_agrees() {
    all_cases(KINDS[3]);
}

#[test]
fn a_gpu_agrees_where_there_is_one() {
    if let Err(why) = driver::find() {
        skipped("the kernels on a real GPU", &why.to_string());
        return;
    }
    let mut wrong = Vec::new();
    for given in CASES {
        let (bank, frame) = case(given, DataType::F32);
        let mut engine = CudaSearch::open(given.4, None, &bank).unwrap();
        wrong.extend(differences(given.0, &mut engine, &bank, &frame, given.4));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn clusters_of_near_duplicates_and_strange_patches_are_measured_whole() {
    // 300 rows within 1e-3 of one another, far from the mean: the product cannot order them.
    let mut noise = Noise(5);
    let mut data = noise.many(200 * 32, 1.0, 0.0);
    let centre = noise.many(32, 30.0, 0.0);
    for _ in 0..300 {
        data.extend(centre.iter().map(|c| c + noise.next() * 1e-3));
    }
    // Five patches in the cluster (more than a group of the rescan), two too far out for products.
    let mut patches: Vec<f32> =
        (0..5).flat_map(|_| centre.iter().map(|c| c + 1e-4).collect::<Vec<_>>()).collect();
    patches.extend(noise.many(32, 1e20, 0.0));
    patches.extend(noise.many(32, 3e38 / 8.0, 0.0));
    patches.extend(noise.many(32, 1.0, 0.0));
    let bank = bank(DataType::F32, 32, &data);
    let frame = features(32, patches);
    for arch in [KINDS[0], KINDS[2]] {
        let mut engine = engine(&Machine::of(arch), 3, &bank, 1).unwrap();
        assert_eq!(differences("cluster", &mut engine, &bank, &frame, 3), [""; 0], "{arch}");
        assert!(engine.rescans >= 14, "{arch}: twice seven patches, not {}", engine.rescans);
    }
}

#[test]
fn equal_rows_are_told_apart_by_number() {
    let row = [3.0, -1.0, 0.25, 8.0];
    let bank = bank(DataType::F16, 4, &row.repeat(300));
    let frame = features(4, [row, [0.0; 4], [3.0, -1.0, 0.25, 8.001]].concat());
    let mut engine = engine(&Machine::of(KINDS[2]), 3, &bank, 3).unwrap();
    let (mut rows, mut near) = (Vec::new(), Vec::new());
    engine.neighbours(&frame, &mut rows, &mut near).unwrap();
    assert_eq!(rows, [0, 1, 2, 0, 1, 2, 0, 1, 2], "{near:?}");
    assert!(differences("equal", &mut engine, &bank, &frame, 3).is_empty());
}

#[test]
fn the_schedule_changes_nothing() {
    let (bank, frame) = case(&CASES[1], DataType::F16);
    let mut all = Vec::new();
    for seed in [1, 100, 10_000] {
        let mut engine = engine(&Machine::of(KINDS[2]), 5, &bank, seed).unwrap();
        let (mut rows, mut near) = (Vec::new(), Vec::new());
        engine.neighbours(&frame, &mut rows, &mut near).unwrap();
        all.push((rows, near.iter().map(|d| d.to_bits()).collect::<Vec<_>>()));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn faulty_patches_are_infinite_counted_and_harm_no_other() {
    let mut noise = Noise(9);
    let bank = bank(DataType::F16, 24, &noise.many(200 * 24, 1.0, 0.0));
    let clean = features(24, noise.many(10 * 24, 1.0, 0.0));
    let mut engine = engine(&Machine::of(KINDS[2]), 3, &bank, 4).unwrap();
    let (mut want, mut got) = (Distances::default(), Distances::default());
    engine.distances(&clean, &mut want).unwrap();
    let mut broken = clean.clone();
    for (patch, value) in [(0, f32::NAN), (4, f32::INFINITY), (9, f32::NEG_INFINITY)] {
        broken.data[patch * 24 + 5] = value;
    }
    engine.distances(&broken, &mut got).unwrap();
    assert_eq!(Nearest::faulty(&engine), 3);
    for patch in 0..10 {
        let expected = if [0, 4, 9].contains(&patch) { f32::INFINITY } else { want.data[patch] };
        assert_eq!(got.data[patch].to_bits(), expected.to_bits(), "patch {patch}");
    }
    let (mut rows, mut near) = (Vec::new(), Vec::new());
    engine.neighbours(&broken, &mut rows, &mut near).unwrap();
    assert_eq!((rows[0], near[0]), (u32::MAX, f32::INFINITY));
}

#[test]
fn features_on_the_device_give_what_the_same_on_the_host_give() {
    let mut noise = Noise(2);
    let bank = bank(DataType::F16, 20, &noise.many(150 * 20, 1.0, 0.0));
    let halves: Vec<half::f16> = noise.many(11 * 20, 1.0, 0.0).into_iter().map(half::f16::from_f32).collect();
    let plain: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
    let machine = Machine::of(KINDS[2]);
    let mut there = EmulatedCard::new(&machine, 1, 1);
    let mut engine = engine(&machine, 3, &bank, 5).unwrap();
    let mut want = Distances::default();
    engine.distances(&features(20, plain.clone()), &mut want).unwrap();
    let kinds: [(DataType, &[u8]); 2] =
        [(DataType::F16, bytemuck::cast_slice(&halves)), (DataType::F32, bytemuck::cast_slice(&plain))];
    for (data_type, bytes) in kinds {
        let memory = there.allocate("features", bytes.len()).unwrap();
        there.upload(memory, 0, bytes).unwrap();
        let grid = Grid { rows: 1, cols: 11 };
        let mut given = DeviceFeatures { grid, width: 20, data_type, address: memory.address, stream: None };
        // SAFETY: the memory was allocated above and lives on.
        unsafe { engine.search(grid, 20, &Patches::Device(given), false) }.unwrap();
        assert_eq!(engine.means().collect::<Vec<_>>(), *want.data);
        given.address += 1;
        // SAFETY: refused before it is used.
        let why = unsafe { engine.search(grid, 20, &Patches::Device(given), false) }.unwrap_err();
        assert!(why.to_string().contains("aligned"), "{why}");
        there.free(memory);
    }
}

#[test]
fn what_cannot_be_is_an_error_with_its_reason() {
    let bank = bank(DataType::F16, 4, &[0.0; 80]);
    let machine = Machine::of(KINDS[2]);
    let mut search = engine(&machine, 3, &bank, 1).unwrap();
    let why = search.distances(&features(5, vec![0.0; 10]), &mut Distances::default()).unwrap_err();
    assert!(why.to_string().contains("4 wide"), "{why}");
    assert_eq!(engine(&machine, 17, &bank, 1).err(), Some(NoCuda::TooManyNeighbours { k: 17, most: 16 }));

    let mut small = EmulatedCard::new(&machine, 2, 1);
    small.room = 1000;
    let why = Engine::new(small, 3, &bank).err().unwrap().to_string();
    assert!(why.contains("the bank") && why.contains("too little memory"), "{why}");

    // Room for the bank and not for a frame: the second try finds as much as the first.
    let mut small = EmulatedCard::new(&machine, 2, 1);
    small.room = 40_000;
    let mut search = Engine::new(small, 3, &bank).unwrap();
    let mut fails = || search.distances(&features(4, vec![0.0; 8]), &mut Distances::default()).unwrap_err();
    let first = fails().downcast::<NoCuda>().unwrap();
    assert!(matches!(first, NoCuda::OutOfMemory { .. }), "{first}");
    assert_eq!(fails().downcast::<NoCuda>().unwrap(), first);

    let lost = EmulatedCard::new(&machine, 2, 1);
    lost.lost.store(true, std::sync::atomic::Ordering::SeqCst);
    let why = Engine::new(lost, 3, &bank).err().unwrap();
    assert!(matches!(&why, NoCuda::Lost { .. }) && why.to_string().contains("unplugged"), "{why}");
}
