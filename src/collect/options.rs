//! How a bank is built, by the names of `bank build`'s flags: the `[bank.build]` section of a recipe.

use serde::{Deserialize, Serialize};

use super::recipe::{AffinityConfig, RecipeConfig};
use crate::bank::{ClassSource, Combine, DataType, Discriminant, OutlierUse, StepKind};
use crate::identity::ModelIdentity;

/// `[bank.build]`. The keys are the flags of `farout bank build`, which override them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildOptions {
    /// Reference features in the bank. Default 100000.
    pub size: usize,
    /// Seed of the sample and of the held-out split. Default 0.
    pub seed: u64,
    /// Every n-th frame of videos is taken. Default 1.
    pub every: u32,
    /// How the features are stored: "f16" (default) or "f32".
    pub dtype: DataType,
    /// Where the classes of patches come from: "labels" or "model". Default: they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassSource>,
    /// Most outlier features in the bank. Default 10000.
    pub outlier_size: usize,
    /// Whether the bank gets small pictures of the images that its rows come from, for people to look at. Default false.
    pub thumbnails: bool,
    /// Parts of the features, by the names that the model gives them. Default: all.
    pub parts: Vec<String>,
    /// Each part is split into so many of equal width. Default 1.
    pub split_heads: usize,
    /// Steps by which each part is transformed: "center:image", "center", "l2", "pca:N", "whiten", ... Default none.
    pub transform: Vec<StepKind>,
    /// Whitening takes no eigenvalue for smaller than this share of their mean. Default 0.01.
    pub whiten_floor: f64,
    /// How the distances of the parts become one: "concat" (default), "sum" or "max".
    pub combine: Combine,
    /// What distances to known outliers do to those of each part: "off" (default), "ratio", "difference:W".
    pub outlier_use: OutlierUse,
    /// Nearest outliers whose mean distance counts. Default 1.
    pub outlier_k: usize,
    /// Weight of a linear discriminant between references and known outliers. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discriminant: Option<f64>,
    /// How far its covariance is drawn to that of equal, independent numbers, in mean variances. Default 1.
    pub discriminant_ridge: f64,
    /// Search each patch among the references of its class only. Default false.
    pub by_class: bool,
    /// The part by which patches of a frame look alike, among which distances are smoothed. Default: not smoothed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    /// How alike they must look: cosines are divided by this. Default 0.2.
    pub affinity_temperature: f64,
    /// How near they must be, in patches. Default 3.
    pub affinity_radius: f64,
    /// How much the others count beside the patch itself, 0 to 1. Default 0.7.
    pub affinity_share: f64,
}

impl Default for BuildOptions {
    fn default() -> Self {
        let recipe = RecipeConfig::default();
        BuildOptions {
            size: 100_000,
            seed: 0,
            every: 1,
            dtype: DataType::F16,
            classes: None,
            outlier_size: 10_000,
            thumbnails: false,
            parts: recipe.parts,
            split_heads: recipe.heads,
            transform: recipe.transform,
            whiten_floor: recipe.floor,
            combine: recipe.combine,
            outlier_use: recipe.outliers,
            outlier_k: recipe.outlier_k,
            discriminant: None,
            discriminant_ridge: 1.0,
            by_class: recipe.by_class,
            affinity: None,
            affinity_temperature: 0.2,
            affinity_radius: 3.0,
            affinity_share: 0.7,
        }
    }
}

impl BuildOptions {
    /// What the rows are made of and how they are compared.
    pub fn recipe(&self) -> RecipeConfig {
        RecipeConfig {
            parts: self.parts.clone(),
            heads: self.split_heads,
            transform: self.transform.clone(),
            floor: self.whiten_floor,
            combine: self.combine,
            outliers: self.outlier_use,
            outlier_k: self.outlier_k,
            discriminant: self.discriminant.map(|weight| Discriminant {
                weight,
                ridge: self.discriminant_ridge,
                baseline: None,
            }),
            by_class: self.by_class,
            affinity: self.affinity.clone().map(|part| AffinityConfig {
                part,
                temperature: self.affinity_temperature,
                radius: self.affinity_radius,
                share: self.affinity_share,
            }),
        }
    }

    /// Whether it needs known outliers.
    pub fn wants_outliers(&self) -> bool {
        !self.outlier_use.is_off() || self.discriminant.is_some()
    }

    /// The same for a model with other parts than these are written for: all parts that it has, smoothed by the last of them,
    /// each reduced to no more than a third of its numbers (128 of 384 is what the recipes were chosen with). As they are where
    /// they fit.
    pub fn fitted_to(&self, model: &ModelIdentity) -> BuildOptions {
        let mut fitted = self.clone();
        let (known, widths): (Vec<&str>, Vec<usize>) = match model.parts.is_empty() {
            true => (vec![model.features.as_str()], vec![model.width]),
            false => model.parts.iter().map(|part| (part.name.as_str(), part.width)).unzip(),
        };
        let has = |name: &String| known.contains(&name.as_str());
        if self.parts.iter().all(has) && self.affinity.iter().all(has) {
            return fitted;
        }
        fitted.parts = Vec::new();
        fitted.affinity = self.affinity.as_ref().and(known.last()).map(|name| (*name).to_owned());
        let most = widths.into_iter().min().unwrap_or_default().div_ceil(3).max(1);
        for step in &mut fitted.transform {
            if let StepKind::Pca(to) = step {
                *to = most.min(*to);
            }
        }
        fitted
    }

    /// Checks what the types cannot, but for what depends on a model.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        for (key, number) in [
            ("size", self.size),
            ("every", self.every as usize),
            ("outlier_size", self.outlier_size),
            ("split_heads", self.split_heads),
            ("outlier_k", self.outlier_k),
        ] {
            if number == 0 {
                return Err(format!("bank.build.{key} is 0; give at least 1"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::FeaturePart;

    #[test]
    fn what_does_not_fit_a_model_is_fitted_to_it() {
        let model = |parts: &[(&str, usize)]| ModelIdentity {
            sha256: String::new(),
            features: "keys".into(),
            width: 96,
            patch: 16,
            input_size: String::new(),
            normalisation: String::new(),
            name: String::new(),
            parts: parts
                .iter()
                .map(|(name, width)| FeaturePart { name: (*name).into(), width: *width })
                .collect(),
        };
        let options = BuildOptions {
            parts: vec!["tokens:10".into()],
            transform: vec![StepKind::CenterImage, StepKind::Pca(128)],
            affinity: Some("tokens:10".into()),
            ..BuildOptions::default()
        };
        assert_eq!(options.fitted_to(&model(&[("tokens:10", 384), ("key:9", 384)])), options);
        let other = options.fitted_to(&model(&[]));
        assert_eq!((other.parts.len(), other.affinity.as_deref()), (0, Some("keys")));
        assert_eq!(other.transform, [StepKind::CenterImage, StepKind::Pca(32)]);
        other.recipe().smoothing(&other.recipe().resolve(&model(&[])).unwrap()).unwrap();
        assert_eq!(BuildOptions::default().fitted_to(&model(&[])), BuildOptions::default());
    }

    #[test]
    fn defaults_are_those_of_a_recipe_and_nought_is_refused() {
        assert_eq!(BuildOptions::default().recipe(), RecipeConfig::default());
        assert!(!BuildOptions::default().wants_outliers());
        assert!(BuildOptions { discriminant: Some(1.0), ..BuildOptions::default() }.wants_outliers());
        let why = BuildOptions { outlier_k: 0, ..BuildOptions::default() }.check().unwrap_err();
        assert!(why.contains("bank.build.outlier_k"), "{why}");
    }
}
