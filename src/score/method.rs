//! The score methods by name, and what each needs.

use super::Parametric;
use crate::bank::Bank;
use crate::grid::LogitsKind;
use crate::written::stored_as_written;

/// How a patch is scored. Serialised as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Mean distance to the k nearest reference features.
    #[default]
    Knn,
    /// The model's own uncertainty.
    Parametric(Parametric),
    /// Distance and uncertainty, each scaled by what the reference images show: cDNP.
    Cdnp,
    /// The sum of the z-scores of distance and uncertainty.
    Zsum,
}

impl Method {
    /// All methods, in the order in which reports list them.
    pub const ALL: [Method; 8] = [
        Method::Knn,
        Method::Parametric(Parametric::Lse),
        Method::Parametric(Parametric::Msp),
        Method::Parametric(Parametric::MaxLogit),
        Method::Parametric(Parametric::Entropy),
        Method::Parametric(Parametric::Rba),
        Method::Cdnp,
        Method::Zsum,
    ];

    /// Those that a run can score by, as far as model and bank are there and the logits are of the right kind.
    pub fn allowed(at_hand: &ScoreInputs<'_>) -> Vec<Method> {
        let fits = |method: &Method| {
            (!method.searches() || at_hand.bank.is_some())
                && (!method.needs_logits() || at_hand.has_logits)
                && (*method != Method::Parametric(Parametric::Rba)
                    || at_hand.logits_kind == Some(LogitsKind::Masks))
        };
        Method::ALL.into_iter().filter(fits).collect()
    }

    /// Its name in configuration, banks and reports.
    pub fn name(self) -> &'static str {
        match self {
            Method::Knn => "knn",
            Method::Parametric(one) => one.name(),
            Method::Cdnp => "cdnp",
            Method::Zsum => "zsum",
        }
    }

    /// Whether it needs the distances to reference features.
    pub fn searches(self) -> bool {
        !matches!(self, Method::Parametric(_))
    }

    /// Whether it needs the model's logits.
    pub fn needs_logits(self) -> bool {
        self != Method::Knn
    }
}

/// What the scores of a run are made from.
#[derive(Debug, Clone, Copy)]
pub struct ScoreInputs<'a> {
    /// The bank that is searched.
    pub bank: Option<&'a Bank>,
    /// Neighbours of the search.
    pub k: usize,
    /// Whether the model gives logits.
    pub has_logits: bool,
    /// What these are, if that is known.
    pub logits_kind: Option<LogitsKind>,
    /// Whether the bank's statistics of distances were measured with the views that these distances come from.
    pub same_views: bool,
}

impl std::str::FromStr for Method {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Method::ALL.map(Method::name).join(", ");
        Method::ALL
            .into_iter()
            .find(|method| method.name() == text)
            .ok_or_else(|| format!("unknown method {text:?}: choose from {}", known()))
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

stored_as_written!(Method);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_by_name() {
        for method in Method::ALL {
            assert_eq!(method.name().parse(), Ok(method));
            let text = serde_json::to_string(&method).unwrap();
            assert_eq!(serde_json::from_str::<Method>(&text).unwrap(), method);
            assert!(method.searches() || method.needs_logits());
        }
        let why = serde_json::from_str::<Method>("\"psychic\"").unwrap_err().to_string();
        assert!(why.contains("psychic") && why.contains("max-logit, entropy, rba, cdnp, zsum"), "{why}");
    }
}
