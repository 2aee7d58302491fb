//! The direction of a bank's discriminant, from its references and the known outliers.

use nalgebra::{Cholesky, DMatrix, DVector};

use super::moments::Moments;
use super::raw::Raw;
use crate::bank::{Combine, Recipe, RecipePart, Step, StepKind, Transform};
use crate::nearest::Projector;

/// The direction w of [`crate::bank::Discriminant`], a number for each of the model's `width`; 0 for those that no part of
/// `recipe` has.
///
/// # Errors
/// What cannot be had of these rows, in words.
pub(super) fn direction(
    references: &Raw<'_>,
    outliers: &Raw<'_>,
    recipe: &Recipe,
    ridge: f64,
) -> Result<Vec<f32>, String> {
    let (usual, strange) = (moments(references, recipe), moments(outliers, recipe));
    let (mut covariance, of_strange) = (usual.covariance(), strange.covariance());
    let wide = covariance.nrows();
    // Of each column, what it is divided by.
    let mut scales = DVector::from_element(wide, 1.0);
    let mut first = 0;
    for part in &recipe.parts {
        let variance =
            (first..first + part.width).map(|at| covariance[(at, at)]).sum::<f64>() / part.width as f64;
        if variance.is_nan() || variance <= 0.0 {
            return Err(format!("the features of part {} do not vary", part.name));
        }
        scales.rows_mut(first, part.width).fill(variance.sqrt());
        first += part.width;
    }
    covariance.zip_apply(&of_strange, |a, b| *a = (*a + b) / 2.0);
    let scaled = DMatrix::from_fn(wide, wide, |r, c| {
        covariance[(r, c)] / (scales[r] * scales[c]) + if r == c { ridge } else { 0.0 }
    });
    let apart = DVector::from_vec(strange.mean()) - DVector::from_vec(usual.mean());
    let solved = Cholesky::new(scaled)
        .map(|factors| factors.solve(&apart.component_div(&scales)).component_div(&scales))
        .filter(|solved| solved.iter().all(|x| x.is_finite()))
        .ok_or("some directions do not vary at all: pass --discriminant-ridge 1")?;
    let mut out = vec![0.0; references.width];
    let mut first = 0;
    for part in &recipe.parts {
        // Columns of several parts count in each.
        let own = solved.rows(first, part.width);
        out[part.from..][..part.width].iter_mut().zip(own.iter()).for_each(|(sum, x)| *sum += *x as f32);
        first += part.width;
    }
    Ok(out)
}

/// Mean and covariance of the columns of all parts side by side, the means of the pictures taken off if the recipe does so.
fn moments(rows: &Raw<'_>, recipe: &Recipe) -> Moments {
    let centred = recipe.centres_images();
    let steps = if centred { vec![StepKind::CenterImage] } else { Vec::new() };
    let part = |part: &RecipePart| RecipePart { stored: part.width, steps: steps.clone(), ..part.clone() };
    let side_by_side = Recipe::of(recipe.parts.iter().map(part).collect(), Combine::Concat);
    let transform = Transform { steps: if centred { vec![Step::CenterImage] } else { Vec::new() } };
    let transforms = vec![transform; side_by_side.parts.len()];
    let mut moments = Moments::new(side_by_side.tables().iter().sum());
    let projector = || Projector::new(&side_by_side, &transforms, rows.width);
    rows.each(projector(), |_, tables| moments.add(&tables[0], &[]));
    rows.each(projector(), |_, tables| moments.scatter(&tables[0], &[]));
    moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::RowsBuf;

    fn part(name: &str, from: usize, width: usize) -> RecipePart {
        RecipePart { name: name.into(), from, width, stored: width, steps: Vec::new(), baseline: None }
    }

    #[test]
    fn it_is_the_formula_and_leaves_out_what_no_part_has() {
        // One column is of no part. Numbers such that means and covariances can be told by hand.
        let usual = RowsBuf::F32(vec![1.0, 9.0, 2.0, -1.0, 7.0, -2.0, 1.0, 3.0, -2.0, -1.0, 5.0, 2.0]);
        let strange = RowsBuf::F32(vec![4.0, 0.0, 3.0, 2.0, 0.0, 3.0]);
        let recipe = Recipe::of(vec![part("a", 0, 1), part("b", 2, 1)], Combine::Sum);
        let rows = |rows| Raw { rows, width: 3, means: None };
        let found = direction(&rows(usual.view()), &rows(strange.view()), &recipe, 0.5).unwrap();
        // Usual: variances 1 and 4, covariance 0. Strange: variances 1 and 0. Of the mean, in units of 1 and 2:
        // 1 + 0.5 and 0.5 + 0.5. Means apart: 3 and 3, in these units 3 and 1.5.
        let want = [3.0 / 1.5, 0.0, 1.5 / 1.0 / 2.0];
        assert!(found.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6), "{found:?}");
        let still = RowsBuf::F32(vec![1.0; 12]);
        let why = direction(&rows(still.view()), &rows(strange.view()), &recipe, 0.5).unwrap_err();
        assert!(why.contains("part a do not vary"), "{why}");
        // Two columns that are one: without a ridge nothing can be solved.
        let twice = Recipe::of(vec![part("a", 0, 1), part("b", 0, 1)], Combine::Sum);
        let why = direction(&rows(usual.view()), &rows(strange.view()), &twice, 0.0).unwrap_err();
        assert!(why.contains("--discriminant-ridge"), "{why}");
    }
}
