//! The bank on the card: the stored rows, the centred half-precision copy for the products, and the 8-bit codes.

use rayon::prelude::*;

use super::super::device::NoCuda;
use super::card::{Card, Memory};
use super::geometry::{STEP_WIDTH, TILE, WARPS};
use super::memory::allocate_all;
use super::problem::{CODE_BYTES, Kernel, Problem};
use crate::bank::{DataType, References, Rows};

/// Rows that the centre is the mean of: any vector near the mean serves.
const SAMPLED: usize = 1 << 16;
/// Numbers per row up to which the bounds of the codes are proven (kernels/codes.cuh).
const CODED: usize = 1 << 15;
/// Exponents of the scale that leave room for patches up to 2^40 times as far out, and 2^60 times as near,
/// as the bank, within single precision.
const EXPONENTS: std::ops::RangeInclusive<i32> = -86..=66;

/// Number of a data type in kernels/problem.cuh.
pub(super) fn type_number(data_type: DataType) -> u32 {
    match data_type {
        DataType::F16 => 0,
        DataType::F32 => 1,
    }
}

/// Bytes per number.
pub(super) fn type_bytes(data_type: DataType) -> usize {
    match data_type {
        DataType::F16 => 2,
        DataType::F32 => 4,
    }
}

/// Lays the bank out on the card and fills the bank's part of a [`Problem`]; gives the memory of its codes, which it can do
/// without.
///
/// # Errors
/// [`NoCuda`], out of memory above all.
pub(super) fn place(
    card: &mut impl Card,
    bank: &References,
    problem: &mut Problem,
) -> Result<[Memory; 2], NoCuda> {
    let (rows, width) = (bank.features(), bank.width());
    let (n, padded_n) = (bank.rows(), bank.rows().next_multiple_of(TILE));
    let padded_c = width.next_multiple_of(STEP_WIDTH / 2);
    let too_large =
        |_| NoCuda::Failed { what: "placing the bank", why: format!("{n} x {width} are too many numbers") };
    let number = |x: usize| u32::try_from(x).map_err(too_large);
    (problem.n, problem.padded_n) = (number(n)?, number(padded_n)?);
    (problem.c, problem.padded_c) = (number(width)?, number(padded_c)?);
    problem.row_type = type_number(rows.data_type());

    let bytes: &[u8] = match rows {
        Rows::F16(data) => bytemuck::cast_slice(data),
        Rows::F32(data) => bytemuck::cast_slice(data),
    };
    let stored = card.allocate("the bank", bytes.len())?;
    card.upload(stored, 0, bytes)?;
    let mean = card.allocate("the bank's mean", width * 4)?;
    card.upload(mean, 0, bytemuck::cast_slice(&centre(rows, width)))?;
    let centred = card.allocate("the bank's copy for the products", padded_n * padded_c * 2)?;
    let norms = card.allocate("the bank's norms", padded_n * 4)?;
    let extremes = card.allocate("the bank's extremes", 16)?;
    problem.rows = stored.address;
    problem.mean = mean.address;
    problem.centred_rows = centred.address;
    problem.norms = norms.address;
    problem.extremes = extremes.address;

    card.zero(extremes, 16)?;
    let blocks = (padded_n.div_ceil(WARPS)).min(card.processors() * 8);
    // SAFETY: everything that these kernels use was allocated above and outlives the problem.
    unsafe { card.launch(Kernel::MeasureBank, (blocks, 1), 0, problem) }?;
    let [largest, ..] = read_extremes(card, extremes)?;
    problem.exponent = scale_exponent(largest, width);
    card.zero(extremes, 16)?;
    // SAFETY: as above.
    unsafe { card.launch(Kernel::CentreBank, (blocks, 1), 0, problem) }?;
    let [_, square, residual, _] = read_extremes(card, extremes)?;
    // Sums of squares err by far less than this.
    problem.reach = square.sqrt() * 1.0001;
    problem.residual = residual.sqrt() * 1.0001;
    match place_codes(card, problem, blocks) {
        Err(NoCuda::OutOfMemory { .. }) => {
            tracing::info!(
                "the GPU has no room for 8-bit codes of the bank; the search is exact all the same, and slower"
            );
            Ok([Memory::default(); 2])
        }
        done => done,
    }
}

