//! Hard problems with known answers, those of the search's own tests and larger ones, asked of the engine at hand.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use farout::bank::{Bank, DataType};
use farout::gpu_stream::GpuStock;
use farout::grid::{Distances, Features};
pub use farout::nearest::Nearest;
use serde_json::json;

use crate::engine::{Engine, Opener};
use crate::tell;

#[path = "../../tests/support/made_up.rs"]
pub mod made_up;
#[path = "../../src/nearest/tests/solved.rs"]
mod solved;

use made_up::{Noise, bank, features};
use solved::{Shape, Solved, cases};

/// Rows, width, patches, k.
const SMALL: [(&str, Shape); 10] = [
    ("plain", (700, 70, 40, 3)),
    ("odd sizes", (517, 37, 19, 5)),
    ("tiles of patches", (129, 5, 260, 2)),
    ("long parts", (1700, 8, 9, 3)),
    ("one patch", (300, 33, 1, 3)),
    ("the largest k", (300, 33, 9, 16)),
    ("k = N", (16, 16, 7, 16)),
    ("one of everything", (1, 1, 1, 1)),
    ("one number", (300, 1, 9, 4)),
    ("no patches", (40, 16, 0, 3)),
];

/// What only a real card gets through.
const LARGE: [(&str, Shape); 8] = [
    ("one patch of many rows", (60_000, 384, 1, 3)),
    ("a wave and a bit", (700, 24, 4100, 3)),
    ("many patches", (300, 16, 9000, 2)),
    ("wide and odd", (2001, 1281, 65, 3)),
    ("large k", (4099, 100, 257, 10)),
    ("the largest k, wide", (5001, 384, 300, 16)),
    ("less than a tile over", (20_001, 768, 129, 3)),
    ("the default recipe's size", (20_000, 128, 1196, 3)),
];

/// Asks everything and prints an answer each; returns how many are wrong.
pub fn answers(on: &Opener, small: bool) -> usize {
    let mut shapes = SMALL.to_vec();
    let mut hard = (260, 64, 9, 3);
    if !small {
        shapes.extend(LARGE);
        hard = (3000, 96, 300, 3);
    }
    let mut wrong = 0;
    for (name, shape, numbers) in cases(&shapes, hard) {
        for data_type in numbers.types() {
            wrong += ask(on, &format!("{name}, {}", words(*data_type)), || numbers.solved(shape, *data_type));
        }
    }
    for (name, solved) in strange(hard) {
        wrong += ask(on, name, || solved);
    }
    let open = |bank: &Arc<Bank>| on.open(bank, 3).unwrap_or_else(|why| panic!("{why:#}"));
    wrong += hold("equal rows by number", || solved::equal_rows_are_told_apart_by_number(open));
    wrong + hold("NaN and infinity", || solved::faulty_patches_harm_no_other(open))
}

fn words(data_type: DataType) -> &'static str {
    match data_type {
        DataType::F16 => "f16",
        DataType::F32 => "f32",
    }
}

/// Problems that rounding, bounds and queues of candidates find hard.
fn strange((rows, width, patches, k): Shape) -> Vec<(&'static str, Solved)> {
    let mut noise = Noise::new(77);
    let mut base = noise.many(rows * width, 1.0, 0.0);
    let plain = |noise: &mut Noise| noise.many(patches * width, 1.0, 0.0);
    let of = |rows: &[f32], queries: Vec<f32>| {
        Solved::new(bank(DataType::F32, width, rows), features(width, queries), k)
    };
    // Every row five times, all but the last bits alike; patches that are such rows.
    let mut alike = Vec::new();
    for row in base.chunks(width).take(rows / 5) {
        for _ in 0..5 {
            alike.extend(row.iter().map(|x| x * (1.0 + 1e-6 * noise.number())));
        }
    }
    let near = alike[..patches * width].to_vec();
    let mut sizes = plain(&mut noise);
    for (p, patch) in sizes.chunks_mut(width).enumerate() {
        patch.iter_mut().for_each(|x| *x *= [1.0, 1e15, 1e-15, 1e30][p % 4]);
    }
    let (mut some_zeros, all_zeros) = (plain(&mut noise), vec![0.0; rows * width]);
    some_zeros[..patches / 2 * width].fill(0.0);
    let mut list = vec![
        ("a cluster of near duplicates, strange patches", solved::cluster()),
        ("near duplicates five by five", of(&alike, near)),
        ("patches of all sizes", of(&base, sizes)),
        ("features of length zero", of(&all_zeros, some_zeros.clone())),
        ("patches of length zero", of(&base, some_zeros)),
        ("all rows the same", of(&vec![1.0; rows * width], plain(&mut noise))),
    ];
    // Each row nearer than the last: every one is a candidate when it comes.
    let length = |row: &[f32]| row.iter().map(|x| f64::from(x * x)).sum::<f64>();
    let mut order: Vec<&[f32]> = base.chunks(width).collect();
    order.sort_by(|a, b| length(b).total_cmp(&length(a)));
    base = order.concat();
    list.push(("each row nearer than the last", of(&base, noise.many(patches * width, 0.01, 0.0))));
    list
}

