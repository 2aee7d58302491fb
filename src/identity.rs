//! Which model, which tensor and which input a feature comes from: what a bank stores and compares.

use serde::{Deserialize, Serialize};

/// Neighbouring columns of a model's features that belong together: those of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeaturePart {
    /// What it is, e.g. `value:9`.
    pub name: String,
    /// Its columns.
    pub width: usize,
}

/// Where features come from. Two features can be compared if their identities match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// SHA-256 of the model file (and of the external data it names), lower-case hexadecimal.
    pub sha256: String,
    /// Name of the feature tensor.
    pub features: String,
    /// Numbers per patch, C.
    pub width: usize,
    /// Side of a patch in input pixels.
    pub patch: usize,
    /// The rule of the input's size, e.g. `height 364` or `fixed 1024x512`.
    pub input_size: String,
    /// How pixels become numbers, e.g. `rgb x 0.003921569 - [0.5, 0.5, 0.5] / [0.5, 0.5, 0.5]`.
    pub normalisation: String,
    /// File stem of the model, for people; not compared.
    pub name: String,
    /// What the columns are, from the first on; empty if the model does not say. Not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<FeaturePart>,
}

impl ModelIdentity {
    /// What differs between this (the one at hand) and `other` (the one wanted): one line per
    /// difference, `what: this, not other`. Empty if features of both can be compared.
    pub fn differences(&self, other: &ModelIdentity) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |what: &str, this: &dyn std::fmt::Display, that: &dyn std::fmt::Display| {
            let (this, that) = (this.to_string(), that.to_string());
            if this != that {
                lines.push(format!("{what}: {this}, not {that}"));
            }
        };
        compare("feature width", &self.width, &other.width);
        compare("model SHA-256", &self.sha256, &other.sha256);
        compare("feature tensor", &self.features, &other.features);
        compare("patch", &self.patch, &other.patch);
        compare("input size", &self.input_size, &other.input_size);
        compare("normalisation", &self.normalisation, &other.normalisation);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_named_and_the_name_is_none() {
        let a = ModelIdentity {
            sha256: "aa".into(),
            features: "keys".into(),
            width: 384,
            patch: 14,
            input_size: "height 364".into(),
            normalisation: "rgb".into(),
            name: "a".into(),
            parts: Vec::new(),
        };
        assert!(a.differences(&ModelIdentity { name: "b".into(), ..a.clone() }).is_empty());
        let other = ModelIdentity { width: 768, features: "tokens".into(), ..a.clone() };
        assert_eq!(
            a.differences(&other),
            ["feature width: 384, not 768", "feature tensor: keys, not tokens"]
        );
        let back: ModelIdentity = serde_json::from_str(&serde_json::to_string(&a).unwrap()).unwrap();
        assert_eq!(back, a);
    }
}
