//! The first pass over 8-bit codes: what it rules out, when it gives up, and faults planted in it.

use super::super::engine::Engine;
use super::agreement::{KINDS, engine};
use super::emulated::EmulatedCard;
use super::emulated::{Edit, Machine};
use crate::bank::DataType;
use crate::grid::Distances;
use crate::nearest::Nearest;
use crate::nearest::made_up::{Noise, bank, features};
use crate::nearest::tests::solved::{PLAIN, Solved};

/// Those with tensor cores: m8n8k16, and m16n8k32 with three stages and with four.
const KINDS_WITH_CODES: [usize; 3] = [1, 2, 3];

/// Room for 100 survivors only.
const LITTLE_ROOM: [Edit<'static>; 2] = [
    ("sift.cu", "p.survivor_bounds, p.survivor_room,", "p.survivor_bounds, 100u,"),
    ("survivors.cu", "min(p.counters[SURVIVORS], p.survivor_room)", "min(p.counters[SURVIVORS], 100u)"),
];

fn answers(engine: &mut Engine<EmulatedCard>, solved: &Solved) -> (Vec<u32>, Vec<u32>) {
    let (mut rows, mut near) = (Vec::new(), Vec::new());
    engine.neighbours(&solved.frame, &mut rows, &mut near).unwrap();
    (rows, near.iter().map(|d| d.to_bits()).collect())
}

#[test]
fn codes_and_halves_give_the_same_answers_bit_for_bit() {
    for kind in KINDS_WITH_CODES {
        let types = if kind == 2 { &[DataType::F16, DataType::F32][..] } else { &[DataType::F16] };
        for data_type in types {
            // More than a tile of patches, and more tiles of rows than parts of the bank.
            let solved = PLAIN.solved((900, 40, 130, 3), *data_type);
            let machine = Machine::of(KINDS[kind]);
            let mut with = engine(&machine, 3, &solved.bank, 1).unwrap();
            let mut without = engine(&machine, 3, &solved.bank, 2).unwrap();
            without.pause.for_ever = true;
            assert_eq!(answers(&mut with, &solved), answers(&mut without, &solved), "{}", KINDS[kind]);
            assert_eq!((with.sifted, with.open_tiles, without.sifted), (1, 0, 0));
            // Few of 900 rows: at least the k nearest, and not much more than the bars let through on the way.
            let per_patch = with.survivors / 130;
            assert!((3..200).contains(&per_patch), "{}: {per_patch} survivors per patch", KINDS[kind]);
        }
    }
    let solved = PLAIN.solved((300, 70, 9, 3), DataType::F16);
    let mut plain = engine(&Machine::of(KINDS[0]), 3, &solved.bank, 1).unwrap();
    answers(&mut plain, &solved);
    assert_eq!((plain.sifted, plain.survivors), (0, 0), "without tensor cores there are no codes");
}

#[test]
fn codes_that_do_not_fit_shared_memory_come_step_by_step() {
    let solved = PLAIN.solved((100, 520, 3, 3), DataType::F16);
    for kind in KINDS_WITH_CODES {
        let mut engine = engine(&Machine::of(KINDS[kind]), 3, &solved.bank, 1).unwrap();
        engine.timed = true;
        assert_eq!(solved.differences("wide", &mut engine), [""; 0], "{}", KINDS[kind]);
        let names: Vec<_> = engine.kernel_ms().unwrap().into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"sift_wide"), "{names:?}");
    }
}

#[test]
fn patches_far_out_and_a_lack_of_room_leave_tiles_to_the_halves() {
    let mut noise = Noise::new(11);
    let bank = bank(DataType::F16, 70, &noise.many(400 * 70, 1.0, 0.0));
    let near = noise.many(260 * 70, 1.0, 0.0);
    let mut far = near.clone();
    far[130 * 70..131 * 70].iter_mut().for_each(|x| *x *= 50.0);
    for (edits, data, open) in [(&[][..], &near, 0), (&[], &far, 1), (&LITTLE_ROOM, &near, 3)] {
        let machine = if edits.is_empty() { Machine::of(KINDS[2]) } else { Machine::build(KINDS[2], edits) };
        let solved = Solved::new(std::sync::Arc::clone(&bank), features(70, data.clone()), 3);
        let mut engine = engine(&machine, 3, &bank, 1).unwrap();
        assert_eq!(solved.differences("left open", &mut engine), [""; 0]);
        let sifted = engine.sifted;
        assert_eq!((engine.open_tiles, sifted), (open * sifted, if open == 3 { 1 } else { 2 }));
    }
}

