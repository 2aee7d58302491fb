//! The live way: a picture lane for each stream that never waits, and one detection lane that judges the newest pictures
//! whenever the model is free.
//!
//! Camera -> [`Steady`](crate::source::Steady) -> draw -> encode is a picture lane, at the camera's rate. On its way
//! each picture is offered to the detection lane (preprocess -> features -> nearest -> score -> record), whose newest
//! verdict lies on every picture, carried along the motion between the judged picture and the shown one. Of several
//! streams the one that was judged longest ago is next.

mod carry;
mod changes;
mod detection;
mod gave_up;
mod handover;
mod ladder;
mod opened;
mod priority;
mod scores;
mod shared;
mod show;
mod streams;
mod verdicts;

pub use changes::OpenDetector;
pub use gave_up::GaveUp;
pub use priority::lower as lower_priority;
pub use scores::{Recent, RecentScores, ScoreFigures};
pub use shared::{Reencode, Standing, is_ready};
pub use streams::{Exchange, Live, Stream};
pub use verdicts::{DetectionStatus, Facts, LaneState, Scored, TimedVerdict, VerdictHook, Verdicts};

#[cfg(test)]
mod tests;