/// Lets `work` find what is wrong, and prints that.
fn told(name: &str, work: impl FnOnce() -> (serde_json::Value, Vec<String>)) -> usize {
    let started = Instant::now();
    let (mut answer, wrong) = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        (json!({}), vec![text.to_owned()])
    });
    answer["case"] = json!(name);
    answer["seconds"] = json!(started.elapsed().as_secs_f64());
    answer["wrong_count"] = json!(wrong.len());
    answer["wrong"] = json!(wrong[..wrong.len().min(5)]);
    tell(&answer);
    usize::from(!wrong.is_empty())
}

fn hold(name: &str, check: impl FnOnce()) -> usize {
    told(name, || {
        check();
        (json!({}), Vec::new())
    })
}

/// Asks for the answer of one problem, on a card five times in all: the same bits must come, from the host and from the
/// card's memory.
fn ask(on: &Opener, name: &str, solved: impl FnOnce() -> Solved) -> usize {
    told(name, || {
        let solved = solved();
        let (bank, frame) = (&solved.bank, &solved.frame);
        let mut wrong = Vec::new();
        let mut answer = json!({
            "n": bank.rows(), "c": bank.width(), "t": frame.grid.len(), "k": solved.k,
        });
        match on.open(bank, solved.k) {
            Ok(mut engine) => {
                answer["engine"] = json!(engine.name());
                wrong.extend(solved.differences(name, &mut engine));
                wrong.extend(again(&mut engine, frame));
                if let Some((search, _)) = engine.on_gpu() {
                    answer["rescans_per_frame"] = json!(search.rescans() as f64 / 5.0);
                    tell_sifted(&mut answer, search.sifted());
                }
            }
            Err(why) => wrong.push(format!("{why:#}")),
        }
        (answer, wrong)
    })
}

/// What 8-bit codes did, per frame that they sifted.
pub fn tell_sifted(answer: &mut serde_json::Value, (frames, survivors, open_tiles): (u64, u64, u64)) {
    let per_frame = |count: u64| count as f64 / frames.max(1) as f64;
    answer["sifted_frames"] = json!(frames);
    answer["survivors_per_frame"] = json!(per_frame(survivors));
    answer["open_tiles_per_frame"] = json!(per_frame(open_tiles));
}

/// Whether the same frame gives the same bits again, also from the card's memory.
fn again(engine: &mut Engine, frame: &Features) -> Vec<String> {
    let (mut first, mut second) = (Distances::default(), Distances::default());
    let mut differs = |engine: &mut Engine, frame: &Features, how: &str| -> Option<String> {
        if let Err(why) = engine.distances(frame, &mut second) {
            return Some(format!("{how}: {why:#}"));
        }
        if first.grid.is_empty() {
            std::mem::swap(&mut first, &mut second);
            return None;
        }
        let other = first.data.iter().zip(second.data.iter()).filter(|(a, b)| a.to_bits() != b.to_bits());
        let other = other.count() + first.data.len().abs_diff(second.data.len());
        (other > 0).then(|| format!("{other} distances have other bits {how}"))
    };
    let mut wrong = Vec::new();
    wrong.extend(differs(engine, frame, "at first"));
    wrong.extend(differs(engine, frame, "the second time"));
    if let Some(there) = on_card(engine, frame) {
        match there {
            Ok(there) => wrong.extend(differs(engine, &there, "from the card's memory")),
            Err(why) => wrong.push(why),
        }
    }
    wrong
}

/// The same features in the card's memory, where there is a card and any features.
pub fn on_card(engine: &mut Engine, frame: &Features) -> Option<Result<Features, String>> {
    let (_, stream) = engine.on_gpu().filter(|_| !frame.data.is_empty())?;
    let place = || {
        let address = stream.allocate(size_of_val(&frame.data[..]))?;
        // SAFETY: the memory has room for all numbers, which are there before they are copied; it is freed after its
        // last use.
        let numbers = unsafe {
            let copied = stream
                .upload(&frame.data, address)
                .and_then(|()| GpuStock::new(Arc::clone(stream), frame.data.len()).copy_of(address));
            stream.free(address);
            copied?
        };
        Ok(Features { on_gpu: Some(Arc::new(numbers)), data: Default::default(), ..frame.clone() })
    };
    Some(place())
}
