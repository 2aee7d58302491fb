//! Why frames cannot be scored.

use crate::bank::BankError;

/// Why frames cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The method needs what the model does not give.
    #[error(
        "score.method \"{0}\" needs logits, which this model does not give; name them in model.logits or use \"knn\""
    )]
    NoLogits(&'static str),
    /// The logits are not those of a mask classifier.
    #[error(
        "\"rba\" sums what the masks of a mask classifier reject, but the logits of this model are class scores (model.logits_kind is \"classes\"); use \"lse\", \"msp\", \"max-logit\" or \"entropy\""
    )]
    NotMasks,
    /// A fused method lacks the scales of its parts.
    #[error(
        "score.method \"{method}\" needs statistics that the bank does not hold: {what}; rebuild it with a model that gives logits: farout bank build"
    )]
    NoStatistics {
        /// The method.
        method: &'static str,
        /// What is missing.
        what: String,
    },
    /// A scale that the other key takes away.
    #[error(
        "score.method \"cdnp\" scales distances by those between reference features, which means nothing once score.normalise = \"spread\" has divided them; use \"median\", or the method \"zsum\""
    )]
    CdnpOfSpread,
    /// The automatic threshold belongs to maps that were treated otherwise.
    #[error(
        "the bank's thresholds were measured with {measured}, the configuration asks for {wanted}: rebuild the bank with this configuration (farout bank build -c), or give score.threshold as a number"
    )]
    OtherMaps {
        /// Keys of the calibration.
        measured: String,
        /// Keys of the configuration.
        wanted: String,
    },
    /// The automatic threshold belongs to other views of the picture.
    #[error(
        "the bank's thresholds were measured with {measured}, the configuration asks for {wanted}: rebuild the bank with this configuration (farout bank build -c), or give score.threshold as a number"
    )]
    OtherViews {
        /// Views of the calibration.
        measured: String,
        /// Views of the configuration.
        wanted: String,
    },
    /// No threshold can be had from the bank.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// The statistics belong to another number of neighbours.
    #[error(
        "the bank was calibrated for k = {measured}, the search uses k = {k}: set search.k = {measured}, rebuild the bank with k = {k}, or give score.threshold as a number"
    )]
    OtherK {
        /// k of the calibration.
        measured: usize,
        /// k of the search.
        k: usize,
    },
    /// The automatic threshold belongs to another pair of scores.
    #[error(
        "the bank's threshold for \"{method}\" is that of a fusion with \"{measured}\", score.partner is \"{partner}\": set score.partner = \"{measured}\", rebuild the bank with this configuration, or give score.threshold as a number"
    )]
    OtherPartner {
        /// The fused method.
        method: &'static str,
        /// Partner of the calibration.
        measured: String,
        /// Partner of the configuration.
        partner: &'static str,
    },
}
