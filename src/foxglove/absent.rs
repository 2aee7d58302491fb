//! What stands for it in a farout that was built without it.

use super::{FoxgloveConfig, FoxgloveFault};
use crate::live::VerdictHook;
use crate::sink::{EventSink, PictureLog, StateHook};

/// There is none.
#[derive(Clone)]
pub enum Foxglove {}

impl Foxglove {
    /// Nothing: a configuration that asks for it was refused when it was read.
    ///
    /// # Errors
    /// None.
    pub fn open(_: &FoxgloveConfig, _: StateHook) -> Result<Option<Foxglove>, FoxgloveFault> {
        Ok(None)
    }

    /// Where the app connects.
    pub fn url(&self) -> Option<String> {
        match *self {}
    }

    /// Takes the encoded pictures of a stream.
    pub fn pictures(&self, _: &str) -> Box<dyn PictureLog> {
        match *self {}
    }

    /// Takes the events of a stream.
    pub fn events(&self, _: &str) -> Box<dyn EventSink> {
        match *self {}
    }

    /// Says what is found in each frame.
    pub fn verdicts(&self) -> VerdictHook {
        match *self {}
    }

    /// Nothing more is said.
    pub fn end(&self) {
        match *self {}
    }
}
