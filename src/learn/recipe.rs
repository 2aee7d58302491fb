//! Recipes: how a detector is learnt from footage, as TOML.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::collect::BuildOptions;
use crate::config::ConfigError;
use crate::score::ScoreConfig;

/// The shipped ones by name.
const SHIPPED: [(&str, &str); 2] = [
    ("road", include_str!("../../configs/recipes/road.toml")),
    ("plain", include_str!("../../configs/recipes/plain.toml")),
];

/// The recipe that is taken if none is named.
pub const DEFAULT: &str = "road";

/// How a detector is learnt. `farout bank build` reads `[bank.build]` alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// `[model]`: what is fetched if no model is given.
    pub model: RecipeModel,
    /// `[outliers]`: known outliers that are made of the footage.
    pub outliers: OutlierConfig,
    /// `[bank]`.
    pub bank: RecipeBank,
    /// `[score]`, as in a configuration: what the detector's scores and thresholds are.
    pub score: ScoreConfig,
}

/// The `[model]` section of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeModel {
    /// A model that `farout model fetch` knows. Default "dinov2-s".
    pub name: String,
    /// Its features. Default: keys of the last block.
    pub features: Vec<String>,
    /// Height of its input in pixels; the width is that of the footage. Default 364.
    pub height: usize,
}

impl Default for RecipeModel {
    fn default() -> Self {
        RecipeModel { name: "dinov2-s".into(), features: vec!["key:12".into()], height: 364 }
    }
}

/// The `[outliers]` section of a recipe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutlierConfig {
    /// Scraps of the footage are pasted into every n-th picture of it; 0, the default, for none.
    pub scraps_every: usize,
}

/// The `[bank]` section of a recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeBank {
    /// `[bank.build]`.
    pub build: BuildOptions,
}

impl Recipe {
    /// The shipped recipe with this name, or the one in this file.
    ///
    /// # Errors
    /// [`ConfigError`]: no such recipe; a file that is none, with line and key.
    pub fn find(named: &str) -> Result<Recipe, ConfigError> {
        let shipped = SHIPPED.iter().find(|(name, _)| *name == named);
        let path = Path::new(named);
        let text = match shipped {
            Some((_, text)) => (*text).to_owned(),
            None if !named.contains(['/', '.']) && !path.exists() => {
                let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
                return Err(ConfigError::Invalid(format!(
                    "there is no recipe {named:?}; shipped are {}; give one of them, or a TOML file",
                    names.join(" and ")
                )));
            }
            None => std::fs::read_to_string(path)
                .map_err(|why| ConfigError::Unreadable { path: path.to_owned(), why })?,
        };
        let recipe: Recipe = toml::from_str(&text)
            .map_err(|why| ConfigError::Malformed { path: path.to_owned(), why: Box::new(why) })?;
        recipe.check().map_err(|why| ConfigError::Invalid(format!("recipe {named}: {why}")))?;
        Ok(recipe)
    }

    /// Whether `named` is a shipped recipe.
    pub fn is_shipped(named: &str) -> bool {
        SHIPPED.iter().any(|(name, _)| *name == named)
    }

    /// Checks what the types cannot.
    fn check(&self) -> Result<(), String> {
        self.bank.build.check()?;
        self.score.check()?;
        if self.model.height == 0 {
            return Err("model.height is 0; give a height in pixels".into());
        }
        Ok(())
    }

    /// Checks what matters to learning alone, which makes its outliers itself.
    ///
    /// # Errors
    /// [`ConfigError`]: outliers are used and none are made.
    pub fn check_for_learning(&self) -> Result<(), ConfigError> {
        if self.bank.build.wants_outliers() && self.outliers.scraps_every == 0 {
            let why = "the recipe uses known outliers and makes none: set outliers.scraps_every, such as 4, or leave \
                       bank.build.outlier_use and bank.build.discriminant out";
            return Err(ConfigError::Invalid(why.into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_recipes_are_read_and_faults_named() {
        for (name, _) in SHIPPED {
            Recipe::find(name).unwrap();
        }
        assert!(Recipe::find(DEFAULT).unwrap().bank.build.wants_outliers());
        assert_eq!(Recipe::find("plain").unwrap().bank.build.recipe(), Default::default());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.toml");
        for (text, words) in [
            ("[bank.build]\nsizes = 3", "sizes"),
            ("[bank.build]\nsize = 0", "bank.build.size is 0"),
            ("[bank.build]\ntransform = [\"pcb\"]", "pcb"),
            ("[score]\nsmooth = -1.0", "smooth"),
            ("[model]\nheight = 0", "model.height"),
        ] {
            std::fs::write(&path, text).unwrap();
            let why = Recipe::find(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(why.contains(words) && why.contains("r.toml"), "{why}");
        }
        assert!(Recipe::find("rode").unwrap_err().to_string().contains("road and plain"));
        assert!(Recipe::find("./rode.toml").unwrap_err().to_string().contains("cannot read"));
    }
}
