//! What is asked of a bank's recipe: which parts of the features, transformed how, compared how.

use serde::{Deserialize, Serialize};

use super::error::BuildError;
use crate::bank::{Affinity, Combine, Covariance, Discriminant, OutlierUse, RecipePart, StepKind};
use crate::identity::ModelIdentity;

/// What is asked for; `fit` turns it into numbers once the sample is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeConfig {
    /// Parts of the features by name, in the order in which they are stored; `all` is the whole width as one part.
    /// Default none: each part that the model names.
    pub parts: Vec<String>,
    /// Each part is split into so many of equal width, such as its attention heads. Default 1.
    pub heads: usize,
    /// Steps, fitted and applied in their order to each part for itself. Default none.
    pub transform: Vec<StepKind>,
    /// Whitening takes no eigenvalue for smaller than this share of their mean, so that directions of mere
    /// noise do not rule. Default 0.01.
    pub floor: f64,
    /// How the distances of the parts become one. Default "concat".
    pub combine: Combine,
    /// What distances to known outliers do to those of each part. Default "off".
    pub outliers: OutlierUse,
    /// Nearest outliers whose mean distance counts. Default 1.
    pub outlier_k: usize,
    /// What else tells references from known outliers. Default: nothing.
    pub discriminant: Option<Discriminant>,
    /// Search each patch among the references of the class that the model sees there. Default false.
    pub by_class: bool,
    /// How the distances are smoothed among patches that look alike. Default: not at all.
    pub affinity: Option<AffinityConfig>,
}

/// [`Affinity`] with the part's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffinityConfig {
    /// The part that says what looks alike, by the name that it has in the bank.
    pub part: String,
    /// As [`Affinity::temperature`].
    pub temperature: f64,
    /// As [`Affinity::radius`].
    pub radius: f64,
    /// As [`Affinity::share`].
    pub share: f64,
}

/// Names the whole width as one part.
const ALL: &str = "all";

impl Default for RecipeConfig {
    fn default() -> Self {
        RecipeConfig {
            parts: Vec::new(),
            heads: 1,
            transform: Vec::new(),
            floor: 0.01,
            combine: Combine::Concat,
            outliers: OutlierUse::Off,
            outlier_k: 1,
            discriminant: None,
            by_class: false,
            affinity: None,
        }
    }
}

impl RecipeConfig {
    /// Whether the search or a step needs the classes of the rows.
    pub fn needs_classes(&self) -> bool {
        let within = |step: &StepKind| matches!(step, StepKind::Whiten(Covariance::Within, _));
        self.by_class || self.transform.iter().any(within)
    }

    /// Whether it needs the means of the pictures.
    pub fn centres_images(&self) -> bool {
        self.transform.first() == Some(&StepKind::CenterImage)
    }

    /// The smoothing among `parts` that is asked for.
    ///
    /// # Errors
    /// [`BuildError::Recipe`]: a part that there is not, or numbers that make no sense.
    pub fn smoothing(&self, parts: &[RecipePart]) -> Result<Option<Affinity>, BuildError> {
        let Some(AffinityConfig { part, temperature, radius, share }) = &self.affinity else {
            return Ok(None);
        };
        let wrong = |why: String| Err(BuildError::Recipe { why });
        let Some(number) = parts.iter().position(|known| known.name == *part) else {
            let names: Vec<_> = parts.iter().map(|known| known.name.as_str()).collect();
            return wrong(format!("no part {part:?} to smooth by; there are: {}", names.join(", ")));
        };
        let how = Affinity { part: number, temperature: *temperature, radius: *radius, share: *share };
        if !how.is_sane() {
            return wrong(format!(
                "smoothing needs a temperature and a radius above 0 and a share from 0 to 1, not {temperature}, {radius}, {share}"
            ));
        }
        Ok(Some(how))
    }

