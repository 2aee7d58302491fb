//! Which references a patch lies nearest to: for people, who want to know why it alarms.

use super::combine::combine_one;
use super::exact::squared_distance;
use super::{Backend, ImageMeans, NoBackend, Projector};
use crate::bank::{Bank, Baseline, PictureMeans};

/// A reference, and how far a patch lies from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Its row in the bank.
    pub row: usize,
    /// The distances of its parts, combined as the bank's recipe says: in the unit of the score, before known outliers and the
    /// discriminant count.
    pub distance: f32,
    /// L2 distance in each table of the bank.
    pub parts: Vec<f32>,
}

/// The `k` references that lie nearest to each of `features` (vectors as the model gives them), whole: all parts of one row
/// together, of all classes. The score takes the nearest of each part for itself, so that its distances are smaller or equal,
/// unless the bank is searched by class. Nearest
/// first, of equal ones the lower row; exact, on the calling thread.
///
/// # Errors
/// If this machine has no backend.
pub fn explain(
    bank: &Bank,
    features: &[f32],
    means: &PictureMeans,
    k: usize,
) -> Result<Vec<Vec<Neighbour>>, NoBackend> {
    let kernel = Backend::Auto.resolve()?.kernel()?;
    let recipe = bank.recipe();
    let mut projector = Projector::new(recipe, bank.transforms(), bank.width());
    let mut tables = vec![Vec::new(); projector.tables().len()];
    let mut out: Vec<&mut Vec<f32>> = tables.iter_mut().collect();
    projector.rows(features, ImageMeans::Each(&means.means, &means.own), &mut out);
    let widths = bank.tables();
    let normal: Vec<Baseline> =
        recipe.parts.iter().map(|part| part.baseline.unwrap_or(Baseline::UNKNOWN)).collect();
    let combined = |parts: &[f32]| match recipe.combine.searches_apart() {
        true => combine_one(recipe.combine, parts, &normal),
        false => parts[0],
    };
    let of_patch = |patch: usize| {
        let mut found: Vec<Neighbour> = Vec::new();
        let mut parts = vec![0.0; widths.len()];
        for row in 0..bank.rows() {
            for (number, (part, width)) in parts.iter_mut().zip(widths).enumerate() {
                let own = &tables[number][patch * width..][..*width];
                *part = squared_distance(kernel, own, bank.table(number), row).sqrt() as f32;
            }
            let distance = combined(&parts);
            let at = found.partition_point(|other| other.distance <= distance);
            if at < k {
                found.insert(at, Neighbour { row, distance, parts: parts.clone() });
                found.truncate(k);
            }
        }
        found
    };
    Ok((0..features.len() / bank.width()).map(of_patch).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::DataType;
    use crate::nearest::made_up::{Noise, bank};

    #[test]
    fn the_nearest_rows_are_those_of_brute_force() {
        let (width, mut noise) = (9, Noise::new(5));
        let mut rows = noise.many(60 * width, 1.0, 0.0);
        // Two that are alike: the lower one comes first.
        rows.copy_within(7 * width..8 * width, 40 * width);
        let all = bank(DataType::F32, width, &rows);
        let mut patches = noise.many(4 * width, 1.0, 0.0);
        patches[..width].copy_from_slice(&rows[7 * width..8 * width]);
        let means = PictureMeans { means: vec![0.0; width], own: vec![0; 4] };
        let found = explain(&all, &patches, &means, 3).unwrap();
        assert_eq!((found[0][0].row, found[0][1].row, found[0][0].distance), (7, 40, 0.0));
        for (patch, found) in patches.chunks(width).zip(&found) {
            let mut want: Vec<(f32, usize)> = rows
                .chunks(width)
                .map(|row| {
                    row.iter().zip(patch).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt() as f32
                })
                .zip(0..)
                .collect();
            want.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            assert_eq!(found.len(), 3);
            for (got, want) in found.iter().zip(want) {
                assert!(got.row == want.1 && (got.distance - want.0).abs() < 1e-5, "{got:?} {want:?}");
                assert_eq!(got.parts, [got.distance]);
            }
        }
    }
}
