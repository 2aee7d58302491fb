//! What `farout doctor` tells about ONNX Runtime and its execution providers.

use super::attempt::Attempt;
use super::config::RuntimeConfig;
use super::device::{Device, Precision, Provider};
use super::runtime::{REMEDY, Runtime, RuntimeError};
use super::{byte_products, provider, supplies};
use crate::finding::{Finding, Standing};

const TOPIC: &str = "ONNX Runtime";

/// The library, and each execution provider of `config` with the reason if it does not load.
/// Loads the library; runs nothing.
pub fn findings(config: &RuntimeConfig) -> Vec<Finding> {
    let runtime = match Runtime::load(config.library.as_deref()) {
        Ok(runtime) => runtime,
        Err(error) => return vec![library_fault(&error)],
    };
    let insists = config.device != Device::Auto;
    let attempts = config.attempts();
    let mut findings = vec![Finding {
        topic: TOPIC,
        name: "library".to_owned(),
        standing: Standing::Good,
        detail: format!("{} in {}", runtime.version, runtime.path.display()),
        remedy: None,
    }];
    let plugins = config.provider.keys().filter_map(|name| Provider::named(name).ok());
    let others = plugins.filter(|one| !Provider::KNOWN.contains(one));
    for provider in Provider::KNOWN.into_iter().chain(others) {
        let needed = insists && attempts.iter().any(|one| one.provider == provider);
        let name = provider.name().to_owned();
        findings.push(
            match provider::loads(&runtime, Attempt { provider, precision: Precision::Fp32 }, config) {
                Ok(_) => Finding {
                    topic: TOPIC,
                    name,
                    standing: Standing::Good,
                    detail: match config.plugin(provider) {
                        Some((library, _)) => format!("loads from {}", library.display()),
                        None => format!("loads{}", supplies::of(&runtime, provider).notes()),
                    },
                    remedy: None,
                },
                Err(why) => Finding {
                    topic: TOPIC,
                    name,
                    standing: if needed { Standing::Bad } else { Standing::Absent },
                    detail: why,
                    remedy: Some(provider::remedy(provider).to_owned()),
                },
            },
        );
    }
    findings.push(byte_products(&runtime));
    findings
}

/// Whether models in 8-bit integers are computed rightly as they are.
fn byte_products(runtime: &Runtime) -> Finding {
    let (standing, detail) = match byte_products::saturate(runtime) {
        Ok(false) => (Standing::Good, "exact".to_owned()),
        Ok(true) => (
            Standing::Good,
            "signed ones saturate on this processor (no VNNI): farout takes weights as unsigned, which is exact".to_owned(),
        ),
        Err(why) => (Standing::Absent, why),
    };
    Finding { topic: TOPIC, name: "8-bit products".to_owned(), standing, detail, remedy: None }
}

fn library_fault(error: &RuntimeError) -> Finding {
    Finding {
        topic: TOPIC,
        name: "library".to_owned(),
        standing: Standing::Bad,
        detail: error.to_string(),
        remedy: Some(match error {
            RuntimeError::AlreadyLoaded { .. } => "restart".to_owned(),
            _ => REMEDY.to_owned(),
        }),
    }
}