    /// The parts of the features of `model` that are asked for; without transforms, which remain to be fitted.
    ///
    /// # Errors
    /// [`BuildError::Recipe`]: a part that there is not, heads of unequal width, a floor that is no share.
    pub fn resolve(&self, model: &ModelIdentity) -> Result<Vec<RecipePart>, BuildError> {
        let wrong = |why: String| Err(BuildError::Recipe { why });
        if !(self.floor >= 0.0 && self.floor.is_finite()) {
            return wrong(format!(
                "the floor of the eigenvalues is {}, give a share such as 0.01",
                self.floor
            ));
        }
        if self.transform.iter().skip(1).any(|step| *step == StepKind::CenterImage) {
            return wrong("center:image can only be the first step of a transform".to_owned());
        }
        if let Some(how) = &self.discriminant {
            if !self.combine.searches_apart() {
                return wrong(
                    "a discriminant is added to distances in deviations: give --combine sum or max"
                        .to_owned(),
                );
            }
            if !how.is_sane() {
                return wrong(format!(
                    "a discriminant needs a weight and a ridge of 0 or more, not {} and {}",
                    how.weight, how.ridge
                ));
            }
        }
        let mut from = 0;
        let mut known = Vec::new();
        for part in &model.parts {
            known.push((part.name.as_str(), from, part.width));
            from += part.width;
        }
        if known.is_empty() {
            known.push((model.features.as_str(), 0, model.width));
        }
        let mut chosen = Vec::new();
        for name in &self.parts {
            match known.iter().find(|part| part.0 == name) {
                None if name == ALL => chosen.push((ALL, 0, model.width)),
                Some(part) => chosen.push(*part),
                None => {
                    let names: Vec<_> = known.iter().map(|part| part.0).collect();
                    return wrong(format!(
                        "the model's features have no part {name:?}; they have: {}, or all as one part",
                        names.join(", ")
                    ));
                }
            }
        }
        if chosen.is_empty() {
            chosen = known;
        }
        let heads = self.heads.max(1);
        let mut parts = Vec::new();
        for (name, from, width) in chosen {
            if width % heads != 0 {
                return wrong(format!("part {name} is {width} wide, which {heads} heads do not divide"));
            }
            let each = width / heads;
            parts.extend((0..heads).map(|head| RecipePart {
                name: if heads == 1 { name.to_owned() } else { format!("{name}/{}", head + 1) },
                from: from + head * each,
                width: each,
                stored: each,
                steps: Vec::new(),
                baseline: None,
            }));
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::FeaturePart;

    fn model(parts: &[(&str, usize)]) -> ModelIdentity {
        let part = |(name, width): &(&str, usize)| FeaturePart { name: (*name).to_owned(), width: *width };
        ModelIdentity {
            sha256: String::new(),
            features: "features".into(),
            width: 12,
            patch: 8,
            input_size: String::new(),
            normalisation: String::new(),
            name: String::new(),
            parts: parts.iter().map(part).collect(),
        }
    }

    #[test]
    fn parts_and_heads_are_columns() {
        let columns = |config: RecipeConfig, model: &ModelIdentity| -> Vec<(String, usize, usize)> {
            config.resolve(model).unwrap().into_iter().map(|p| (p.name, p.from, p.width)).collect()
        };
        let two = model(&[("value:9", 8), ("norm", 4)]);
        let text = |name: &str| name.to_owned();
        assert_eq!(columns(RecipeConfig::default(), &model(&[])), [(text("features"), 0, 12)]);
        assert_eq!(
            columns(RecipeConfig { parts: vec![text("norm"), text("value:9")], ..Default::default() }, &two),
            [(text("norm"), 8, 4), (text("value:9"), 0, 8)]
        );
        assert_eq!(
            columns(RecipeConfig { parts: vec![text("norm")], heads: 2, ..Default::default() }, &two),
            [(text("norm/1"), 8, 2), (text("norm/2"), 10, 2)]
        );
        assert_eq!(
            columns(RecipeConfig { parts: vec![text("all")], ..Default::default() }, &two),
            [(text("all"), 0, 12)]
        );
        let told = |weight| Some(Discriminant { weight, ridge: 1.0, baseline: None });
        for (config, words) in [
            (RecipeConfig { parts: vec![text("key:1")], ..Default::default() }, "value:9, norm"),
            (RecipeConfig { heads: 3, ..Default::default() }, "8 wide"),
            (RecipeConfig { floor: f64::NAN, ..Default::default() }, "0.01"),
            (RecipeConfig { discriminant: told(1.0), ..Default::default() }, "--combine sum"),
            (
                RecipeConfig { discriminant: told(-1.0), combine: Combine::Max, ..Default::default() },
                "not -1 and 1",
            ),
        ] {
            let why = config.resolve(&two).unwrap_err().to_string();
            assert!(why.contains(words), "{why}");
        }
    }
}
