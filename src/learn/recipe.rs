//! Recipes: how a detector is learnt from footage, as TOML.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::collect::BuildOptions;
use crate::config::ConfigError;
use crate::score::ScoreConfig;
use crate::views::ViewsConfig;
use crate::written::is_default;

/// The shipped ones by name.
const SHIPPED: [(&str, &str); 3] = [
    (DEFAULT_RECIPE, include_str!("../../configs/recipes/road.toml")),
    ("road-fine", include_str!("../../configs/recipes/road-fine.toml")),
    ("plain", include_str!("../../configs/recipes/plain.toml")),
];

/// What a row of the picture is given as.
const SHARE: &str = "share of the height, from 0 (above) to 1 (below), such as 0.41";

/// The recipe that is taken if none is named.
pub const DEFAULT_RECIPE: &str = "road";

/// Bases of bases of a recipe.
const DEEPEST: usize = 8;

/// How a detector is learnt. `farout bank build` reads `[bank.build]` alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// A recipe that this one changes: what is not said here is said there. Default none.
    #[serde(skip_serializing)]
    pub base: Option<String>,
    /// `[model]`: what is fetched if no model is given.
    pub model: RecipeModel,
    /// `[outliers]`: known outliers that are made of the footage.
    pub outliers: OutlierConfig,
    /// `[bank]`.
    pub bank: RecipeBank,
    /// `[views]`, as in a configuration.
    #[serde(skip_serializing_if = "is_default")]
    pub views: ViewsConfig,
    /// `[horizon]`: where the crops of `[views]` belong.
    #[serde(skip_serializing_if = "is_default")]
    pub horizon: HorizonConfig,
    /// `[score]`, as in a configuration: what the detector's scores and thresholds are.
    pub score: ScoreConfig,
}

/// Lays tables over tables, values over values.
fn lay_over(above: toml::Table, below: &mut toml::Table) {
    for (key, value) in above {
        match (value, below.get_mut(&key)) {
            (toml::Value::Table(above), Some(toml::Value::Table(below))) => lay_over(above, below),
            (value, _) => drop(below.insert(key, value)),
        }
    }
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

/// The `[horizon]` section of a recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HorizonConfig {
    /// The horizon that the crops of `[views]` are laid for, as a share of the height from above: where that of the footage lies
    /// lower or higher, they are moved as much. Default: they stay where they are.
    pub views: Option<f64>,
    /// That of the footage. Default: measured in its videos.
    pub row: Option<f64>,
}

