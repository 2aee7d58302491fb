//! How a model's features become the rows of a bank, and how the distances of their parts become one.

use serde::{Deserialize, Serialize};

use super::{Baseline, Discriminant, OutlierUse, StepKind};
use crate::identity::ModelIdentity;

/// What is done to features before they are compared, part by part. The rows of the bank are stored as it leaves
/// them; the patches of a frame go the same way when they are searched for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The parts, in their order. Columns of the features that none of them names are not looked at.
    pub parts: Vec<RecipePart>,
    /// How they make one distance.
    #[serde(default)]
    pub combine: Combine,
    /// What distances to known outliers do to those of each part.
    #[serde(default, skip_serializing_if = "OutlierUse::is_off")]
    pub outliers: OutlierUse,
    /// Nearest outliers whose mean distance counts.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub outlier_k: usize,
    /// What else tells references from known outliers, if anything shall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminant: Option<Discriminant>,
    /// Whether each patch is searched among the references of the class that the model sees there, where this
    /// class has enough of them for the search.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_class: bool,
    /// How the distances are smoothed among patches that look alike, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
}

/// The distance of a patch becomes (1 - share) times itself and share times a mean over the patches around it,
/// weighted by how much they look alike (cosine of the transformed numbers of one part) and how near they are:
/// the softmax of cosine / temperature - |difference of places|^2 / (2 radius^2), places in patches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Affinity {
    /// Number of the part that says what looks alike.
    pub part: usize,
    /// Small ones let only what looks very much alike count.
    pub temperature: f64,
    /// In patches.
    pub radius: f64,
    /// From 0, nothing changes, to 1.
    pub share: f64,
}

impl Affinity {
    /// Whether its numbers make sense.
    pub fn is_sane(&self) -> bool {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        positive(self.temperature) && positive(self.radius) && (0.0..=1.0).contains(&self.share)
    }
}

fn one() -> usize {
    1
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

fn is_one(k: &usize) -> bool {
    *k == 1
}

/// Neighbouring columns of the features that are transformed together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipePart {
    /// What it is, e.g. `value:9`, or `value:9/2` for its second head.
    pub name: String,
    /// Its first column in the model's features, from 0.
    pub from: usize,
    /// Its columns there.
    pub width: usize,
    /// Numbers that its transform leaves of them.
    pub stored: usize,
    /// What its transform is made of; [`super::Transform`] has the numbers.
    #[serde(default)]
    pub steps: Vec<StepKind>,
    /// Its distances on held-out normal frames, where parts are searched one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// How parts make one distance. With d_p the mean L2 distance of part p to its k nearest rows, or what
/// [`OutlierUse`] makes of it, and m_p and s_p its mean and deviation on held-out normal frames:
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// One search over the columns of all parts side by side: L2 distance of the whole rows.
    #[default]
    Concat,
    /// The sum over the parts of d_p / s_p: that of their z-scores, moved by a constant so that 0 is a
    /// distance of 0. In standard deviations.
    Sum,
    /// The largest z-score (d_p - m_p) / s_p of all parts, in standard deviations. 0 is what is normal for a part;
    /// it may be negative.
    Max,
}

impl Combine {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Combine::Concat => "concat",
            Combine::Sum => "sum",
            Combine::Max => "max",
        }
    }

    /// Whether each part is searched for itself.
    pub fn searches_apart(self) -> bool {
        self != Combine::Concat
    }
}

/// Where the class of a patch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassSource {
    /// The label mask at the patch's centre.
    Labels,
    /// The largest of the model's logits at the patch's centre.
    Model,
}

impl ClassSource {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            ClassSource::Labels => "labels",
            ClassSource::Model => "model",
        }
    }
}

impl Recipe {
    /// Features compared as they are.
    pub fn plain(model: &ModelIdentity) -> Recipe {
        let name = match &model.parts[..] {
            [only] => only.name.clone(),
            _ => model.features.clone(),
        };
        let (width, steps) = (model.width, Vec::new());
        let part = RecipePart { name, from: 0, width, stored: width, steps, baseline: None };
        Recipe::of(vec![part], Combine::Concat)
    }

