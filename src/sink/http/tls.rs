//! TLS for the HTTP server.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::sink::SinkError;

/// Reads certificate and key.
///
/// # Errors
/// [`SinkError::Access`] if they cannot be read, or do not belong together.
pub(in crate::sink) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, SinkError> {
    let wrong = |key: &'static str, path: &Path, why: String| {
        let why = format!("{}: {why}", path.display());
        SinkError::Access { key, why }
    };
    let bad_certificate = |why: String| wrong("access.certificate", certificate, why);
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| bad_certificate(why.to_string()))?;
    if chain.is_empty() {
        return Err(bad_certificate("it holds no certificate in PEM".into()));
    }
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|why| wrong("access.key", key, why.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| bad_certificate(why.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|why| bad_certificate(why.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
