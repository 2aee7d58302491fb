//! Pictures, regions, scores and events on topics that the tools of robotics show: live for the Foxglove app, and in an MCAP
//! file. Nothing here makes a frame wait: what finds no room in a queue is counted and left out.

#[cfg(not(feature = "foxglove"))]
mod absent;
mod config;
#[cfg(feature = "foxglove")]
mod messages;
#[cfg(feature = "foxglove")]
mod recording;
#[cfg(feature = "foxglove")]
mod said;
#[cfg(feature = "foxglove")]
mod speaker;

#[cfg(not(feature = "foxglove"))]
pub use absent::Foxglove;
pub use config::FoxgloveConfig;
#[cfg(feature = "foxglove")]
pub use speaker::Foxglove;

/// Why nothing can be shown or written.
#[derive(Debug, thiserror::Error)]
#[error("foxglove.{key}: {why}")]
pub struct FoxgloveFault {
    /// The key of the configuration.
    pub key: &'static str,
    /// What is wrong, and what to try.
    pub why: String,
}
