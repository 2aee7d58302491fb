//! The live way: a picture lane that never waits, and a detection lane that judges the newest picture whenever the model
//! is free.
//!
//! Camera -> [`Steady`](crate::source::Steady) -> draw -> encode is the picture lane, at the camera's rate. On its way
//! each picture is offered to the detection lane (preprocess -> features -> nearest -> score -> record), whose newest
//! verdict lies on every picture, carried along the motion between the judged picture and the shown one.

mod carry;
mod handover;
mod lane;
mod priority;
mod show;
mod verdicts;

pub use lane::{Lanes, run};
pub use verdicts::{LaneState, Verdicts};
