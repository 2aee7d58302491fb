//! What spares a GPU session copies and launches, step by step: each step is taken only if the session then gives the
//! same features as before it.

use super::config::{IoBinding, RuntimeConfig};
use super::device::Provider;
use crate::grid::Features;
use crate::model::SizeRule;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortcut {
    /// Inputs and outputs at fixed places in the GPU's memory, on a stream that the search shares.
    Binding,
    /// After that: all work of a run captured once, and repeated by one launch.
    Graph,
}

impl std::fmt::Display for Shortcut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Shortcut::Binding => "device I/O binding",
            Shortcut::Graph => "CUDA graph",
        })
    }
}

/// A step that was wanted and is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The step.
    pub shortcut: Shortcut,
    /// The reason.
    pub why: String,
}

impl std::fmt::Display for Withheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.shortcut, self.why)
    }
}

impl RuntimeConfig {
    /// The steps to try, in their order, for a model whose input follows `size`; and why others that are asked for are not.
    pub fn shortcuts(&self, provider: Provider, size: SizeRule) -> (Vec<Shortcut>, Vec<Withheld>) {
        // Places in CUDA's memory are of use to CUDA's own providers.
        let cuda = matches!(provider, Provider::Cuda | Provider::TensorRt) && self.plugin(provider).is_none();
        if !cuda {
            return (Vec::new(), Vec::new());
        }
        let no_graph = |why: &str| vec![Withheld { shortcut: Shortcut::Graph, why: why.to_owned() }];
        match (self.io_binding, self.cuda_graph, size) {
            (IoBinding::Off, false, _) => (Vec::new(), Vec::new()),
            (IoBinding::Off, true, _) => {
                (Vec::new(), no_graph("it needs fixed places in memory; set runtime.io_binding to \"auto\""))
            }
            (IoBinding::Auto, false, _) => (vec![Shortcut::Binding], Vec::new()),
            (IoBinding::Auto, true, SizeRule::Fixed(_)) => {
                (vec![Shortcut::Binding, Shortcut::Graph], Vec::new())
            }
            (IoBinding::Auto, true, SizeRule::Height(_) | SizeRule::Frame) => (
                vec![Shortcut::Binding],
                no_graph(
                    "it is of one size of input, and this model takes any; prepare it with --size, or set `size` in [model]",
                ),
            ),
        }
    }
}

/// Takes the steps one after another, up to the first that fails: `better` makes the next session of the present
/// one, which it gives back where that fails.
pub(super) fn apply<S>(
    mut session: S,
    steps: &[Shortcut],
    mut better: impl FnMut(S, Shortcut) -> Result<S, Box<(S, String)>>,
) -> (S, Vec<Withheld>) {
    for (number, &step) in steps.iter().enumerate() {
        match better(session, step) {
            Ok(next) => session = next,
            Err(refused) => {
                let (session, why) = *refused;
                let after = steps[number + 1..].iter().map(|&later| Withheld {
                    shortcut: later,
                    why: format!("it needs the {step}, which does not work"),
                });
                return (session, std::iter::once(Withheld { shortcut: step, why }).chain(after).collect());
            }
        }
    }
    (session, Vec::new())
}

