//! The search on a card: buffers that stay, launches in order, results read back at once.
//!
//! A frame takes: `prepare_queries` (centred half-precision copies and an error bound per patch),
//! `propose` (products and the likeliest rows, in one pass), `refine` (exact distances of these, and the
//! proof that no other row is nearer), and `rescan` with `gather` (the whole bank, exactly, for patches
//! without proof).
//!
//! Where there are tensor cores, 8-bit codes come first: `encode_queries`, `sift` (products of codes, and all rows that
//! these do not prove to be too far), `tighten` and `measure` (exact distances of what is left), `conclude`. Then
//! `propose` and `refine` only have the tiles of patches to do that codes are no good for.

use std::ffi::c_void;
use std::sync::Arc;

use anyhow::ensure;

use super::super::device::NoCuda;
use super::bank::{self, type_bytes, type_number};
use super::card::{Card, Memory};
use super::fault::patiently;
use super::geometry::{LIST, MOST_NEAR, RESCAN_BYTES, RESCAN_SPLITS, TILE, WARPS, WAVE};
use super::memory::{COUNTER_BYTES, FrameMemory};
use super::pause::Pause;
use super::problem::{Kernel, Problem};
use crate::bank::{DataType, References};
use crate::gpu_stream::GpuStream;
use crate::grid::{Features, Grid};

/// Patches that are on the device already.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceFeatures {
    /// The patches.
    pub grid: Grid,
    /// Numbers per patch, C.
    pub width: usize,
    /// Their type.
    pub data_type: DataType,
    /// Address on the device of `grid.len() x width` numbers, patch by patch.
    pub address: u64,
    /// The stream (`CUstream`) that writes them, if the search has to wait for it.
    pub stream: Option<*mut c_void>,
}

/// Patches where they are.
pub(super) enum Patches<'a> {
    Host(&'a [f32]),
    Device(DeviceFeatures),
}

impl<'a> Patches<'a> {
    /// Those of `features`, in memory of a GPU if they are.
    pub(super) fn of(features: &'a Features) -> Patches<'a> {
        let (grid, width) = (features.grid, features.width);
        match &features.on_gpu {
            Some(numbers) => Patches::Device(DeviceFeatures {
                grid,
                width,
                data_type: DataType::F32,
                address: numbers.address(),
                stream: numbers.stream().map(|stream| stream.handle()),
            }),
            None => Patches::Host(&features.data),
        }
    }
}

/// A bank on a card.
pub(super) struct Engine<C: Card> {
    card: C,
    bank: References,
    problem: Problem,
    /// The bank's codes, if they have a place.
    codes: [Memory; 2],
    memory: FrameMemory,
    /// The results as they were read back.
    read: Vec<u8>,
    patches: usize,
    pub(super) faulty: u64,
    pub(super) rescans: u64,
    /// Pairs of patch and row that codes did not rule out.
    pub(super) survivors: u64,
    /// Frames that were sifted by codes, and tiles of patches that these left to the halves.
    pub(super) sifted: u64,
    pub(super) open_tiles: u64,
    pub(super) pause: Pause,
    /// Whether kernels are timed, and those of the last frame.
    pub(super) timed: bool,
    launched: Vec<Kernel>,
    /// The stream that the card works on, if others do too; dropped after the card.
    shared: Option<Arc<dyn GpuStream>>,
}

impl<C: Card> Engine<C> {
    /// Lays `bank` out on `card` for the search of `k` neighbours.
    ///
    /// # Errors
    /// [`NoCuda`] if k is too large for it, or the card fails.
    pub(super) fn new(mut card: C, k: usize, bank: impl Into<References>) -> Result<Engine<C>, NoCuda> {
        let bank = bank.into();
        if k > MOST_NEAR {
            return Err(NoCuda::TooManyNeighbours { k, most: MOST_NEAR });
        }
        let k = k.clamp(1, bank.rows().max(1));
        let mut problem = Problem { k: k as u32, kept: candidates(k) as u32, ..Problem::default() };
        let codes = bank::place(&mut card, &bank, &mut problem)?;
        let memory = FrameMemory::default();
        let read = Vec::new();
        Ok(Engine {
            card,
            bank,
            problem,
            codes,
            memory,
            read,
            patches: 0,
            faulty: 0,
            rescans: 0,
            survivors: 0,
            sifted: 0,
            open_tiles: 0,
            pause: Pause::default(),
            timed: false,
            launched: Vec::new(),
            shared: None,
        })
    }

    /// From now on it takes features that are written in the order of `stream`, on which its card works.
    pub(super) fn share(&mut self, stream: Arc<dyn GpuStream>) {
        self.shared = Some(stream);
    }

    /// Whether `stream` is the one that its card works on.
    pub(super) fn shares(&self, stream: &dyn GpuStream) -> bool {
        self.shared.as_ref().is_some_and(|own| own.handle() == stream.handle())
    }

    pub(super) fn k(&self) -> usize {
        self.problem.k as usize
    }

    pub(super) fn name(&self) -> String {
        self.card.describe()
    }

