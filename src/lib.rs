//! farout watches road video and marks, live, what the training data never showed.

pub mod colour;
pub mod file;
pub mod finding;
pub mod flow;
pub mod frame;
pub mod grid;
pub mod health;
pub mod nearest;
pub mod overlay;
pub mod pool;
pub mod region;
pub mod sink;
pub mod source;
pub mod stop;
