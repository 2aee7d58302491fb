//! farout watches road video and marks, live, what the training data never showed.
//!
//! This page is the map of the house. The way of the data, one way, no back and forth:
//!
//! ```text
//! source -> Frame -> [features] -> Features + logits -> [nearest] -> Distances -> [score] -> scores, regions
//!                                                           |                                   |
//!                                                          bank                            [overlay] -> sink
//!                                                                                               \-> events
//! ```
//!
//! A second, small model may tell where alarms count (`[roi]`): a stage between search and score.
//!
//! `replay` (a recording) is one chain of these stages. `run` has two: the picture lane shows every picture of the camera
//! with the newest verdict, the detection lane judges the newest picture whenever the model is free ([`live`]).
//! `bank build` takes frames as far as the features, `eval` as far as the score maps, by several methods
//! at once. [`detector`] is the only place where the order is written, [`flow`] the only one that knows
//! threads and queues: each stage has a named thread, queues block, and only a live source drops, and counts.
//!
//! # Floors
//!
//! Imports go down the floors only; rooms of floor 1 share words, not each other (but `nearest` and
//! `score` read `bank`, and `features` reads `model`), and files of a room do not import each other in rings.
//! `tests/floors.rs` keeps it so.
//!
//! | floor | modules |
//! |---|---|
//! | 3, verbs | [`cli`], [`cmd`] (one file per subcommand) |
//! | 2, order | [`config`], [`detector`], [`flow`], [`health`], [`live`] (two lanes for `run`), [`collect`] (images -> bank), [`learn`] (footage -> detector), [`steer`] (changes while it runs), `web` (page, API, metrics), [`mqtt`] (a broker), [`mod@foxglove`] (topics for the tools of robotics), [`eval`] (data sets, metrics, reports), [`prepare`] (any ONNX file -> one that says all of itself) |
//! | 1, parts | [`source`], [`model`], [`features`] (sole user of ONNX Runtime), [`bank`], [`nearest`] (sole user of CUDA), [`score`], [`overlay`], [`sink`] |
//! | 0, words | [`frame`], [`grid`], [`digest`], [`clock`], [`exif`], [`region`], [`identity`], [`colour`], [`jpeg`], [`library`], [`finding`], [`gpu_stream`], [`heaps`], [`luma`], [`motion`], [`pending`], [`pool`], [`mod@file`], [`random`], [`ranges`], [`secret`], [`stop`], [`views`], `written` |
//!
//! Only `source` and `sink` mention GStreamer, behind the feature `media`.
//!
//! # Words
//!
//! *frame*; *patch*: one cell of the feature grid; *feature*: a patch's vector of C numbers;
//! *reference features* or *bank*: N x C, from in-distribution data; *neighbours* k; *distance*: L2,
//! unsquared, mean over the k nearest; *anomaly score*: higher is more out of distribution; *score
//! map*; *region*: a connected set of pixels over the threshold; *event*: a region that lasted; *void*:
//! pixels that no metric and no bank counts.
//!
//! # Invariants
//!
//! - An item carries its frame through all stages; nothing is re-joined by time stamp.
//! - Padding of the model's input never reaches bank, score or metrics.
//! - The steady state allocates no frame-sized buffer: buffers go round ([`pool`]).
//! - A file with its final name is complete; files that only grow are valid at every moment.
//! - On the CPU the same input gives the same scores, bit for bit, on one machine.
//! - No input makes the daemon panic; a fault of one frame costs that frame, live, and is counted. A library that panics over
//!   what a viewer sends (WebRTC) costs that viewer.

#![warn(clippy::unwrap_used)]

#[cfg(test)]
extern crate self as farout;

pub mod bank;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod cmd;
pub mod collect;
pub mod colour;
pub mod config;
pub mod detector;
pub mod digest;
pub mod eval;
pub mod exif;
pub mod features;
pub mod file;
pub mod finding;
pub mod flow;
pub mod foxglove;
pub mod frame;
pub mod gpu_stream;
pub mod grid;
pub mod health;
pub mod heaps;
#[cfg(test)]
#[path = "../tests/support/host_stream.rs"]
mod host_stream;
pub mod identity;
pub mod jpeg;
pub mod learn;
pub mod library;
pub mod live;
pub mod luma;
pub mod model;
pub mod motion;
pub mod mqtt;
pub mod nearest;
pub mod overlay;
pub mod pending;
pub mod pool;
pub mod prepare;
pub mod random;
pub mod ranges;
pub mod region;
pub mod score;
pub mod secret;
pub mod sink;
#[cfg(test)]
#[path = "../tests/support/skipped.rs"]
mod skipped;
pub mod source;
pub mod steer;
pub mod stop;
pub mod views;
#[cfg(feature = "media")]
pub mod web;
pub(crate) mod written;