    /// Searches for the k nearest rows of each patch; reads the lists back only if wanted.
    ///
    /// # Errors
    /// If the patches are not as wide as the bank, and [`NoCuda`] if the card fails.
    ///
    /// # Safety
    /// The memory and the stream that [`Patches::Device`] names are valid on this card's device.
    pub(super) unsafe fn search(
        &mut self,
        grid: Grid,
        width: usize,
        patches: &Patches<'_>,
        with_lists: bool,
    ) -> anyhow::Result<()> {
        let count = grid.len();
        let given = match patches {
            Patches::Host(data) => data.len(),
            Patches::Device(given) => given.grid.len() * given.width,
        };
        ensure!(
            width == self.bank.width() && given == count * width,
            "the frame has {count} patches of {width} numbers ({given} in all), the bank {} is {} wide; \
             rebuild it with this model",
            self.bank.path().display(),
            self.bank.width(),
        );
        self.patches = count;
        self.read.clear();
        if count == 0 {
            return Ok(());
        }
        let sift = self.problem.has_codes() && self.pause.over();
        // SAFETY: passed on.
        patiently(|| unsafe { self.search_once(count, patches, (with_lists, sift)) }, |why| Some(why))?;
        self.rescans += u64::from(self.counter(0));
        self.faulty += u64::from(self.counter(1));
        if self.problem.sifting != 0 {
            self.sifted += 1;
            self.survivors += u64::from(self.counter(2));
            let open = self.counter(3) as usize;
            self.open_tiles += open as u64;
            self.pause.after(open, count.div_ceil(TILE));
        }
        Ok(())
    }

    /// One try of [`Engine::search`], of `count` patches; another may follow it.
    ///
    /// # Errors
    /// [`NoCuda`] if the card fails.
    ///
    /// # Safety
    /// As [`Engine::search`].
    unsafe fn search_once(
        &mut self,
        count: usize,
        patches: &Patches<'_>,
        (with_lists, sift): (bool, bool),
    ) -> Result<(), NoCuda> {
        let padded = count.next_multiple_of(TILE);
        let k = self.k();
        let bytes = COUNTER_BYTES + count * 4 * if with_lists { 1 + 2 * k } else { 1 };
        let shared = self.shared.clone();
        let turn = shared.as_ref().map(|stream| stream.turn());
        self.make_room(padded)?;
        self.problem.sifting = u32::from(sift && self.memory.can_sift());
        self.describe_frame(count, padded)?;
        // SAFETY: passed on.
        unsafe { self.place_patches(patches) }?;
        // SAFETY: the problem names memory of this card that was made for at least these sizes.
        unsafe { self.launch(count, padded) }?;
        self.card.fetch(self.memory.results, bytes)?;
        drop(turn);
        self.read.resize(bytes, 0);
        self.card.fetched(&mut self.read)
    }

    fn counter(&self, at: usize) -> u32 {
        self.read.get(4 * at..4 * at + 4).map_or(0, bytemuck::pod_read_unaligned)
    }

    /// Numbers of the results, `count` from the `first` on.
    fn results<T: bytemuck::AnyBitPattern>(&self, first: usize, count: usize) -> impl Iterator<Item = T> {
        let start = (COUNTER_BYTES + first * 4).min(self.read.len());
        let end = (start + count * 4).min(self.read.len());
        self.read[start..end].chunks_exact(4).map(bytemuck::pod_read_unaligned)
    }

    /// The mean distance of each patch of the last search.
    pub(super) fn means(&self) -> impl Iterator<Item = f32> {
        self.results(0, self.patches)
    }

    /// The distances to the k nearest of each patch of the last search, if it read them.
    pub(super) fn near_distances(&self) -> impl Iterator<Item = f32> {
        self.results(self.patches, self.patches * self.k())
    }

    /// Their rows.
    pub(super) fn near_rows(&self) -> impl Iterator<Item = u32> {
        self.results(self.patches * (1 + self.k()), self.patches * self.k())
    }

    /// Splits of the bank and tiles per split for `padded` patches.
    fn split(&self, padded: usize) -> (usize, usize) {
        let row_tiles = self.problem.padded_n as usize / TILE;
        self.card.arch().geometry().split(self.card.processors(), padded / TILE, row_tiles)
    }

    /// Makes the buffers large enough; they only grow.
    fn make_room(&mut self, padded: usize) -> Result<(), NoCuda> {
        if padded <= self.memory.patches {
            return Ok(());
        }
        std::mem::take(&mut self.memory).free(&mut self.card);
        // Fewer patches are split into more parts, but never into more lists than this.
        let lists = (self.card.processors() * self.card.arch().geometry().blocks * TILE).max(padded);
        let sizes = (padded, self.bank.width(), lists);
        self.memory = match FrameMemory::new(&mut self.card, sizes, &self.problem) {
            Err(NoCuda::OutOfMemory { .. }) if self.problem.has_codes() => {
                tracing::info!(
                    "the GPU has no room for a frame beside the bank's codes; the search is exact all the same, and slower"
                );
                std::mem::take(&mut self.codes).into_iter().for_each(|memory| self.card.free(memory));
                (self.problem.coded_rows, self.problem.row_codes) = (0, 0);
                FrameMemory::new(&mut self.card, sizes, &self.problem)
            }
            done => done,
        }?;
        Ok(())
    }

