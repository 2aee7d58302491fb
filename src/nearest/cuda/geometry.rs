//! The measures of the kernels for each architecture: what the compiler is told and what a launch
//! assumes, in one place.

use std::fmt;

/// Queries and rows per tile, `TILE` of kernels/problem.cuh.
pub(super) const TILE: usize = 128;
/// Bytes of a row in a step of the product, `STEP_WIDTH` of kernels/product.cuh.
pub(super) const STEP_WIDTH: usize = 64;
/// Survivors that a block gathers, `GATHERED` of kernels/sift.cu.
const GATHERED: usize = 1024;
/// Threads of every block, `THREADS`.
pub(super) const THREADS: usize = 256;
/// Patches or rows of a block that gives each a warp.
pub(super) const WARPS: usize = THREADS / 32;
/// Entries per list, `LIST`.
pub(super) const LIST: usize = 32;
/// The largest k, `MOST_NEAR`.
pub(super) const MOST_NEAR: usize = 16;
/// Patches per launch of `rescan`, `WAVE`.
pub(super) const WAVE: usize = 4096;
/// `RESCAN_SPLITS`.
pub(super) const RESCAN_SPLITS: usize = 32;
/// Dynamic shared memory of `rescan`: a list per warp and patch of a group of 4.
pub(super) const RESCAN_BYTES: usize = WARPS * 4 * LIST * 8;

/// A compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arch {
    /// E.g. 8 of 8.7.
    pub major: u32,
    /// E.g. 7 of 8.7.
    pub minor: u32,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}", self.major, self.minor)
    }
}

impl std::str::FromStr for Arch {
    type Err = String;

    /// Reads `sm_87`, `87` or `8.7`.
    fn from_str(text: &str) -> Result<Arch, String> {
        let digits = text.trim_start_matches("sm_").replace('.', "");
        match digits.parse::<u32>() {
            Ok(number) if (50..1000).contains(&number) => Ok(Arch::of(number)),
            _ => Err(format!("\"{text}\" is no architecture; name it like sm_87")),
        }
    }
}

/// How the kernels are cut for an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Steps of a tile in shared memory at once, `FAROUT_STAGES`.
    pub stages: usize,
    /// Entries that a query's queue has room for, `FAROUT_QUEUE`.
    pub queue: usize,
    /// Blocks of `propose` and `sift` per processor, `FAROUT_BLOCKS`.
    pub blocks: usize,
    /// Bytes of shared memory that each of them may have.
    pub shared_per_block: usize,
}

impl Arch {
    /// Those that ready code is made for when none is named: GPUs from Turing on.
    pub const USUAL: [Arch; 6] =
        [Arch::of(75), Arch::of(80), Arch::of(86), Arch::of(87), Arch::of(89), Arch::of(90)];

    /// From 10 x major + minor.
    pub const fn of(number: u32) -> Arch {
        Arch { major: number / 10, minor: number % 10 }
    }

    /// 10 x major + minor.
    pub const fn number(self) -> u32 {
        self.major * 10 + self.minor
    }

    /// Whether the products run on tensor cores.
    pub fn has_tensor_cores(self) -> bool {
        self.number() >= 75
    }

    /// The measures for it. Shared memory decides: 48 KiB per block before 7.5, 63 at 7.5, 99 at 8.6, 8.9, 11.x and 12.x; per
    /// processor, of which the system takes 1 KiB for each block, 164 KiB at 8.0 and 8.7, 228 at 9.0 and 10.x.
    pub(super) fn geometry(self) -> Geometry {
        let (stages, queue, blocks, shared) = match self.number() {
            0..75 => (2, 12, 1, 48),
            75..80 => (2, 24, 1, 63),
            86 | 89 | 110.. => (4, 24, 1, 99),
            90..110 => (3, 24, 2, 228 / 2 - 1),
            _ => (3, 24, 2, 164 / 2 - 1),
        };
        Geometry { stages, queue, blocks, shared_per_block: shared << 10 }
    }

    /// The macros that the kernels need.
    pub(super) fn macros(self) -> [String; 4] {
        let Geometry { stages, queue, blocks, .. } = self.geometry();
        [
            format!("-DFAROUT_ARCH={}", self.number() * 10),
            format!("-DFAROUT_STAGES={stages}"),
            format!("-DFAROUT_QUEUE={queue}"),
            format!("-DFAROUT_BLOCKS={blocks}"),
        ]
    }
}

