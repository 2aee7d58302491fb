//! farout watches road video and marks, live, what the training data never showed.

pub mod file;
pub mod finding;
pub mod frame;
pub mod grid;
pub mod nearest;
pub mod pool;
pub mod region;
pub mod sink;
pub mod source;
pub mod stop;
