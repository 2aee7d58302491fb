//! Encoded pictures to whoever wants to have them.

use std::time::SystemTime;

/// An encoded picture as it leaves the encoder.
#[derive(Debug, Clone, Copy)]
pub struct EncodedPicture<'a> {
    /// H.264 byte stream, with parameter sets before each key picture.
    pub bytes: &'a [u8],
    /// Whether decoding can start here.
    pub key: bool,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// When it was captured, if that is known.
    pub captured: Option<SystemTime>,
}

/// Takes encoded pictures, at once, on the encoder's thread.
pub trait PictureLog: Send {
    /// Takes the next one.
    fn take(&mut self, picture: &EncodedPicture<'_>);
}