impl Geometry {
    /// Shared memory for the steps of the tiles.
    fn stage_bytes(self) -> usize {
        self.stages * 2 * TILE * STEP_WIDTH
    }

    /// Dynamic shared memory of `propose`: the stages, then queues, limits, bars, factors and counts.
    pub(super) fn propose_bytes(self) -> usize {
        self.stage_bytes() + TILE * (self.queue * 8 + 8 + 4 + 4 + 4)
    }

    /// Dynamic shared memory of `sift` for codes of `coded_c` numbers: what is gathered, bars, count and place behind the
    /// steps of the tiles, and whether the patches' codes stay there. They do where as many blocks fit as without: that
    /// halves what comes from the L2 cache. A block of the card may have `limit` bytes.
    pub(super) fn sift_bytes(self, coded_c: usize, limit: usize) -> (usize, bool) {
        let sieve = GATHERED * (8 + 4) + TILE * 12 + 16;
        let staying = TILE * coded_c + self.stages * TILE * STEP_WIDTH + sieve;
        match staying <= self.most_sift_bytes(limit) {
            true => (staying, true),
            false => (self.stage_bytes() + sieve, false),
        }
    }

    /// The most that `sift` may need on a card that gives a block no more than `limit`.
    pub(super) fn most_sift_bytes(self, limit: usize) -> usize {
        self.shared_per_block.min(limit)
    }

    /// In how many parts the bank is searched, and tiles of rows per part, so that a few tiles of
    /// queries fill all `processors` of a card, at once and evenly.
    pub(super) fn split(self, processors: usize, query_tiles: usize, row_tiles: usize) -> (usize, usize) {
        let places = processors.max(1) * self.blocks;
        let splits = (places / query_tiles.max(1)).clamp(1, row_tiles.max(1));
        let tiles = row_tiles.div_ceil(splits).max(1);
        (row_tiles.div_ceil(tiles).max(1), tiles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_read_and_told() {
        for text in ["sm_87", "87", "8.7"] {
            assert_eq!(text.parse::<Arch>().unwrap(), Arch { major: 8, minor: 7 });
        }
        assert_eq!("12.0".parse::<Arch>().unwrap().to_string(), "sm_120");
        for text in ["", "sm_", "turing", "7", "99999"] {
            assert!(text.parse::<Arch>().unwrap_err().contains("sm_87"), "{text}");
        }
    }

    #[test]
    fn codes_stay_in_shared_memory_where_that_costs_no_block() {
        for (arch, stays, does_not) in [(75, 256, 320), (87, 320, 384), (89, 384, 448), (90, 512, 640)] {
            let geometry = Arch::of(arch).geometry();
            for (coded_c, stay) in [(64, true), (stays, true), (does_not, false), (4096, false)] {
                let (bytes, found) = geometry.sift_bytes(coded_c, usize::MAX);
                assert_eq!(found, stay, "sm_{arch}, {coded_c}: {bytes}");
                assert!(bytes <= geometry.shared_per_block);
            }
        }
    }

    #[test]
    fn code_of_a_larger_card_takes_no_more_than_there_is() {
        let geometry = Arch::of(90).geometry();
        assert_eq!(geometry.most_sift_bytes(99 << 10), 99 << 10);
        assert!(!geometry.sift_bytes(512, 99 << 10).1 && geometry.sift_bytes(448, 99 << 10).1);
    }

    #[test]
    fn the_parts_of_a_bank_cover_it_once_and_fill_the_card() {
        let geometry = Arch::of(90).geometry();
        for (processors, query_tiles, row_tiles) in [
            (132, 10, 782),
            (132, 29, 782),
            (132, 65, 7813),
            (132, 300, 80),
            (14, 1, 1),
            (1, 1, 5),
            (8, 1, 3),
        ] {
            let (splits, tiles) = geometry.split(processors, query_tiles, row_tiles);
            assert!(splits * tiles >= row_tiles && (splits - 1) * tiles < row_tiles, "{splits} x {tiles}");
            assert!(splits == 1 || splits * query_tiles <= processors * geometry.blocks);
        }
        // 1,200 patches on 132 processors: more than 9 of 10 places are taken.
        assert!(geometry.split(132, 10, 782).0 * 10 > 264 * 9 / 10);
    }
}