/// The 8-bit codes, where they are of use.
///
/// # Errors
/// [`NoCuda`]; nothing is kept then.
fn place_codes(card: &mut impl Card, problem: &mut Problem, blocks: usize) -> Result<[Memory; 2], NoCuda> {
    if !card.arch().has_tensor_cores() || problem.c as usize > CODED {
        return Ok([Memory::default(); 2]);
    }
    let (rows, coded_c) = (problem.padded_n as usize, (problem.c as usize).next_multiple_of(STEP_WIDTH));
    let mut codes = [Memory::default(); 2];
    allocate_all(
        card,
        &[("the bank's codes", rows * coded_c), ("what is known of the bank's codes", rows * CODE_BYTES)],
        &mut codes,
    )?;
    let mut with_codes = *problem;
    with_codes.coded_c = coded_c as u32;
    with_codes.coded_rows = codes[0].address;
    with_codes.row_codes = codes[1].address;
    // SAFETY: everything that it uses was allocated and outlives the problem.
    if let Err(why) = unsafe { card.launch(Kernel::EncodeBank, (blocks, 1), 0, &with_codes) } {
        codes.iter().for_each(|memory| card.free(*memory));
        return Err(why);
    }
    *problem = with_codes;
    Ok(codes)
}

fn read_extremes(card: &mut impl Card, extremes: Memory) -> Result<[f32; 4], NoCuda> {
    let mut bits = [0u8; 16];
    card.download(extremes, &mut bits)?;
    Ok(bytemuck::cast(bits))
}

/// The exponent of the power of two that brings rows with numbers up to `largest` to norms of at most
/// 2^14, within [`EXPONENTS`].
fn scale_exponent(largest: f32, width: usize) -> i32 {
    let norm = f64::from(largest) * (width as f64).sqrt();
    if norm == 0.0 {
        return 0;
    }
    let exponent = 14.0 - norm.log2().ceil();
    (exponent.clamp(f64::from(*EXPONENTS.start()), f64::from(*EXPONENTS.end()))) as i32
}

/// The mean of rows spread evenly over the bank; the sums are joined in order, whatever the threads.
fn centre(rows: Rows<'_>, width: usize) -> Vec<f32> {
    let count = rows.count(width);
    let taken = count.min(SAMPLED);
    let sums: Vec<Vec<f64>> = (0..taken.div_ceil(4096))
        .into_par_iter()
        .map(|part| {
            let (mut row, mut sum) = (vec![0.0f32; width], vec![0.0f64; width]);
            for i in part * 4096..taken.min((part + 1) * 4096) {
                // Row i x count / taken, without overflow: both are far below 2^32.
                let at = (i as u64 * count as u64 / taken as u64) as usize;
                rows.copy_to(at * width, &mut row);
                sum.iter_mut().zip(&row).for_each(|(s, x)| *s += f64::from(*x));
            }
            sum
        })
        .collect();
    (0..width).map(|c| (sums.iter().map(|s| s[c]).sum::<f64>() / taken.max(1) as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_keeps_halves_in_range() {
        for (largest, width) in [(1.0, 1), (1.0, 384), (1000.0, 768), (6e4, 1280), (1e25, 48), (1e-20, 8)] {
            let scaled = f64::from(largest) * 2f64.powi(scale_exponent(largest, width));
            assert!(scaled * (width as f64).sqrt() <= 16384.0, "{largest} x {width}: {scaled}");
            assert!(EXPONENTS.contains(&scale_exponent(largest, width)));
        }
        assert_eq!(scale_exponent(0.0, 5), 0);
        assert_eq!(scale_exponent(f32::INFINITY, 5), -86);
        assert_eq!(scale_exponent(1e-40, 5), 66);
    }
}