impl HorizonConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    fn check(&self) -> Result<(), String> {
        for (key, value) in [("views", self.views), ("row", self.row)] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(format!("horizon.{key} is {value}: give a {SHARE}"));
            }
        }
        match (self.views, self.row) {
            (None, Some(_)) => Err(
                "horizon.row would move nothing: the recipe does not say for which horizon the crops of its \
                                    [views] are laid (horizon.views); road-fine does"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
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
        let recipe: Recipe = match Recipe::table(named, 0)? {
            (recipe, None) => recipe,
            (_, Some(table)) => table
                .try_into()
                .map_err(|why| ConfigError::Invalid(format!("recipe {named} with its base: {why}")))?,
        };
        recipe.check().map_err(|why| ConfigError::Invalid(format!("recipe {named}: {why}")))?;
        Ok(Recipe { base: None, ..recipe })
    }

    /// A recipe as it is written and, if it has a base, with that below it.
    fn table(named: &str, depth: usize) -> Result<(Recipe, Option<toml::Table>), ConfigError> {
        let text = Recipe::text(named)?;
        let wrong = |why| ConfigError::Malformed { path: named.into(), why: Box::new(why) };
        let recipe: Recipe = toml::from_str(&text).map_err(wrong)?;
        let Some(base) = &recipe.base else { return Ok((recipe, None)) };
        if depth > DEEPEST {
            return Err(ConfigError::Invalid(format!("recipe {named}: its bases lead in a circle")));
        }
        // A file's base lies beside it, if it is a file.
        let beside = Path::new(named).with_file_name(base);
        let base =
            if Recipe::is_shipped(base) { base.clone() } else { beside.to_string_lossy().into_owned() };
        let mut whole = match Recipe::table(&base, depth + 1)? {
            (_, Some(table)) => table,
            (_, None) => toml::from_str(&Recipe::text(&base)?).map_err(wrong)?,
        };
        let own: toml::Table = toml::from_str(&text).map_err(wrong)?;
        let has_views = own.get("views").and_then(|views| views.get("more")).is_some();
        if has_views && !own.contains_key("horizon") {
            // What it says is of the base's crops.
            whole.remove("horizon");
        }
        lay_over(own, &mut whole);
        Ok((recipe, Some(whole)))
    }

    /// What is written in it.
    fn text(named: &str) -> Result<String, ConfigError> {
        let shipped = SHIPPED.iter().find(|(name, _)| *name == named);
        let path = Path::new(named);
        match shipped {
            Some((_, text)) => Ok((*text).to_owned()),
            None if !named.contains(['/', '.']) && !path.exists() => {
                let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
                let (last, others) = names.split_last().unwrap_or((&"", &[]));
                Err(ConfigError::Invalid(format!(
                    "there is no recipe {named:?}; shipped are {} and {last}; give one of them, or a TOML file",
                    others.join(", ")
                )))
            }
            None => std::fs::read_to_string(path)
                .map_err(|why| ConfigError::Unreadable { path: path.to_owned(), why }),
        }
    }

    /// Whether `named` is a shipped recipe.
    pub fn is_shipped(named: &str) -> bool {
        SHIPPED.iter().any(|(name, _)| *name == named)
    }

    /// The recipe `named`, for footage whose horizon lies at this share of the height, if one is given.
    ///
    /// # Errors
    /// [`ConfigError`]: no share, or a recipe that asks for no horizon.
    pub fn with_horizon(mut self, named: &str, row: Option<f64>) -> Result<Recipe, ConfigError> {
        let Some(row) = row else { return Ok(self) };
        let why = match (0.0..=1.0).contains(&row) {
            false => format!("--horizon is {row}: give a {SHARE}"),
            true if self.horizon.views.is_none() => format!(
                "--horizon would move nothing: the recipe {named} has no closer look that is laid for a horizon (horizon.views); \
                 road-fine has one"
            ),
            true => {
                self.horizon.row = Some(row);
                return Ok(self);
            }
        };
        Err(ConfigError::Invalid(why))
    }

    /// Checks what the types cannot.
    fn check(&self) -> Result<(), String> {
        self.bank.build.check()?;
        self.score.check()?;
        self.views.check()?;
        self.horizon.check()?;
        if self.horizon.views.is_some() && !self.views.more.iter().any(|view| view.crop.can_move()) {
            return Err("horizon.views says for which horizon crops are laid, and no view in [views] has a crop that could be moved: give one a crop of a \
                        part of the height, or take horizon.views out".into());
        }
        if self.model.height == 0 {
            return Err("model.height is 0; give a height in pixels".into());
        }
        Ok(())
    }

    /// Checks what matters to learning alone, which makes its outliers itself.
    ///
    /// # Errors
    /// [`ConfigError`]: outliers are used and none are made, or the other way round.
    pub fn check_for_learning(&self, has_objects: bool) -> Result<(), ConfigError> {
        let why = match (self.bank.build.wants_outliers(), has_objects || self.outliers.scraps_every > 0) {
            (true, false) => {
                "the recipe uses known outliers and makes none: set outliers.scraps_every, such as 4, give --objects, or leave \
                 bank.build.outlier_use and bank.build.discriminant out"
            }
            (false, _) if has_objects => {
                "the recipe uses no known outliers, so that --objects would change nothing: set bank.build.outlier_use or \
                 bank.build.discriminant in it, or leave --objects out"
            }
            _ => return Ok(()),
        };
        Err(ConfigError::Invalid(why.into()))
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
        assert!(Recipe::find(DEFAULT_RECIPE).unwrap().bank.build.wants_outliers());
        assert_eq!(Recipe::find("plain").unwrap().bank.build.recipe(), Default::default());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.toml");
        for (text, words) in [
            ("[bank.build]\nsizes = 3", "sizes"),
            ("[bank.build]\nsize = 0", "bank.build.size is 0"),
            ("[bank.build]\ntransform = [\"pcb\"]", "pcb"),
            ("[score]\nsmooth = -1.0", "smooth"),
            ("[model]\nheight = 0", "model.height"),
            ("[horizon]\nviews = 41", "horizon.views"),
            ("[horizon]\nviews = 0.41", "no view"),
            ("base = \"road-fine\"\n[horizon]\nviews = 0.41\n[views]\nmore = []", "no view"),
        ] {
            std::fs::write(&path, text).unwrap();
            let why = Recipe::find(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(why.contains(words) && why.contains("r.toml"), "{why}");
        }
        std::fs::write(&path, "base = \"road\"\n[bank.build]\nsize = 77\n[score]\nsmooth = 0.5").unwrap();
        let (changed, road) = (Recipe::find(path.to_str().unwrap()).unwrap(), Recipe::find("road").unwrap());
        assert_eq!((changed.bank.build.size, changed.score.smooth), (77, 0.5));
        assert_eq!((&changed.model, &changed.outliers), (&road.model, &road.outliers));
        assert_eq!(changed.bank.build.parts, road.bank.build.parts);
        assert_eq!(changed.score.false_frame_rate, road.score.false_frame_rate);
        let fine = Recipe::find("road-fine").unwrap();
        let plain =
            Recipe { views: ViewsConfig::default(), horizon: HorizonConfig::default(), ..fine.clone() };
        assert_eq!(plain, road);
        assert_eq!(fine.views.more.len(), 1);
        std::fs::write(dir.path().join("s.toml"), "base = \"r.toml\"\n[bank.build]\nsize = 78").unwrap();
        let further = Recipe::find(dir.path().join("s.toml").to_str().unwrap()).unwrap();
        assert_eq!((further.bank.build.size, further.score.smooth), (78, 0.5));
        // Crops of its own are not laid for the horizon of the base's.
        std::fs::write(&path, "base = \"road-fine\"\n[[views.more]]\ncrop = [0.0, 0.4, 1.0, 0.9]").unwrap();
        let own = Recipe::find(path.to_str().unwrap()).unwrap();
        assert_eq!((own.horizon, own.views.more[0].crop.0[1]), (HorizonConfig::default(), 0.4));
        std::fs::write(&path, "base = \"s.toml\"").unwrap();
        assert!(Recipe::find(path.to_str().unwrap()).unwrap_err().to_string().contains("in a circle"));
        assert!(Recipe::find("rode").unwrap_err().to_string().contains("road, road-fine and plain"));
        assert!(Recipe::find("./rode.toml").unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn rows_outside_the_picture_and_without_a_crop_are_refused() {
        let check = |views: Option<f64>, row: Option<f64>| HorizonConfig { views, row }.check();
        assert!(check(Some(0.41), Some(0.5)).is_ok() && check(None, None).is_ok());
        for (views, row, word) in [
            (Some(1.2), None, "horizon.views"),
            (Some(0.4), Some(f64::NAN), "horizon.row"),
            (None, Some(0.5), "road-fine"),
        ] {
            let why = check(views, row).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }
}