/// Whether two frames' features, both on the host, differ by at most `tolerance` of their length.
///
/// # Errors
/// By how much they do.
pub(super) fn close(wanted: &Features, got: &Features, tolerance: f32) -> Result<(), String> {
    if (wanted.grid, wanted.width, wanted.data.len()) != (got.grid, got.width, got.data.len()) {
        return Err("its features have other dimensions".to_owned());
    }
    let square = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
    let pairs = wanted.data.iter().zip(got.data.iter());
    let off = square(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let all = square(&mut wanted.data.iter().map(|a| f64::from(*a)));
    let part = (off / all.max(f64::MIN_POSITIVE)).sqrt();
    if part <= f64::from(tolerance) {
        return Ok(());
    }
    // NaN comes here, too.
    Err(format!(
        "its features differ by {:.2} % of their length from those without it, {:.2} % is allowed",
        100.0 * part,
        100.0 * tolerance
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;
    use crate::model::InputSize;
    use crate::pool::Pooled;

    #[test]
    fn a_graph_is_for_one_size_and_fixed_places() {
        use Shortcut::{Binding, Graph};
        let fixed = SizeRule::Fixed(InputSize { width: 448, height: 224 });
        let asked = |io_binding, cuda_graph, provider, size| {
            let config = RuntimeConfig { io_binding, cuda_graph, ..RuntimeConfig::default() };
            let (steps, withheld) = config.shortcuts(provider, size);
            (steps, withheld.iter().map(Withheld::to_string).collect::<Vec<_>>().join("; "))
        };
        let (auto, off) = (IoBinding::Auto, IoBinding::Off);
        for provider in [Provider::Cuda, Provider::TensorRt] {
            assert_eq!(asked(auto, false, provider, fixed), (vec![Binding], String::new()));
            assert_eq!(asked(auto, true, provider, fixed), (vec![Binding, Graph], String::new()));
            assert_eq!(asked(off, false, provider, fixed), (vec![], String::new()));
            let (steps, why) = asked(off, true, provider, fixed);
            assert!(steps.is_empty() && why.contains("CUDA graph") && why.contains("io_binding"), "{why}");
            for any in [SizeRule::Frame, SizeRule::Height(364)] {
                let (steps, why) = asked(auto, true, provider, any);
                assert!(steps == [Binding] && why.contains("--size"), "{why}");
            }
        }
        assert_eq!(asked(auto, true, Provider::Cpu, fixed), (vec![], String::new()));
        assert_eq!(RuntimeConfig::default().shortcuts(Provider::Cuda, fixed).0, [Binding], "by default");
    }

    #[test]
    fn what_fails_leaves_the_session_that_worked() {
        use Shortcut::{Binding, Graph};
        let taken = |fails: &[Shortcut]| {
            let (session, withheld) = apply("plain".to_owned(), &[Binding, Graph], |now, step| {
                if fails.contains(&step) {
                    Err(Box::new((now, "no".to_owned())))
                } else {
                    Ok(format!("{now}, {step}"))
                }
            });
            (session, withheld.iter().map(Withheld::to_string).collect::<Vec<_>>())
        };
        assert_eq!(taken(&[]), ("plain, device I/O binding, CUDA graph".to_owned(), vec![]));
        assert_eq!(
            taken(&[Graph]),
            ("plain, device I/O binding".to_owned(), vec!["CUDA graph: no".to_owned()])
        );
        let (session, withheld) = taken(&[Binding]);
        assert_eq!((session.as_str(), withheld.len()), ("plain", 2));
        assert!(withheld[1].contains("needs the device I/O binding"), "{withheld:?}");
    }

    #[test]
    fn features_that_differ_are_told_by_how_much() {
        let features = |data: Vec<f32>| Features {
            grid: Grid { rows: 1, cols: 2 },
            width: 2,
            data: Pooled::unpooled(data),
            on_gpu: None,
        };
        let right = features(vec![3.0, 4.0, 0.0, 0.0]);
        assert_eq!(close(&right, &right, 0.0), Ok(()));
        assert_eq!(close(&right, &features(vec![3.0, 4.0, 0.0, 0.05]), 0.0101), Ok(()));
        let why = close(&right, &features(vec![3.0, 4.0, 0.0, 0.5]), 0.01).unwrap_err();
        assert!(why.contains("10.00 %"), "{why}");
        for broken in [f32::NAN, f32::INFINITY] {
            assert!(close(&right, &features(vec![3.0, 4.0, 0.0, broken]), 0.5).is_err());
        }
        assert!(close(&right, &features(vec![3.0, 4.0]), 0.5).unwrap_err().contains("dimensions"));
    }
}
