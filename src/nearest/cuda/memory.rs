//! Memory of a card for frames; it only grows.

use super::super::device::NoCuda;
use super::card::{Card, Memory};
use super::geometry::{LIST, MOST_NEAR, RESCAN_SPLITS, TILE, WAVE};
use super::problem::{CODE_BYTES, FACT_BYTES, Problem};

/// Counters before the results.
pub(super) const COUNTER_BYTES: usize = 16;
/// Survivors per patch that there is room for, and the fewest that do where memory is short; all patches share the room. Of
/// 100,000 rows 61 to 474 pass per patch (docs/results/search.md).
const SURVIVORS: usize = 1024;
const FEWEST_SURVIVORS: usize = 128;

/// Memory for frames of up to `patches` patches, a multiple of [`TILE`].
#[derive(Default)]
pub(super) struct FrameMemory {
    pub(super) patches: usize,
    pub(super) queries: Memory,
    centred: Memory,
    facts: Memory,
    lists: Memory,
    unproven: Memory,
    rescans: Memory,
    /// Counters, T distances, T x k distances, T x k rows.
    pub(super) results: Memory,
    /// So many survivors there is room for.
    survivors: usize,
    /// What codes need, in the order of `sieve_parts`.
    sieve: [Memory; 8],
}

/// Name and bytes of what the sieve needs for `padded` patches of `coded_c` numbers and so many survivors.
fn sieve_parts(padded: usize, coded_c: usize, survivors: usize) -> [(&'static str, usize); 8] {
    [
        ("the patches' codes", padded * coded_c),
        ("what is known of the codes", padded * CODE_BYTES),
        ("the upper bounds", padded * LIST * 8),
        ("the survivors", survivors * 8),
        ("the survivors' bounds", survivors * 4),
        ("the patches' reaches", padded * 4),
        ("the nearest survivors", padded * MOST_NEAR * 8),
        ("the open tiles", padded / TILE * 4),
    ]
}

impl FrameMemory {
    /// Memory for `padded` patches of `width` numbers in at most `lists` lists.
    ///
    /// # Errors
    /// [`NoCuda`], out of memory above all; then nothing is kept.
    pub(super) fn new(
        card: &mut impl Card,
        (padded, width, lists): (usize, usize, usize),
        problem: &Problem,
    ) -> Result<FrameMemory, NoCuda> {
        let k = problem.k as usize;
        let wanted = [
            ("the patches", padded * width * 4),
            ("the patches' copy for the products", padded * problem.padded_c as usize * 2),
            ("the patches' bounds", padded * FACT_BYTES),
            ("the candidates", lists * LIST * 8),
            ("the patches without proof", padded * 4),
            ("the rescans", padded.min(WAVE) * RESCAN_SPLITS * MOST_NEAR * 8),
            ("the results", COUNTER_BYTES + padded * 4 * (1 + 2 * k)),
        ];
        let mut made = [Memory::default(); 7];
        allocate_all(card, &wanted, &mut made)?;
        let [queries, centred, facts, lists, unproven, rescans, results] = made;
        let mut sieve = [Memory::default(); 8];
        let mut per_patch = if problem.has_codes() { SURVIVORS } else { 0 };
        while per_patch > 0 {
            let wanted = sieve_parts(padded, problem.coded_c as usize, padded * per_patch);
            match allocate_all(card, &wanted, &mut sieve) {
                Ok(()) => break,
                Err(NoCuda::OutOfMemory { .. }) => {
                    sieve = [Memory::default(); 8];
                    per_patch = if per_patch > FEWEST_SURVIVORS { per_patch / 2 } else { 0 };
                    if per_patch == 0 {
                        tracing::info!(
                            "the GPU has no room to sift frames by 8-bit codes; the search is exact all the same, and slower"
                        );
                    }
                }
                Err(why) => {
                    made.iter().for_each(|memory| card.free(*memory));
                    return Err(why);
                }
            }
        }
        Ok(FrameMemory {
            patches: padded,
            queries,
            centred,
            facts,
            lists,
            unproven,
            rescans,
            results,
            survivors: padded * per_patch,
            sieve,
        })
    }

    /// Gives it back.
    pub(super) fn free(self, card: &mut impl Card) {
        let own =
            [self.queries, self.centred, self.facts, self.lists, self.unproven, self.rescans, self.results];
        own.into_iter().chain(self.sieve).for_each(|memory| card.free(memory));
    }

    /// Names it in `problem`, for `count` patches.
    pub(super) fn describe(&self, count: usize, problem: &mut Problem) {
        problem.plain_queries = self.queries.address;
        problem.centred_queries = self.centred.address;
        problem.facts = self.facts.address;
        problem.lists = self.lists.address;
        problem.unproven = self.unproven.address;
        problem.rescans = self.rescans.address;
        problem.counters = self.results.address;
        problem.distances = problem.counters + COUNTER_BYTES as u64;
        problem.near_distances = problem.distances + count as u64 * 4;
        problem.near_rows = problem.near_distances + count as u64 * u64::from(problem.k) * 4;
        let [coded, codes, least, survivors, bounds, reaches, near, open] = self.sieve.map(|m| m.address);
        problem.coded_queries = coded;
        problem.patch_codes = codes;
        problem.least = least;
        problem.survivors = survivors;
        problem.survivor_bounds = bounds;
        problem.survivor_room = u32::try_from(self.survivors).unwrap_or(u32::MAX);
        problem.reaches = reaches;
        problem.near = near;
        problem.open_tiles = open;
    }

    /// Whether there is what codes need.
    pub(super) fn can_sift(&self) -> bool {
        self.open_tiles() != Memory::default()
    }

    /// Which tiles of patches are left open.
    pub(super) fn open_tiles(&self) -> Memory {
        self.sieve[7]
    }
}

/// Allocates all of `wanted`, names and bytes, into `made`, or nothing.
///
/// # Errors
/// [`NoCuda`], out of memory above all.
pub(super) fn allocate_all(
    card: &mut impl Card,
    wanted: &[(&'static str, usize)],
    made: &mut [Memory],
) -> Result<(), NoCuda> {
    for (at, (what, bytes)) in wanted.iter().enumerate() {
        match card.allocate(what, *bytes) {
            Ok(memory) => made[at] = memory,
            Err(why) => {
                // The next frame tries again: nothing may pile up.
                made[..at].iter().for_each(|memory| card.free(*memory));
                return Err(why);
            }
        }
    }
    Ok(())
}
