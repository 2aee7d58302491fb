//! How a part of the output stands.

use std::sync::Arc;

/// Told what is wrong with a part of the output, by its name, or that nothing is any more.
pub type StateHook = Arc<dyn Fn(&'static str, Option<String>) + Send + Sync>;
