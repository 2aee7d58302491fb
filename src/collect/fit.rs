//! Transforms fitted to the sample of a bank, and its rows as they leave them.

use nalgebra::{DMatrix, SymmetricEigen};

use super::discriminant::direction;
use super::error::BuildError;
use super::moments::Moments;
use super::raw::Raw;
use super::recipe::RecipeConfig;
use crate::bank::{
    Affine, BankContents, Combine, Covariance, DataType, Extras, FORMAT_WITH_RECIPE, Recipe, RecipePart,
    Rows, RowsBuf, Step, StepKind, Transform,
};
use crate::nearest::Projector;

/// `contents`, whose rows are features as they are, with the recipe that `config` asks for: transforms are fitted
/// to the rows, which are then stored as these leave them. Unchanged if nothing is asked for. Runs on the current
/// rayon pool; what comes out does not depend on the number of its threads.
///
/// # Errors
/// [`BuildError::Recipe`] for what cannot be had of these rows; [`BuildError::Overflow`].
pub(super) fn fitted(mut contents: BankContents, config: &RecipeConfig) -> Result<BankContents, BuildError> {
    let model = &contents.metadata.model;
    let (width, data_type) = (model.width, contents.features.view().data_type());
    let mut parts = config.resolve(model)?;
    let mut transforms = Vec::new();
    for part in &mut parts {
        let sample = Sample { rows: contents.features.view(), width, extras: &contents.extras };
        let transform = sample.fit(part, config)?;
        part.steps.clone_from(&config.transform);
        transforms.push(transform);
    }
    let RecipeConfig { combine, outliers, outlier_k, discriminant, by_class, .. } = *config;
    if by_class && contents.extras.classes.is_empty() {
        let why = "the search by class needs the patches' classes: give --classes labels or model".to_owned();
        return Err(BuildError::Recipe { why });
    }
    let affinity = config.smoothing(&parts)?;
    let outlier_k = outlier_k.max(1);
    let recipe = Recipe { parts, combine, outliers, outlier_k, discriminant, by_class, affinity };
    recipe.check(width).map_err(|why| BuildError::Recipe { why })?;
    let means = contents.extras.means.take();
    let strange = contents.extras.outliers.as_mut();
    let of_outliers = strange.and_then(|outliers| outliers.means.take());
    if contents.extras.outliers.is_none() && !(recipe.outliers.is_off() && discriminant.is_none()) {
        let why = "--outlier-use and --discriminant need known outliers: pass --outliers DIR".to_owned();
        return Err(BuildError::Recipe { why });
    }
    if recipe.is_plain(width) {
        return Ok(contents);
    }
    let raw = Raw { rows: contents.features.view(), width, means: means.as_ref() };
    if let (Some(how), Some(outliers)) = (discriminant, &contents.extras.outliers) {
        let strange = Raw { rows: outliers.rows.view(), width, means: of_outliers.as_ref() };
        let found = direction(&raw, &strange, &recipe, how.ridge);
        contents.extras.direction =
            found.map_err(|why| BuildError::Recipe { why: format!("the discriminant: {why}") })?;
    }
    contents.features = transformed(&raw, data_type, &recipe, &transforms)?;
    if let Some(outliers) = &mut contents.extras.outliers {
        let raw = Raw { rows: outliers.rows.view(), width, means: of_outliers.as_ref() };
        outliers.rows = transformed(&raw, data_type, &recipe, &transforms)?;
    }
    contents.extras.transforms = transforms;
    contents.metadata.recipe = Some(recipe);
    contents.metadata.format = FORMAT_WITH_RECIPE;
    Ok(contents)
}

/// Rows as the recipe leaves them, table after table.
fn transformed(
    raw: &Raw,
    data_type: DataType,
    recipe: &Recipe,
    transforms: &[Transform],
) -> Result<RowsBuf, BuildError> {
    let (count, widths) = (raw.rows.count(raw.width), recipe.tables());
    let mut out = RowsBuf::zeros(data_type, count * widths.iter().sum::<usize>());
    let mut largest = 0.0f32;
    raw.each(Projector::new(recipe, transforms, raw.width), |first, tables| {
        let mut before = 0;
        for (table, wide) in tables.iter().zip(&widths) {
            let size = |x: &f32| if x.is_nan() { f32::INFINITY } else { x.abs() };
            largest = table.iter().map(size).fold(largest, f32::max);
            out.overwrite(before + first * wide, table);
            before += count * wide;
        }
    });
    // 65520 is the first number that rounds to infinity.
    if largest == f32::INFINITY || data_type == DataType::F16 && largest >= 65520.0 {
        return Err(BuildError::Overflow { name: "the transformed features".to_owned(), largest });
    }
    Ok(out)
}

/// The rows that transforms are fitted to.
struct Sample<'a> {
    rows: Rows<'a>,
    width: usize,
    extras: &'a Extras,
}

