//! The kernels without a GPU: compiled for every architecture, and executed on the CPU.

mod agreement;
mod codes;
mod compiled;
mod emulated;
mod faults;
mod shared;
mod stand_in;
