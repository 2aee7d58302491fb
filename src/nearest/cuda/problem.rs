//! What the kernels are told: the mirror of kernels/problem.cuh.

use super::geometry::Arch;

/// The kernels, by their names in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    MeasureBank,
    CentreBank,
    PrepareQueries,
    Propose,
    Refine,
    Rescan,
    Gather,
    EncodeBank,
    EncodeQueries,
    Sift,
    SiftWide,
    Tighten,
    Measure,
    Conclude,
}

impl Kernel {
    /// Those that only cards with tensor cores have come last.
    const ALL: [Kernel; 14] = [
        Kernel::MeasureBank,
        Kernel::CentreBank,
        Kernel::PrepareQueries,
        Kernel::Propose,
        Kernel::Refine,
        Kernel::Rescan,
        Kernel::Gather,
        Kernel::EncodeBank,
        Kernel::EncodeQueries,
        Kernel::Sift,
        Kernel::SiftWide,
        Kernel::Tighten,
        Kernel::Measure,
        Kernel::Conclude,
    ];

    /// Those that are in the code for `arch`.
    pub(super) fn of(arch: Arch) -> &'static [Kernel] {
        if arch.has_tensor_cores() { &Kernel::ALL } else { &Kernel::ALL[..7] }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kernel::MeasureBank => "measure_bank",
            Kernel::CentreBank => "centre_bank",
            Kernel::PrepareQueries => "prepare_queries",
            Kernel::Propose => "propose",
            Kernel::Refine => "refine",
            Kernel::Rescan => "rescan",
            Kernel::Gather => "gather",
            Kernel::EncodeBank => "encode_bank",
            Kernel::EncodeQueries => "encode_queries",
            Kernel::Sift => "sift",
            Kernel::SiftWide => "sift_wide",
            Kernel::Tighten => "tighten",
            Kernel::Measure => "measure",
            Kernel::Conclude => "conclude",
        }
    }
}

/// Bytes of a `Fact` on the device.
pub(super) const FACT_BYTES: usize = 20;
/// Bytes of a `RowCode` and of a `PatchCode`.
pub(super) const CODE_BYTES: usize = 16;

/// `struct Problem`; pointers are addresses on the device.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Problem {
    pub rows: u64,
    pub centred_rows: u64,
    pub norms: u64,
    pub mean: u64,
    pub extremes: u64,
    pub queries: u64,
    pub plain_queries: u64,
    pub centred_queries: u64,
    pub facts: u64,
    pub lists: u64,
    pub unproven: u64,
    pub counters: u64,
    pub rescans: u64,
    pub distances: u64,
    pub near_distances: u64,
    pub near_rows: u64,
    pub coded_rows: u64,
    pub row_codes: u64,
    pub coded_queries: u64,
    pub patch_codes: u64,
    pub least: u64,
    pub survivors: u64,
    pub survivor_bounds: u64,
    pub reaches: u64,
    pub near: u64,
    pub open_tiles: u64,
    pub n: u32,
    pub padded_n: u32,
    pub c: u32,
    pub padded_c: u32,
    pub t: u32,
    pub padded_t: u32,
    pub k: u32,
    pub kept: u32,
    pub splits: u32,
    pub tiles_per_split: u32,
    pub row_type: u32,
    pub query_type: u32,
    pub wave: u32,
    pub exponent: i32,
    pub reach: f32,
    pub residual: f32,
    pub coded_c: u32,
    pub survivor_room: u32,
    pub sifting: u32,
    pub unused: u32,
}

impl Problem {
    /// Whether the bank has 8-bit codes.
    pub(super) fn has_codes(&self) -> bool {
        self.coded_rows != 0
    }
}
