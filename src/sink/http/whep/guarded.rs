//! Where bytes from the network meet the library that speaks WebRTC.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does `work`; `None` if it panics. The library asserts things about what the other end sends (an offer that gives one number
/// to two formats is enough): that must end one viewer and not the server.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    // Whatever the work has left half done belongs to one viewer, who is let go.
    catch_unwind(AssertUnwindSafe(work)).ok()
}
