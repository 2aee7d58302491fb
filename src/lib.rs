//! farout watches road video and marks, live, what the training data never showed.

pub mod frame;
pub mod grid;
pub mod pool;
pub mod source;
