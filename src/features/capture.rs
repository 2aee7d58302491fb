//! The thread that a model runs in is known late: what ONNX Runtime captures as a CUDA graph, it captures for each thread
//! anew, and while it does the driver refuses calls of all other threads.

use super::agreement::agree;
use super::session::Session;
use super::shortcut::{Shortcut, Withheld};
use super::spoiled::tried_again;

impl Session {
    /// From now on the model runs in this thread. Where a CUDA graph is wanted it is captured here and now, and taken if the
    /// session then gives the same features; else the session runs as before, and log and [`Session::withheld`] tell why.
    /// Without this call nothing is captured.
    pub fn settle(&mut self) {
        let Some(mut pending) = self.pending.take() else { return };
        let keep = self.keep_on_gpu(false);
        let agreed =
            tried_again(|| agree(self, &mut pending.session, &pending.inputs, pending.tolerance), |why| why);
        match agreed {
            Ok(()) => {
                pending.session.origin.withheld = std::mem::take(&mut self.origin.withheld);
                *self = *pending.session;
            }
            Err(why) => {
                let withheld = Withheld { shortcut: Shortcut::Graph, why };
                tracing::warn!("the model runs without {withheld}");
                self.origin.withheld.push(withheld);
            }
        }
        self.keep_on_gpu(keep);
    }
}
