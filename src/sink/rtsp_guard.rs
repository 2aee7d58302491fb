//! Who may watch over RTSP: user and password, and TLS.

use gstreamer as gst;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::gst_rtsp::RTSPAuthMethod;
use gstreamer_rtsp_server::prelude::*;
use rtsp::gio::TlsCertificate;

use super::SinkError;
use super::access::{Access, Anyone};

/// What those are called who may watch.
const VIEWER: &str = "viewer";

/// What asks clients who they are, if anything does.
///
/// # Errors
/// [`SinkError::Access`] if certificate and key are none, or GLib has no TLS.
pub(super) fn guard(access: &Access) -> Result<Option<rtsp::RTSPAuth>, SinkError> {
    let user = access.user.as_ref().filter(|_| access.anyone == Anyone::Nothing);
    if user.is_none() && access.tls.is_none() {
        return Ok(None);
    }
    let guard = rtsp::RTSPAuth::new();
    let token = || rtsp::RTSPToken::builder().field(rtsp::RTSP_TOKEN_MEDIA_FACTORY_ROLE, VIEWER).build();
    match user {
        Some((user, password)) => {
            // A digest keeps the password off the wire, where TLS does not.
            guard.set_supported_methods(match access.tls {
                Some(_) => RTSPAuthMethod::Basic,
                None => RTSPAuthMethod::Digest,
            });
            guard.add_basic(&rtsp::RTSPAuth::make_basic(user, password), &token());
            guard.add_digest(user, password, &token());
        }
        None => guard.set_default_token(Some(&mut token())),
    }
    if let Some((certificate, key)) = &access.tls {
        let read = TlsCertificate::from_files(certificate, key).map_err(|error| SinkError::Access {
            key: "access.certificate",
            why: format!(
                "{} and {}: {error}; RTSP over TLS needs glib-networking",
                certificate.display(),
                key.display()
            ),
        })?;
        guard.set_tls_certificate(Some(&read));
    }
    Ok(Some(guard))
}

/// Lets viewers watch a stream.
pub(super) fn admit(factory: &rtsp::RTSPMediaFactory) {
    let role = gst::Structure::builder(VIEWER)
        .field(rtsp::RTSP_PERM_MEDIA_FACTORY_ACCESS, true)
        .field(rtsp::RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, true)
        .build();
    factory.add_role_from_structure(&role);
}
