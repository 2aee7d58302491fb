//! The first way to run a model that opens and gives the right numbers; why better ones do not.

use super::attempt::Attempt;

/// Opens sessions and judges them.
pub trait Opener {
    /// What is opened.
    type Session;

    /// Opens the model this way.
    ///
    /// # Errors
    /// Why it cannot be had, and what to try.
    fn open(&mut self, attempt: Attempt) -> Result<Self::Session, String>;

    /// Compares what the session gives with what is right.
    ///
    /// # Errors
    /// How far it is off.
    fn check(&mut self, session: &mut Self::Session, attempt: Attempt) -> Result<(), String>;
}

/// A way that was wanted more and does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The way.
    pub attempt: Attempt,
    /// The reason.
    pub why: String,
}

/// Who was passed over and why, in order: ways with one reason together, by the provider's name where the reason holds for
/// all of its precisions.
pub fn grouped(passed: &[PassedOver]) -> Vec<(String, String)> {
    let mut reasons: Vec<(Vec<Attempt>, &str)> = Vec::new();
    for one in passed {
        match reasons.iter_mut().find(|(_, why)| *why == one.why) {
            Some((attempts, _)) => attempts.push(one.attempt),
            None => reasons.push((vec![one.attempt], &one.why)),
        }
    }
    let name = |attempts: &[Attempt], one: Attempt| {
        let all = passed.iter().filter(|other| other.attempt.provider == one.provider).count();
        let here = attempts.iter().filter(|other| other.provider == one.provider).count();
        if all == here { one.provider.to_string() } else { one.to_string() }
    };
    let told = |(attempts, why): (Vec<Attempt>, &str)| {
        let mut names: Vec<String> = attempts.iter().map(|&one| name(&attempts, one)).collect();
        names.dedup();
        (names.join(", "), why.to_owned())
    };
    reasons.into_iter().map(told).collect()
}

/// Tries all ways in order.
///
/// # Errors
/// The reasons of all, if none works.
pub fn first_that_works<O: Opener>(
    attempts: &[Attempt],
    opener: &mut O,
) -> Result<(O::Session, Attempt, Vec<PassedOver>), Vec<PassedOver>> {
    let mut passed = Vec::new();
    for &attempt in attempts {
        let judged = opener.open(attempt).and_then(|mut session| {
            opener.check(&mut session, attempt)?;
            Ok(session)
        });
        match judged {
            Ok(session) => return Ok((session, attempt, passed)),
            Err(why) => passed.push(PassedOver { attempt, why }),
        }
    }
    Err(passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::config::RuntimeConfig;
    use crate::features::device::{Precision, Provider};

    /// Opens what is listed; a session's number is how far it is off.
    struct Bench {
        opens: Vec<(Provider, Precision, f32)>,
        opened: Vec<String>,
    }

    impl Opener for Bench {
        type Session = f32;

        fn open(&mut self, attempt: Attempt) -> Result<f32, String> {
            self.opened.push(attempt.to_string());
            let found = self.opens.iter().find(|one| (one.0, one.1) == (attempt.provider, attempt.precision));
            found.map(|one| one.2).ok_or_else(|| format!("no {attempt} here"))
        }

        fn check(&mut self, session: &mut f32, _: Attempt) -> Result<(), String> {
            if *session > 0.01 { Err(format!("off by {session}")) } else { Ok(()) }
        }
    }

    fn chosen(opens: &[(Provider, Precision, f32)]) -> (String, Vec<String>, Vec<String>) {
        let mut bench = Bench { opens: opens.to_vec(), opened: Vec::new() };
        let found = first_that_works(&RuntimeConfig::default().attempts(), &mut bench);
        let (name, passed) = match found {
            Ok((_, attempt, passed)) => (attempt.to_string(), passed),
            Err(passed) => ("none".to_owned(), passed),
        };
        (name, passed.into_iter().map(|one| one.why).collect(), bench.opened)
    }

    #[test]
    fn one_reason_is_told_once() {
        let passed = |list: &[(Provider, Precision, &str)]| -> Vec<PassedOver> {
            let one = |&(provider, precision, why): &(Provider, Precision, &str)| PassedOver {
                attempt: Attempt { provider, precision },
                why: why.to_owned(),
            };
            list.iter().map(one).collect()
        };
        use Precision::{Fp16, Fp32, Tf32};
        use Provider::{Cuda, TensorRt};
        let told = |list: &[(Provider, Precision, &str)]| -> Vec<String> {
            grouped(&passed(list)).into_iter().map(|(who, why)| format!("{who}: {why}")).collect()
        };
        let all = [
            (TensorRt, Fp16, "absent"),
            (TensorRt, Fp32, "absent"),
            (Cuda, Tf32, "absent"),
            (Cuda, Fp32, "absent"),
        ];
        assert_eq!(told(&all), ["tensorrt, cuda: absent"]);
        let mixed = [(TensorRt, Fp16, "off by 5 %"), (TensorRt, Fp32, "off by 4 %"), (Cuda, Tf32, "absent")];
        assert_eq!(
            told(&mixed),
            ["tensorrt (fp16): off by 5 %", "tensorrt (fp32): off by 4 %", "cuda: absent"]
        );
    }

    #[test]
    fn the_next_precision_then_the_next_provider_is_taken() {
        use Precision::{Fp16, Fp32, Tf32};
        use Provider::{Cpu, Cuda, TensorRt};
        let good = [(TensorRt, Fp16, 0.0), (TensorRt, Fp32, 0.0), (Cpu, Fp32, 0.0)];
        let (name, passed, opened) = chosen(&good);
        assert_eq!((name.as_str(), passed.len()), ("tensorrt (fp16)", 0));
        assert_eq!(opened, ["tensorrt (fp16)"], "nothing is opened that is not needed");
        let (name, passed, _) = chosen(&[(TensorRt, Fp16, 0.5), (TensorRt, Fp32, 0.001), (Cpu, Fp32, 0.0)]);
        assert_eq!((name.as_str(), &passed[..]), ("tensorrt (fp32)", &["off by 0.5".to_owned()][..]));
        let (name, passed, _) = chosen(&[(Cuda, Tf32, 0.3), (Cuda, Fp32, 0.0), (Cpu, Fp32, 0.0)]);
        assert_eq!(name, "cuda (fp32)");
        assert_eq!(passed, ["no tensorrt (fp16) here", "no tensorrt (fp32) here", "off by 0.3"]);
        let (name, passed, _) = chosen(&[(Cpu, Fp32, 0.0)]);
        assert_eq!((name.as_str(), passed.len()), ("cpu", 5));
        let (name, passed, _) = chosen(&[]);
        assert_eq!((name.as_str(), passed.len()), ("none", 6));
    }
}
