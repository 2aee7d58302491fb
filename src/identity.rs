//! What a model is, as far as its features are concerned: two equal identities give equal features.

use serde::{Deserialize, Serialize};

/// The identity of a model and of how it is fed; a bank only fits the model it was built with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// SHA-256 of the model file, lower-case hexadecimal.
    pub sha256: String,
    /// Name of the tensor that holds the features.
    pub feature_tensor: String,
    /// Fingerprint of the preprocessing: input size, channel order, mean and deviation.
    pub preprocessing: String,
    /// Numbers per feature.
    pub width: usize,
}
