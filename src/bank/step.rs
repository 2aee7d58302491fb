//! One step of a transform, as it is asked for and told of.

use std::fmt;
use std::str::FromStr;

use crate::written::stored_as_written;

/// One step of a transform, as it is asked for: `center:image`, `l2`, `center`, `pca:64`, `whiten`, `whiten:within`,
/// or `whiten:0.25`, `whiten:within:0.25` with a power.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepKind {
    /// The mean over all patches of the same picture is subtracted: what all of it has in common (light, camera,
    /// place) is gone. Only as the first step.
    CenterImage,
    /// Every vector is divided by its L2 norm; the zero vector stays as it is. After it, squared L2 distance is
    /// twice the cosine distance.
    L2,
    /// The mean of the sample is subtracted.
    Center,
    /// Centred, then turned to the principal directions of the sample, of which so many are kept.
    Pca(usize),
    /// Centred, turned to the principal directions of a covariance and divided by the variance along each to a
    /// power. With 0.5, the deviation, L2 distances become Mahalanobis distances; with 0 it is a mere turn.
    Whiten(Covariance, f64),
}

/// The power of full whitening.
const FULL: f64 = 0.5;

/// Which covariance whitens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covariance {
    /// That of all rows.
    Total,
    /// The mean of those within the classes, weighted by their rows.
    Within,
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepKind::CenterImage => f.write_str("center:image"),
            StepKind::L2 => f.write_str("l2"),
            StepKind::Center => f.write_str("center"),
            StepKind::Pca(to) => write!(f, "pca:{to}"),
            StepKind::Whiten(covariance, power) => {
                f.write_str(if *covariance == Covariance::Within { "whiten:within" } else { "whiten" })?;
                if *power == FULL { Ok(()) } else { write!(f, ":{power}") }
            }
        }
    }
}

impl FromStr for StepKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(':').collect();
        let power = |text: &str| text.parse().ok().filter(|p| (0.0..=1.0).contains(p));
        let found = match words[..] {
            ["center" | "centre", "image"] => Some(StepKind::CenterImage),
            ["center" | "centre"] => Some(StepKind::Center),
            ["l2"] => Some(StepKind::L2),
            ["pca", to] => to.parse().ok().filter(|to| *to > 0).map(StepKind::Pca),
            ["whiten"] => Some(StepKind::Whiten(Covariance::Total, FULL)),
            ["whiten", "within"] => Some(StepKind::Whiten(Covariance::Within, FULL)),
            ["whiten", "within", p] => power(p).map(|p| StepKind::Whiten(Covariance::Within, p)),
            ["whiten", p] => power(p).map(|p| StepKind::Whiten(Covariance::Total, p)),
            _ => None,
        };
        found.ok_or_else(|| {
            format!(
                "unknown transform {text:?}: choose from center:image, center, l2, pca:N, whiten, whiten:within, \
                 and whiten:P and whiten:within:P with a power from 0 to 1"
            )
        })
    }
}

stored_as_written!(StepKind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_written_as_they_are_read() {
        for text in [
            "center:image",
            "l2",
            "center",
            "pca:64",
            "whiten",
            "whiten:within",
            "whiten:0.25",
            "whiten:within:0",
        ] {
            assert_eq!(text.parse::<StepKind>().unwrap().to_string(), text);
        }
        for wrong in
            ["", "pca", "pca:0", "pca:-1", "pca:x", "whiten:sometimes", "whiten:2", "whiten:NaN", "L2"]
        {
            assert!(wrong.parse::<StepKind>().unwrap_err().contains("pca:N"), "{wrong}");
        }
    }
}
