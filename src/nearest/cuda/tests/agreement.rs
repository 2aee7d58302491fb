//! The emulated search against a naive one in double precision.

use std::sync::Arc;

use super::super::card::Card;
use super::super::driver;
use super::super::engine::{DeviceFeatures, Engine, Patches};
use super::super::geometry::Arch;
use super::super::search::CudaSearch;
use super::emulated::{EmulatedCard, Machine};
use crate::bank::{Bank, DataType};
use crate::grid::{Distances, Grid};
use crate::nearest::made_up::{Noise, bank, features};
use crate::nearest::tests::solved::{self, Numbers, PLAIN, Shape, cases, cluster};
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

/// Searches that are small enough for the emulation.
fn small_cases() -> Vec<(&'static str, Shape, Numbers)> {
    let shapes = [
        ("plain", (700, 70, 40, 3)),
        ("odd sizes", (517, 37, 19, 5)),
        ("tiles of patches", (129, 5, 260, 2)),
        ("long parts", (1700, 8, 9, 3)),
        ("the largest k", (300, 33, 9, 16)),
        ("one row", (1, 8, 5, 1)),
        ("one number", (300, 1, 9, 4)),
        ("k = N", (16, 16, 7, 16)),
        ("no patches", (40, 16, 0, 3)),
    ];
    cases(&shapes, (260, 64, 9, 3))
}

fn all_cases(arch: Arch) {
    let machine = Machine::of(arch);
    let mut wrong = Vec::new();
    for (seed, (name, shape, numbers)) in small_cases().into_iter().enumerate() {
        // What the bank stores concerns no product: the ways to multiply need not all be asked of both types.
        let types =
            if [KINDS[0], KINDS[2]].contains(&arch) { numbers.types() } else { &numbers.types()[..1] };
        for data_type in types {
            let solved = numbers.solved(shape, *data_type);
            let mut engine = engine(&machine, solved.k, &solved.bank, seed as u64).unwrap();
            // By codes first where there are tensor cores, and by halves alone.
            for halves in [true, false] {
                // Halves alone are asked once per problem: the emulation takes its time.
                if halves && (!arch.has_tensor_cores() || *data_type != numbers.types()[0]) {
                    continue;
                }
                engine.pause.for_ever = halves;
                let case = format!("{arch}, {name}, {data_type:?}, halves alone: {halves}");
                wrong.extend(solved.differences(&case, &mut engine));
                if name == "plain" {
                    assert_eq!(engine.rescans, 0, "{case}: products order unrelated numbers well enough");
                    assert_eq!(engine.open_tiles, 0, "{case}: codes are good for them");
                }
            }
            assert_eq!(engine.sifted > 0, arch.has_tensor_cores() && !solved.frame.grid.is_empty(), "{name}");
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
    if let Err(why) = driver::find_number(0) {
        skipped("the kernels on a real GPU", &why.to_string());
        return;
    }
    let mut wrong = Vec::new();
    for (name, shape, numbers) in small_cases() {
        let solved = numbers.solved(shape, DataType::F32);
        let mut engine = CudaSearch::open(solved.k, None, &solved.bank).unwrap();
        wrong.extend(solved.differences(name, &mut engine));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn clusters_of_near_duplicates_and_strange_patches_are_measured_whole() {
    let solved = cluster();
    // Codes leave rows open that are too near each other, which costs more measuring and no rescan.
    for (arch, halves, rescans) in [(KINDS[0], false, 14), (KINDS[2], true, 14), (KINDS[2], false, 4)] {
        let mut engine = engine(&Machine::of(arch), 3, &solved.bank, 1).unwrap();
        engine.pause.for_ever = halves;
        assert_eq!(solved.differences("cluster", &mut engine), [""; 0], "{arch}");
        assert!(engine.rescans >= rescans, "{arch}: twice the patches that need it, not {}", engine.rescans);
    }
}

#[test]
fn equal_rows_are_told_apart_by_number() {
    solved::equal_rows_are_told_apart_by_number(|bank| engine(&Machine::of(KINDS[2]), 3, bank, 3).unwrap());
}

#[test]
fn the_schedule_changes_nothing() {
    let solved = PLAIN.solved((517, 37, 19, 5), DataType::F16);
    let mut all = Vec::new();
    for seed in [1, 100, 10_000] {
        let mut engine = engine(&Machine::of(KINDS[2]), 5, &solved.bank, seed).unwrap();
        let (mut rows, mut near) = (Vec::new(), Vec::new());
        engine.neighbours(&solved.frame, &mut rows, &mut near).unwrap();
        all.push((rows, near.iter().map(|d| d.to_bits()).collect::<Vec<_>>()));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn kernels_are_timed_where_that_is_asked_for() {
    let solved = PLAIN.solved((260, 16, 9, 3), DataType::F16);
    let mut engine = engine(&Machine::of(KINDS[2]), 3, &solved.bank, 1).unwrap();
    let mut out = Distances::default();
    engine.distances(&solved.frame, &mut out).unwrap();
    assert_eq!(engine.kernel_ms().unwrap(), []);
    engine.timed = true;
    let started = std::time::Instant::now();
    let first = ["prepare_queries", "encode_queries", "sift", "tighten", "measure", "conclude"];
    for halves in [false, true] {
        engine.pause.for_ever = halves;
        engine.distances(&solved.frame, &mut out).unwrap();
        let times = engine.kernel_ms().unwrap();
        let names: Vec<&str> = times.iter().map(|(name, _)| *name).collect();
        let first = &first[..if halves { 1 } else { 6 }];
        assert_eq!(names, [first, &["propose", "refine", "rescan", "gather"]].concat());
        let sum: f32 = times.iter().map(|(_, ms)| ms).sum();
        assert!(times.iter().all(|(_, ms)| *ms > 0.0) && sum <= started.elapsed().as_secs_f32() * 1e3);
    }
}

#[test]
fn faulty_patches_are_infinite_counted_and_harm_no_other() {
    solved::faulty_patches_harm_no_other(|bank| engine(&Machine::of(KINDS[2]), 3, bank, 4).unwrap());
}

#[test]
fn features_on_the_device_give_what_the_same_on_the_host_give() {
    let mut noise = Noise::new(2);
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