#[test]
fn a_bank_for_whose_codes_there_is_no_room_is_searched_by_halves() {
    let solved = PLAIN.solved((500, 70, 5, 3), DataType::F32);
    let machine = Machine::of(KINDS[2]);
    let open = |room: usize| {
        let mut card = EmulatedCard::new(&machine, 2, 1);
        card.room = room;
        Engine::new(card, 3, &solved.bank)
    };
    // Rows, their halves and norms, the mean, their extremes.
    let bank = 500 * 70 * 4 + 512 * (96 * 2 + 4) + 70 * 4 + 16;
    assert!(open(bank - 1).is_err() && open(bank).is_ok(), "the bank is opened without its codes");
    // Room for all, for the fewest survivors, for none; and for a frame, if the bank's codes go.
    for (more, codes) in [(3_000_000, true), (1_400_000, true), (900_000, false), (820_000, false)] {
        let mut engine = open(bank + more).unwrap();
        assert_eq!(solved.differences("little memory", &mut engine), [""; 0], "{more}");
        assert_eq!(engine.sifted > 0, codes, "{more}");
    }
}

/// What the changed kernels say of a problem in which all of the sieve is used: a block gathers few survivors at once.
fn verdict(edits: &[Edit<'_>]) -> String {
    let solved = PLAIN.solved((500, 70, 20, 3), DataType::F16);
    let edits = [edits, &[("sift.cu", "GATHERED = 1024;", "GATHERED = 16;")]].concat();
    let mut engine = engine(&Machine::build(KINDS[2], &edits), 3, &solved.bank, 1).unwrap();
    let mut out = Distances::default();
    match engine.distances(&solved.frame, &mut out) {
        Ok(()) => solved.differences("changed", &mut engine).join("\n"),
        Err(why) => format!("{why:#}"),
    }
}

#[test]
fn faults_planted_in_the_first_pass_are_noticed() {
    let planted: [(&str, &[Edit<'_>]); 10] = [
        // Barriers.
        (
            "race",
            &[("sift.cu", "rows, first_query);\n                __syncthreads();", "rows, first_query);")],
        ),
        (
            "race",
            &[(
                "sift.cu",
                "        hand_on(s, kept_of(p));\n        __syncthreads();",
                "        hand_on(s, kept_of(p));",
            )],
        ),
        (
            "shared memory",
            &[(
                "sift.cu",
                "        *s.place = atomicAdd(kept.count, count);\n    }\n    __syncthreads();",
                "        *s.place = atomicAdd(kept.count, count);\n    }",
            )],
        ),
        // Atomic operations that are none.
        (
            "race",
            &[(
                "sift.cu",
                "const unsigned slot = atomicAdd(s.count, 1u);",
                "const unsigned slot = *s.count; *s.count = slot + 1;",
            )],
        ),
        ("race", &[("sift.cu", "atomicMin(set, entry);", "*set = entry;")]),
        (
            "race",
            &[(
                "survivors.cu",
                "const u64 before = atomicMin(near + i, entry);",
                "const u64 before = near[i]; near[i] = before < entry ? before : entry;",
            )],
        ),
        // Bounds that prove nothing.
        (
            "instead of",
            &[(
                "codes.cuh",
                "const float reach = distance + patch.slack,",
                "const float reach = distance * 0.9f,",
            )],
        ),
        (
            "instead of",
            &[("codes.cuh", "return {-2 * patch.scale, -2 * reach,", "return {-patch.scale, -2 * reach,")],
        ),
        (
            "instead of",
            &[(
                "survivors.cu",
                "p.survivor_bounds[at] <= p.reaches",
                "p.survivor_bounds[at] * 1.2f <= p.reaches",
            )],
        ),
        // Places of rows and of lists.
        (
            "instead of",
            &[
                (
                    "codes.cu",
                    "const unsigned row = at % TILE * tiles + at / TILE;",
                    "const unsigned row = at;\n        (void)tiles;",
                ),
                ("codes.cu", "made.slack, row};", "made.slack, row ^ 1};"),
            ],
        ),
    ];
    for (words, edits) in planted {
        let verdict = verdict(edits);
        assert!(verdict.contains(words), "{}: expected \"{words}\", found: {verdict}", edits[0].2);
    }
}
