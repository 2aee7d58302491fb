//! The `[supplement]` keys: where it is kept what was marked as normal.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ranges::within;

/// Where it is kept what was marked as normal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SupplementConfig {
    /// A folder that gets a file for each thing that was marked as normal; what is in it counts as normal. Default: none,
    /// `run` then forgets what was marked when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Most features that can be marked, 1 to 100000: each is searched in every frame, beside those of the bank. Default
    /// 5000.
    pub size: usize,
}

impl Default for SupplementConfig {
    fn default() -> Self {
        SupplementConfig { folder: None, size: 5000 }
    }
}

impl SupplementConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        within("supplement", &[("size", self.size as f64, 1.0, 1e5)])
    }
}
