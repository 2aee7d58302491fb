//! How the C library keeps the memory of a daemon's threads.

/// As many heaps as keep two busy threads apart.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 2;

/// Has the C library keep a few heaps for all threads, unless `MALLOC_ARENA_MAX` says how many.
///
/// Each connection to a camera and each viewer starts a dozen threads of GStreamer's. By default each of them may get a heap of
/// its own, eight for each core, and what it frees stays there: a daemon whose camera comes and goes would grow for hours.
pub fn few() {
    #[cfg(target_env = "gnu")]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: it sets a number of the C library's, under that library's own lock.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, HEAPS) };
    }
}

/// Gives the system back what is free. After a camera is lost, pictures and decoders of its size are, spread over the heaps; the
/// next one may need others.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it looks at the C library's own heaps, under their locks.
    unsafe {
        libc::malloc_trim(0)
    };
}
