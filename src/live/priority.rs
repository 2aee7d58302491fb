//! The priority of threads: what may wait gives way to what may not.

/// Lowers the priority of this thread and of all that it starts from now on by `nice` steps (0 to 19), as `nice` does.
/// Raising it again takes privileges.
#[cfg(target_os = "linux")]
pub fn lower(nice: u32) {
    if nice == 0 {
        return;
    }
    // SAFETY: the call takes numbers only. On Linux, 0 is the calling thread, and threads inherit from who starts them.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice.min(19) as libc::c_int) };
    if done != 0 {
        let why = std::io::Error::last_os_error();
        tracing::warn!(%why, "a thread that should give way keeps its priority");
    }
}

/// Elsewhere threads keep theirs.
#[cfg(not(target_os = "linux"))]
pub fn lower(_: u32) {}
