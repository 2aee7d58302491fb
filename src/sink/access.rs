//! Who may watch and steer: the `[access]` keys, and what is read from the files that they name.

#[cfg(feature = "media")]
use std::path::Path;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(feature = "media")]
use super::{Address, SinkError};
#[cfg(feature = "media")]
use crate::secret;

/// Who may watch and steer over the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// A file with a token that programs send over HTTP (`Authorization: Bearer TOKEN`), and that is also taken as the
    /// password of any user. Default: none.
    pub token_file: Option<PathBuf>,
    /// The user that may watch and steer with the password, over HTTP and RTSP. Default: none.
    pub user: Option<String>,
    /// A file with that user's password. Default: none.
    pub password_file: Option<PathBuf>,
    /// What those may do who have neither, at addresses that other machines reach: "nothing", or "watch" (pictures, page
    /// and state, but no changes). Default: "nothing".
    pub anyone: Anyone,
    /// TLS for HTTP and RTSP: a file with the certificate and those that vouch for it, in PEM. Default: none.
    pub certificate: Option<PathBuf>,
    /// The certificate's key, in PEM. Default: none.
    pub key: Option<PathBuf>,
}

/// What those may do who have shown nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anyone {
    /// They are asked for token or password.
    #[default]
    Nothing,
    /// Pictures and state.
    Watch,
}

impl AccessConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let pairs = [
            ("user", self.user.is_some(), "password_file", self.password_file.is_some()),
            ("certificate", self.certificate.is_some(), "key", self.key.is_some()),
        ];
        for (one, has_one, other, has_other) in pairs {
            let (given, missing) = if has_one { (one, other) } else { (other, one) };
            if has_one != has_other {
                return Err(format!("access.{given} needs access.{missing} beside it"));
            }
        }
        match self.user.as_deref() {
            Some(user) if user.is_empty() || user.contains(':') || !user.is_ascii() => {
                Err(format!("access.user is {user:?}, give a name of ASCII characters without \":\""))
            }
            _ => Ok(()),
        }
    }

    /// The paths in it.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let AccessConfig { token_file, password_file, certificate, key, .. } = self;
        [token_file, password_file, certificate, key].into_iter().flatten()
    }
}

/// What the files say.
#[derive(Clone, Default)]
pub struct Access {
    /// Sent by programs.
    pub token: Option<String>,
    /// User and password.
    pub user: Option<(String, String)>,
    /// See [`AccessConfig::anyone`].
    pub anyone: Anyone,
    /// Certificate and key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access")
    }
}

#[cfg(feature = "media")]
impl Access {
    /// Reads the files.
    ///
    /// # Errors
    /// [`SinkError::Access`] if one cannot be read or holds nothing.
    pub fn read(config: &AccessConfig) -> Result<Access, SinkError> {
        fn each<T>(
            key: &'static str,
            path: Option<&PathBuf>,
            read: fn(&Path) -> Result<T, String>,
        ) -> Result<Option<T>, SinkError> {
            path.map(|path| read(path)).transpose().map_err(|why| SinkError::Access { key, why })
        }
        let AccessConfig { token_file, password_file, certificate, key, .. } = config;
        let password = each("access.password_file", password_file.as_ref(), secret::read)?;
        let certificate = each("access.certificate", certificate.as_ref(), secret::place)?;
        Ok(Access {
            token: each("access.token_file", token_file.as_ref(), secret::read)?,
            user: config.user.clone().zip(password),
            anyone: config.anyone,
            tls: certificate.zip(each("access.key", key.as_ref(), secret::place)?),
        })
    }

    /// Whether anything can be shown at all.
    pub fn is_guarded(&self) -> bool {
        self.token.is_some() || self.user.is_some()
    }

    /// What `config` promises: as [`Access::read`], without the files. Nobody can show what it asks for.
    pub(super) fn promised(config: &AccessConfig) -> Access {
        Access {
            token: config.token_file.is_some().then(String::new),
            user: config.user.clone().map(|user| (user, String::new())),
            anyone: config.anyone,
            tls: None,
        }
    }

    /// Refuses an address that other machines reach, if nobody there is asked for anything.
    ///
    /// # Errors
    /// [`SinkError::Open`] with the key and what to set. A token is nothing for RTSP.
    pub(super) fn guards(&self, address: &Address) -> Result<(), SinkError> {
        let (guarded, what) = match address.key {
            "output.rtsp" => (self.user.is_some(), "access.user and access.password_file"),
            _ => (self.is_guarded(), "access.token_file, or access.user and access.password_file"),
        };
        if address.socket.ip().is_loopback() || guarded || self.anyone == Anyone::Watch {
            return Ok(());
        }
        Err(SinkError::Open { key: address.key, address: address.socket.to_string(), what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<AccessConfig, String> {
        let config: AccessConfig = toml::from_str(text).map_err(|why| why.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn halves_are_refused() {
        for (text, want) in [
            ("user = \"a\"", "access.user needs access.password_file"),
            ("password_file = \"p\"", "access.password_file needs access.user"),
            ("key = \"k\"", "access.key needs access.certificate"),
            ("user = \"a:b\"\npassword_file = \"p\"", "without \":\""),
            ("anyone = \"all\"", "all"),
            ("token = \"x\"", "token"),
        ] {
            let why = config(text).unwrap_err();
            assert!(why.contains(want), "{text}: {why}");
        }
        assert!(config("").is_ok());
    }

    #[test]
    #[cfg(feature = "media")]
    fn an_open_address_needs_somebody_to_ask_for() {
        let dir = tempfile::tempdir().unwrap();
        let (secret, empty) = (dir.path().join("secret"), dir.path().join("empty"));
        std::fs::write(&secret, "s3cret\n").unwrap();
        std::fs::write(&empty, "\n").unwrap();
        let read = |text: &str| {
            let text =
                text.replace("SECRET", secret.to_str().unwrap()).replace("EMPTY", empty.to_str().unwrap());
            Access::read(&config(&text).unwrap()).map_err(|why| why.to_string())
        };
        let token = read("token_file = \"SECRET\"").unwrap();
        assert_eq!(token.token.as_deref(), Some("s3cret"));
        assert!(!format!("{token:?}").contains("s3cret"));
        let user = read("user = \"me\"\npassword_file = \"SECRET\"").unwrap();
        let watch = read("anyone = \"watch\"").unwrap();
        assert!(read("token_file = \"EMPTY\"").unwrap_err().contains("access.token_file"));
        assert!(read("token_file = \"/nowhere\"").unwrap_err().contains("/nowhere"));
        let at =
            |key, ip: &str| Address { key, socket: format!("{ip}:80").parse().unwrap(), path: "/x".into() };
        for (access, key, ip, ok) in [
            (&Access::default(), "output.http", "127.0.0.1", true),
            (&Access::default(), "output.http", "0.0.0.0", false),
            (&Access::default(), "output.rtsp", "192.168.1.2", false),
            (&token, "output.http", "0.0.0.0", true),
            (&token, "output.rtsp", "0.0.0.0", false),
            (&user, "output.rtsp", "0.0.0.0", true),
            (&watch, "output.rtsp", "[::]", true),
            (&watch, "output.http", "[::1]", true),
        ] {
            assert_eq!(access.guards(&at(key, ip)).is_ok(), ok, "{key} {ip}");
        }
        let why = token.guards(&at("output.rtsp", "0.0.0.0")).unwrap_err().to_string();
        assert!(
            why.contains("output.rtsp") && why.contains("access.user") && why.contains("127.0.0.1"),
            "{why}"
        );
    }
}
