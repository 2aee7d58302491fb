//! One line of what `farout doctor` and `farout check` tell: a thing looked for, how it stands, and the remedy.

use serde::Serialize;

/// How a thing looked for stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Present and working.
    Good,
    /// Absent, and nothing needs it: something slower or smaller takes its place.
    Absent,
    /// Absent or broken, and farout does not run without it.
    Bad,
}

/// One thing that was looked for.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The heading it belongs under, e.g. `ONNX Runtime`, `encoders`.
    pub topic: &'static str,
    /// What was looked for, e.g. `CUDAExecutionProvider`.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
    /// Version, path, or the reason why it is not there.
    pub detail: String,
    /// What to do about it, if anything is to be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a remedy.
    pub fn new(
        topic: &'static str,
        name: impl Into<String>,
        standing: Standing,
        detail: impl Into<String>,
    ) -> Finding {
        Finding { topic, name: name.into(), standing, detail: detail.into(), remedy: None }
    }

    /// The same with a remedy.
    pub fn remedy(self, remedy: impl Into<String>) -> Finding {
        Finding { remedy: Some(remedy.into()), ..self }
    }
}
