//! The `[foxglove]` keys: what a run shows and writes for the tools of robotics.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ranges::within;
use crate::sink::Anyone;

/// Pictures, regions, scores and events as topics, for the Foxglove app and as an MCAP file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FoxgloveConfig {
    /// `run`: address and port at which the Foxglove app connects (a WebSocket), such as `127.0.0.1:8765`. Nobody is asked who
    /// they are: another machine's address needs `access.anyone = "watch"`. Default: none.
    pub listen: Option<String>,
    /// `run`: an MCAP file to record to. It has its name when it is complete, and `.part` behind it until then. Default: none.
    pub record: Option<PathBuf>,
    /// MiB at which the next file begins; 0 makes it one. Default: 1024.
    pub file_mib: u32,
    /// MiB that stay free on its disk; where there is less, nothing is recorded. Default: 1024.
    pub free_mib: u32,
    /// Width of the score map in its topic, in points; its height follows. 0 leaves it out. Default: 160.
    pub scores_width: u32,
}

impl Default for FoxgloveConfig {
    fn default() -> Self {
        FoxgloveConfig { listen: None, record: None, file_mib: 1024, free_mib: 1024, scores_width: 160 }
    }
}

impl FoxgloveConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self, anyone: Anyone) -> Result<(), String> {
        within("foxglove", &[("scores_width", f64::from(self.scores_width), 0.0, 640.0)])?;
        if self.record.as_ref().is_some_and(|path| path.file_name().is_none() || path.is_dir()) {
            return Err("foxglove.record is no name of a file; write one that ends with .mcap".into());
        }
        if let Some(at) = self.address()?
            && !at.ip().is_loopback()
            && anyone != Anyone::Watch
        {
            let port = at.port();
            return Err(format!(
                "foxglove.listen: other machines reach {at}, and nobody is asked who they are; listen at 127.0.0.1 and go there \
                 by a tunnel (ssh -L {port}:127.0.0.1:{port} HOST), or set access.anyone = \"watch\" if everybody may watch"
            ));
        }
        if self.is_wanted() && cfg!(not(feature = "foxglove")) {
            let key = if self.listen.is_some() { "listen" } else { "record" };
            return Err(format!(
                "foxglove.{key}: this farout was built without it; build it with --features foxglove"
            ));
        }
        Ok(())
    }

    /// Whether anything is shown or written.
    pub fn is_wanted(&self) -> bool {
        self.listen.is_some() || self.record.is_some()
    }

    /// Where the app connects, if it can.
    ///
    /// # Errors
    /// If that is no address.
    pub fn address(&self) -> Result<Option<SocketAddr>, String> {
        let Some(listen) = &self.listen else { return Ok(None) };
        let local = listen.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let read = local.as_ref().unwrap_or(listen).parse().ok();
        let wrong = || format!("foxglove.listen is {listen:?}, write an address and a port: 127.0.0.1:8765");
        read.map(Some).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_wrong_ones_named() {
        let at = |listen: &str| FoxgloveConfig { listen: Some(listen.into()), ..FoxgloveConfig::default() };
        assert_eq!(FoxgloveConfig::default().address(), Ok(None));
        assert_eq!(at("127.0.0.1:8765").address(), Ok(Some("127.0.0.1:8765".parse().unwrap())));
        assert_eq!(at("localhost:8765").address(), Ok(Some("127.0.0.1:8765".parse().unwrap())));
        assert_eq!(at("[::1]:0").address(), Ok(Some("[::1]:0".parse().unwrap())));
        for wrong in ["8765", "ws://127.0.0.1:8765", "localhost", "car:8765", ""] {
            let why = at(wrong).check(Anyone::Nothing).unwrap_err();
            assert!(why.contains("foxglove.listen") && why.contains("127.0.0.1:8765"), "{why}");
        }
        let wide = FoxgloveConfig { scores_width: 10_000, ..FoxgloveConfig::default() };
        assert!(wide.check(Anyone::Nothing).unwrap_err().contains("foxglove.scores_width"));
        assert!(at("0.0.0.0:8765").check(Anyone::Nothing).unwrap_err().contains("access.anyone"));
        let told = at("127.0.0.1:8765").check(Anyone::Nothing);
        match cfg!(feature = "foxglove") {
            true => assert_eq!(told, Ok(())),
            false => assert!(told.unwrap_err().contains("--features foxglove")),
        }
    }
}