impl Sample<'_> {
    /// Fits the steps of `config` to the columns of `part` one after another, and notes how wide it becomes.
    fn fit(&self, part: &mut RecipePart, config: &RecipeConfig) -> Result<Transform, BuildError> {
        let mut transform = Transform::default();
        for kind in &config.transform {
            let wrong =
                |why: String| BuildError::Recipe { why: format!("part {}, step {kind}: {why}", part.name) };
            let step = match kind {
                StepKind::CenterImage if self.extras.means.is_none() => {
                    return Err(wrong("the means of the pictures are not known".into()));
                }
                StepKind::CenterImage => Step::CenterImage,
                StepKind::L2 => Step::Unit,
                StepKind::Center => {
                    let mean = self.moments(part, &transform, false).mean();
                    Step::Affine(Affine { mean: single(&mean), matrix: None })
                }
                StepKind::Pca(to) if *to > part.stored => {
                    return Err(wrong(format!("only {} numbers are there", part.stored)));
                }
                StepKind::Pca(to) => {
                    let (mean, axes) = self.axes(part, &transform, false).map_err(wrong)?;
                    let matrix = axes.vectors.iter().take(*to).flatten().map(|x| *x as f32).collect();
                    Step::Affine(Affine { mean: single(&mean), matrix: Some(matrix) })
                }
                StepKind::Whiten(covariance, power) => {
                    let within = *covariance == Covariance::Within;
                    if within && self.extras.classes.is_empty() {
                        return Err(wrong(
                            "the patches have no classes; give --classes labels or model".into(),
                        ));
                    }
                    let (mean, axes) = self.axes(part, &transform, within).map_err(wrong)?;
                    let least = config.floor * axes.values.iter().sum::<f64>() / axes.values.len() as f64;
                    let scaled = axes.vectors.iter().zip(&axes.values).flat_map(|(axis, value)| {
                        let scale = value.max(least).powf(-power);
                        axis.iter().map(move |x| (x * scale) as f32)
                    });
                    let matrix: Vec<f32> = scaled.collect();
                    if !matrix.iter().all(|x| x.is_finite()) {
                        return Err(wrong(
                            "some directions do not vary at all: pass --whiten-floor 0.01".into(),
                        ));
                    }
                    Step::Affine(Affine { mean: single(&mean), matrix: Some(matrix) })
                }
            };
            transform.steps.push(step);
            part.stored = transform.gives(part.width).map_err(wrong)?;
        }
        Ok(transform)
    }

    /// Mean and principal axes of a part as `transform` leaves it.
    fn axes(
        &self,
        part: &RecipePart,
        transform: &Transform,
        within: bool,
    ) -> Result<(Vec<f64>, Axes), String> {
        let mut moments = self.moments(part, transform, within);
        self.each(part, transform, |first, rows| moments.scatter(rows, self.classes_from(first, within)));
        let covariance = moments.covariance();
        if covariance.trace() <= 0.0 {
            return Err(format!("the {} features do not vary", self.rows.count(self.width)));
        }
        Ok((moments.mean(), Axes::of(covariance)?))
    }

    /// The means of a part as `transform` leaves it, by class if `within`.
    fn moments(&self, part: &RecipePart, transform: &Transform, within: bool) -> Moments {
        let mut moments = Moments::new(part.stored);
        self.each(part, transform, |first, rows| moments.add(rows, self.classes_from(first, within)));
        moments
    }

    fn classes_from(&self, first: usize, within: bool) -> &[u16] {
        if within { &self.extras.classes[first..] } else { &[] }
    }

    /// Tells `take` the number of a row and the rows from it on, chunk after chunk, as `transform` leaves `part`.
    fn each(&self, part: &RecipePart, transform: &Transform, mut take: impl FnMut(usize, &[f32])) {
        let recipe = Recipe::of(vec![part.clone()], Combine::Concat);
        let projector = Projector::new(&recipe, std::slice::from_ref(transform), self.width);
        let raw = Raw { rows: self.rows, width: self.width, means: self.extras.means.as_ref() };
        raw.each(projector, |first, tables| take(first, &tables[0]));
    }
}

fn single(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|x| *x as f32).collect()
}

/// Eigenvectors of a covariance and their eigenvalues, the largest first. Of the two directions of a vector the one
/// counts in which its largest number (of equal ones the first) is positive.
struct Axes {
    values: Vec<f64>,
    vectors: Vec<Vec<f64>>,
}

impl Axes {
    fn of(covariance: DMatrix<f64>) -> Result<Axes, String> {
        let width = covariance.nrows();
        let found = SymmetricEigen::try_new(covariance, f64::EPSILON, 100 * width.max(10))
            .ok_or("its eigenvalues could not be found; are the features sound?")?;
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|a, b| found.eigenvalues[*b].total_cmp(&found.eigenvalues[*a]).then(a.cmp(b)));
        let vector = |at: &usize| {
            let column = found.eigenvectors.column(*at);
            let largest = column.iter().fold(0.0f64, |m, x| if x.abs() > m.abs() { *x } else { m });
            column.iter().map(|x| x * largest.signum()).collect()
        };
        let vectors = order.iter().map(vector).collect();
        Ok(Axes { values: order.iter().map(|at| found.eigenvalues[*at].max(0.0)).collect(), vectors })
    }
}
