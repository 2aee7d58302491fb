//! Faults planted in the kernels: the emulation must notice each.

use super::super::geometry::Arch;
use super::agreement::{KINDS, engine};
use super::emulated::{Edit, Machine};
use crate::bank::DataType;
use crate::nearest::tests::solved::PLAIN;

/// What the changed kernels give for a small problem, with codes and without: what differs, or the rule they break.
fn verdicts(arch: Arch, edit: Edit<'_>) -> [String; 2] {
    let solved = PLAIN.solved((500, 70, 12, 3), DataType::F16);
    let machine = Machine::build(arch, &[edit]);
    [false, true].map(|halves| match engine(&machine, 3, &solved.bank, 1) {
        Ok(mut engine) => {
            engine.pause.for_ever = halves;
            solved.differences("changed", &mut engine).join("\n")
        }
        Err(why) => why.to_string(),
    })
}

fn assert_noticed(arch: Arch, edit: Edit<'_>, words: &str) {
    let verdicts = verdicts(arch, edit);
    let found = verdicts.iter().filter(|verdict| verdict.contains(words)).count();
    // Both ways multiply tiles.
    let both = arch.has_tensor_cores() && ["tiles.cuh", "product.cuh"].contains(&edit.0);
    assert!(
        found >= if both { 2 } else { 1 },
        "{arch}, {} for {}: expected \"{words}\", found: {verdicts:?}",
        edit.2,
        edit.1
    );
}

#[test]
fn a_missing_barrier_is_noticed() {
    let loop_barrier = "        __syncthreads();\n        if (step + FAROUT_STAGES - 1 < steps) {";
    assert_noticed(
        KINDS[2],
        ("tiles.cuh", loop_barrier, "        if (step + FAROUT_STAGES - 1 < steps) {"),
        "shared memory",
    );
    assert_noticed(
        KINDS[2],
        ("candidates.cuh", "        settle(c, kept);\n        __syncthreads();", "        settle(c, kept);"),
        "race",
    );
    assert_noticed(
        KINDS[1],
        (
            "tiles.cuh",
            "        __syncthreads();\n        if (step + 1 < steps) {",
            "        if (step + 1 < steps) {",
        ),
        "shared memory",
    );
}

#[test]
fn a_missing_meeting_of_a_warp_is_noticed() {
    assert_noticed(KINDS[0], ("candidates.cuh", "        __syncwarp();\n", ""), "race");
}

#[test]
fn a_planted_race_is_noticed() {
    let plain = "const unsigned slot = c.counts[query]; c.counts[query] = slot + 1;";
    assert_noticed(
        KINDS[2],
        ("candidates.cuh", "const unsigned slot = atomicAdd(c.counts + query, 1u);", plain),
        "race",
    );
    let all_groups = "p.rescans[(static_cast<size_t>(first + warp - begin) * RESCAN_SPLITS + blockIdx.x)";
    let one = "p.unproven[0] = 0; p.rescans[(static_cast<size_t>(first + warp - begin) * RESCAN_SPLITS + blockIdx.x)";
    let far = (
        "queries.cu",
        "Fact fact = {0, 0, infinity(), 0, query < p.t ? SEARCHED : ABSENT};",
        "Fact fact = {0, 0, infinity(), 0, query < p.t ? MEASURED : ABSENT};",
    );
    let machine = Machine::build(KINDS[0], &[far, ("rescan.cu", all_groups, one)]);
    let solved = PLAIN.solved((100, 3, 5, 3), DataType::F32);
    let found = solved.differences("changed", &mut engine(&machine, 3, &solved.bank, 1).unwrap());
    assert!(found[0].contains("race on global memory"), "{found:?}");
}

#[test]
fn a_wrong_fragment_index_is_noticed() {
    let matrices = ("product.cuh", "2 * half + (lane >> 4)));", "2 * half + (lane >> 3 & 1)));");
    assert_noticed(KINDS[2], matrices, "instead of");
    assert_noticed(KINDS[1], matrices, "instead of");
    let register = ("product.cuh", "b[n >> 1][2 * (n & 1) + 1]);", "b[n >> 1][2 * (n & 1)]);");
    assert_noticed(KINDS[2], register, "instead of");
    let row =
        ("product.cuh", "8 * n + 2 * (lane_id() & 3) + (i & 1)", "8 * n + (lane_id() & 3) + 4 * (i & 1)");
    assert_noticed(KINDS[2], row, "instead of");
}

#[test]
fn copies_that_are_not_waited_for_are_noticed() {
    let wait = ("tiles.cuh", "copies_wait<FAROUT_STAGES - 2>();", "copies_wait<FAROUT_STAGES - 1>();");
    assert_noticed(KINDS[2], wait, "while a copy to it is under way");
}

#[test]
fn memory_that_is_not_there_is_noticed() {
    assert_noticed(
        KINDS[0],
        ("candidates.cuh", "if (slot >= FAROUT_QUEUE) {", "if (slot >= 100 * FAROUT_QUEUE) {"),
        "memory",
    );
    assert_noticed(
        KINDS[0],
        ("bank.cu", "row < p.padded_n;", "row < p.padded_n + 1;"),
        "global memory is touched",
    );
    assert_noticed(
        KINDS[0],
        ("candidates.cuh", "        c.counts[query] = 0;\n    }\n    for", "    }\n    for"),
        "never written",
    );
}

#[test]
fn a_warp_that_diverges_is_noticed() {
    let lanes = (
        "refine.cu",
        "    const float* plain = p.plain",
        "    if (lane > 7) { return; }\n    const float* plain = p.plain",
    );
    assert_noticed(KINDS[0], lanes, "wait for ever");
}
