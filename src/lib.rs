//! farout watches road video and marks, live, what the training data never showed.

pub mod bank;
pub mod cli;
pub mod cmd;
pub mod collect;
pub mod colour;
pub mod config;
pub mod detector;
pub mod features;
pub mod file;
pub mod finding;
pub mod flow;
pub mod frame;
pub mod grid;
pub mod health;
pub mod identity;
pub mod model;
pub mod nearest;
pub mod overlay;
pub mod pool;
pub mod region;
pub mod score;
pub mod sink;
pub mod source;
pub mod stop;
