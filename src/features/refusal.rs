//! Why ONNX Runtime does not take or run a model, and what to try: what it says is sorted by the phrases of its
//! source, and each kind of fault has a remedy of its own.

use std::fmt;

/// Models that ONNX Runtime is given in one piece are one protobuf message, which cannot be larger.
const LARGEST: usize = (1 << 31) - 1;

/// What ONNX Runtime has against a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The version of the file format is newer than the library.
    Format,
    /// A set of operators is newer than the library.
    Operators,
    /// An operator that the library does not know.
    UnknownOperator,
    /// An operator that it knows, and does not have for this number format or version.
    NoKernel,
    /// Number formats that do not fit each other.
    NumberFormats,
    /// Not enough memory.
    Memory,
    /// The message is too large.
    TooLarge,
    /// The message is no message.
    Damaged,
    /// The graph breaks the rules of ONNX in another way.
    Invalid,
    /// Sizes do not fit, or anything else.
    Other,
}

/// Phrases of ONNX Runtime and what they mean, the telling ones first.
const PHRASES: [(&str, Fault); 17] = [
    ("Unsupported model IR version", Fault::Format),
    ("Current official support for domain", Fault::Operators),
    ("is not a registered function/op", Fault::UnknownOperator),
    ("No Op registered for", Fault::UnknownOperator),
    ("No opset import for domain", Fault::UnknownOperator),
    ("Could not find an implementation for", Fault::NoKernel),
    ("Type Error:", Fault::NumberFormats),
    ("Unexpected input data type", Fault::NumberFormats),
    ("Failed to allocate memory", Fault::Memory),
    ("bad_alloc", Fault::Memory),
    ("Available memory of", Fault::Memory),
    ("out of memory", Fault::Memory),
    ("protobuf parsing failed", Fault::Damaged),
    ("ShapeInferenceError", Fault::Other),
    ("Got invalid dimensions", Fault::Other),
    ("This is an invalid model", Fault::Invalid),
    ("Invalid model", Fault::Invalid),
];

/// A model that ONNX Runtime refuses: the reason in its words, and what to try.
#[derive(Debug, Clone)]
pub struct Refusal {
    version: String,
    fault: Fault,
    reason: String,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ONNX Runtime {}: {}", self.version, self.reason)?;
        match self.remedy() {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    /// What ONNX Runtime `version` said of a model of so many bytes.
    pub fn new(version: &str, said: &str, bytes: usize) -> Refusal {
        let found = PHRASES.into_iter().find(|(phrase, _)| said.contains(phrase));
        let fault = match found {
            Some((_, Fault::Damaged)) | None if bytes > LARGEST => Fault::TooLarge,
            Some((_, fault)) => fault,
            None => Fault::Other,
        };
        // Before these stand places in the library's source, which help nobody.
        let plain = [Fault::Format, Fault::Operators, Fault::Memory].contains(&fault);
        let start = found.filter(|_| plain).and_then(|(phrase, _)| said.find(phrase)).unwrap_or(0);
        let reason = match fault {
            Fault::TooLarge => format!("the model has {bytes} bytes, {LARGEST} are the most in one piece"),
            _ => said.get(start..).unwrap_or(said).trim().trim_end_matches('.').to_owned(),
        };
        Refusal { version: version.to_owned(), fault, reason }
    }

    /// True if the size of the input has nothing to do with it.
    pub fn at_any_size(&self) -> bool {
        !matches!(self.fault, Fault::Other | Fault::Memory)
    }

    /// What to try; `None` where what is known of the input's size says more.
    fn remedy(&self) -> Option<String> {
        Some(match self.fault {
            Fault::Format => {
                "save the file with a lower ir_version (in Python: m = onnx.load(A); m.ir_version = 10; onnx.save(m, B)), or use a newer ONNX Runtime ([runtime] library)".to_owned()
            }
            Fault::Operators => {
                let newest = self.reason.rsplit(' ').next();
                let newest = newest.filter(|word| word.parse::<u32>().is_ok()).unwrap_or("17");
                format!(
                    "export the model with opset {newest} or older (opset_version in torch.onnx.export, or onnx.version_converter), or use a newer ONNX Runtime ([runtime] library)"
                )
            }
            Fault::UnknownOperator => {
                "the library has no such operator in this opset: export the model without operators of its own (plug-ins, custom ops), or with the opset that has them".to_owned()
            }
            Fault::NoKernel => {
                "the library has this operator on the CPU neither for these numbers nor for this opset: export the model in 32-bit floats, with an opset of 7 or newer (13 to 17 run everywhere)".to_owned()
            }
            Fault::NumberFormats => {
                "number formats in the file contradict each other, as after a conversion of parts: export it again in one format".to_owned()
            }
            Fault::Memory => {
                "take a smaller input (--size, or `size` in [model]), or free memory".to_owned()
            }
            Fault::TooLarge => {
                "export it in 16-bit floats, or take a smaller model".to_owned()
            }
            Fault::Damaged => "fetch or export the file again".to_owned(),
            Fault::Invalid => {
                "the file breaks a rule of ONNX (onnx.checker.check_model tells more): export it again, perhaps with another version of the exporter".to_owned()
            }
            Fault::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_the_remedy_that_fits() {
        let place = "/onnxruntime_src/onnxruntime/core/graph/model.cc:181 onnxruntime::Model::Model(int&&) ";
        for (said, any_size, word) in [
            ("Unsupported model IR version: 15, max supported IR version: 11", true, "lower ir_version"),
            ("Current official support for domain ai.onnx is till opset 23.", true, "opset 23 or older"),
            ("Fatal error: my.dom:Foo(-1) is not a registered function/op", true, "custom ops"),
            ("Error No Op registered for Gelu with domain_version of 17", true, "custom ops"),
            ("Could not find an implementation for Erf(13) node with name ''", true, "32-bit floats"),
            ("Type Error: Type 'tensor(int16)' of input parameter (b)", true, "one format"),
            ("Failed to allocate memory for requested buffer of size 1", false, "smaller input"),
            ("Failed to load model because protobuf parsing failed.", true, "again"),
            ("This is an invalid model. Error: Duplicate definition of name (y).", true, "check_model"),
        ] {
            let refusal = Refusal::new("1.23.2", &format!("{place}{said}\n"), 100);
            let told = refusal.to_string();
            assert!(told.starts_with("ONNX Runtime 1.23.2: ") && told.contains(word), "{told}");
            assert!(told.contains(said.trim_end_matches('.')) && !told.contains('\n'), "{told}");
            assert_eq!(refusal.at_any_size(), any_size, "{told}");
        }
        let shape =
            "This is an invalid model. Node () Op (Add) [ShapeInferenceError] Incompatible dimensions";
        let refusal = Refusal::new("1.23.2", shape, 100);
        assert!(!refusal.at_any_size() && refusal.to_string().ends_with("Incompatible dimensions"));
        let large = Refusal::new("1.23.2", "protobuf parsing failed", LARGEST + 1).to_string();
        assert!(large.contains("2147483648 bytes") && large.contains("16-bit floats"), "{large}");
    }
}