    /// Of these parts and nothing else.
    pub fn of(parts: Vec<RecipePart>, combine: Combine) -> Recipe {
        let outliers = OutlierUse::Off;
        Recipe { parts, combine, outliers, outlier_k: 1, discriminant: None, by_class: false, affinity: None }
    }

    /// Whether it is but the L2 distance of features of `width` numbers as they are.
    pub fn is_plain(&self, width: usize) -> bool {
        let searched = self.outliers.is_off() && !self.by_class && self.keeps_features(width);
        searched && self.affinity.is_none() && self.discriminant.is_none()
    }

    /// Whether the mean of its picture is taken off a feature before it is compared.
    pub fn centres_images(&self) -> bool {
        self.parts.iter().any(|part| part.steps.first() == Some(&StepKind::CenterImage))
    }

    /// Whether it leaves features of `width` numbers as they are.
    pub fn keeps_features(&self, width: usize) -> bool {
        let mut next = 0;
        let in_order = self.parts.iter().all(|part| {
            let fits = part.from == next && part.steps.is_empty();
            next = part.from.saturating_add(part.width);
            fits
        });
        in_order && next == width && (self.combine == Combine::Concat || self.parts.len() == 1)
    }

    /// Widths of the tables in which a bank keeps its rows: one for all parts, or one for each.
    pub fn tables(&self) -> Vec<usize> {
        let widths = self.parts.iter().map(|part| part.stored);
        match self.combine.searches_apart() {
            true => widths.collect(),
            false => vec![widths.sum()],
        }
    }

    /// Checks what a damaged file could hold, for features of `width` numbers.
    ///
    /// # Errors
    /// What cannot be, in words.
    pub fn check(&self, width: usize) -> Result<(), String> {
        if self.parts.is_empty() {
            return Err("its recipe names no part".to_owned());
        }
        if self.outlier_k == 0 {
            return Err("its recipe looks for no outlier".to_owned());
        }
        if !self.affinity.is_none_or(|how| how.part < self.parts.len() && how.is_sane()) {
            return Err(format!("its distances cannot be smoothed by {:?}", self.affinity));
        }
        if !self.discriminant.is_none_or(|how| how.is_sane() && self.combine.searches_apart()) {
            return Err(format!("its distances cannot be added to {:?}", self.discriminant));
        }
        for part in &self.parts {
            let fits = part.from.checked_add(part.width).is_some_and(|end| end <= width);
            // A step never adds numbers, so that sums of these cannot overflow either.
            if !fits || part.width == 0 || part.stored == 0 || part.stored > part.width {
                return Err(format!(
                    "its part {} has columns {} + {} of {width}, {} stored",
                    part.name, part.from, part.width, part.stored
                ));
            }
            let sane = |b: &Baseline| b.mean.is_finite() && b.deviation.is_finite() && b.deviation > 0.0;
            if !part.baseline.as_ref().is_none_or(sane) {
                return Err(format!("the baseline of its part {} is no mean and deviation", part.name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_of_untouched_columns_in_order_is_plain() {
        let part = |from, width| RecipePart {
            name: "p".into(),
            from,
            width,
            stored: width,
            steps: Vec::new(),
            baseline: None,
        };
        let recipe = Recipe::of;
        let two = || vec![part(0, 3), part(3, 4)];
        assert!(recipe(two(), Combine::Concat).is_plain(7));
        assert!(!recipe(two(), Combine::Concat).is_plain(8), "a column is left out");
        assert!(!recipe(two(), Combine::Sum).is_plain(7));
        assert!(!recipe(vec![part(3, 4), part(0, 3)], Combine::Concat).is_plain(7));
        assert_eq!(
            (recipe(two(), Combine::Sum).tables(), recipe(two(), Combine::Concat).tables()),
            (vec![3, 4], vec![7])
        );
        assert!(recipe(two(), Combine::Sum).check(7).is_ok());
        for (broken, width) in
            [(two(), 6), (vec![], 6), (vec![part(usize::MAX, 2)], 6), (vec![part(0, 0)], 6)]
        {
            assert!(recipe(broken, Combine::Sum).check(width).is_err());
        }
    }
}