    fn describe_frame(&mut self, count: usize, padded: usize) -> Result<(), NoCuda> {
        let too_many = |_| NoCuda::Failed { what: "searching", why: format!("{count} patches are too many") };
        let (splits, tiles) = self.split(padded);
        let problem = &mut self.problem;
        problem.t = u32::try_from(count).map_err(too_many)?;
        problem.padded_t = u32::try_from(padded).map_err(too_many)?;
        problem.splits = splits as u32;
        problem.tiles_per_split = tiles as u32;
        problem.wave = 0;
        self.memory.describe(count, problem);
        Ok(())
    }

    /// # Safety
    /// As [`Engine::search`].
    unsafe fn place_patches(&mut self, patches: &Patches<'_>) -> Result<(), NoCuda> {
        match patches {
            Patches::Host(data) => {
                self.card.upload(self.memory.queries, 0, bytemuck::cast_slice(data))?;
                self.problem.queries = self.memory.queries.address;
                self.problem.query_type = type_number(DataType::F32);
            }
            Patches::Device(given) => {
                if let Some(stream) = given.stream {
                    // SAFETY: the caller vouches for the stream.
                    unsafe { self.card.follow(stream) }?;
                }
                if given.address % type_bytes(given.data_type) as u64 != 0 {
                    let why = format!("the patches at {:#x} are not aligned", given.address);
                    return Err(NoCuda::Failed { what: "searching", why });
                }
                self.problem.queries = given.address;
                self.problem.query_type = type_number(given.data_type);
                if given.data_type == DataType::F32 {
                    self.problem.plain_queries = given.address;
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// The problem is described and its patches are in place.
    unsafe fn launch(&mut self, count: usize, padded: usize) -> Result<(), NoCuda> {
        self.launched.clear();
        if self.timed {
            self.card.mark(0)?;
        }
        self.card.zero(self.memory.results, COUNTER_BYTES)?;
        let geometry = self.card.arch().geometry();
        let groups = (self.card.processors() * 2 / RESCAN_SPLITS).clamp(1, 8);
        let (of_patches, of_tiles) = ((padded / WARPS, 1), (padded / TILE, self.problem.splits as usize));
        let mut steps = vec![(Kernel::PrepareQueries, of_patches, 0, 0)];
        if self.problem.sifting != 0 {
            self.card.zero(self.memory.open_tiles(), padded / TILE * 4)?;
            let limit = self.card.shared_limit();
            let (shared, stay) = geometry.sift_bytes(self.problem.coded_c as usize, limit);
            let sift = if stay { Kernel::Sift } else { Kernel::SiftWide };
            steps.extend([
                (Kernel::EncodeQueries, of_patches, 0, 0),
                (sift, of_tiles, shared, 0),
                (Kernel::Tighten, of_patches, 0, 0),
                (Kernel::Measure, (self.card.processors() * 8, 1), 0, 0),
                (Kernel::Conclude, of_patches, 0, 0),
            ]);
        }
        steps.extend([
            (Kernel::Propose, of_tiles, geometry.propose_bytes(), 0),
            (Kernel::Refine, (count.div_ceil(WARPS), 1), 0, 0),
        ]);
        for wave in 0..count.div_ceil(WAVE) {
            steps.push((Kernel::Rescan, (RESCAN_SPLITS, groups), RESCAN_BYTES, wave));
            steps.push((Kernel::Gather, (count.min(WAVE).div_ceil(WARPS), 1), 0, wave));
        }
        for (kernel, grid, shared, wave) in steps {
            self.problem.wave = wave as u32;
            // SAFETY: the caller has put everything in place, and buffers are only freed by `make_room`,
            // before the next frame is described.
            unsafe { self.card.launch(kernel, grid, shared, &self.problem) }?;
            if self.timed {
                self.launched.push(kernel);
                self.card.mark(self.launched.len())?;
            }
        }
        Ok(())
    }

    /// Milliseconds of each kernel of the last frame, if they are timed; those that ran several times are summed. The first
    /// one's hold the clearing of the counters.
    pub(super) fn kernel_ms(&mut self) -> Result<Vec<(&'static str, f32)>, NoCuda> {
        let mut times: Vec<(&'static str, f32)> = Vec::new();
        for (number, kernel) in self.launched.iter().enumerate() {
            let ms = self.card.between(number, number + 1)?;
            match times.iter_mut().find(|(name, _)| *name == kernel.name()) {
                Some((_, sum)) => *sum += ms,
                None => times.push((kernel.name(), ms)),
            }
        }
        Ok(times)
    }
}

/// Candidates per list for k neighbours: enough beyond k that a rescan is rare. More of them cost more
/// sorting. Computed for DINOv2 patches of two road clips and 100,000 rows, k = 3: 16 candidates leave 2 %
/// and 0 % of the patches without proof, 32 leave none.
fn candidates(k: usize) -> usize {
    (2 * k + 18).clamp(LIST / 2, LIST)
}
