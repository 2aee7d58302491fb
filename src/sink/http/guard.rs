//! Who may ask what: token or password, and pages of other origins.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use super::whep;
use crate::sink::access::{Access, Anyone};

/// What a guess costs who guesses.
const GUESS: Duration = Duration::from_millis(300);
/// What may be asked without showing anything: whether it lives tells nobody anything.
const FREE: [&str; 2] = ["/healthz", "/readyz"];
/// Where browsers ask for the password.
const SIGN_IN: &str = "/sign-in";
/// What those may not read who only watch.
const OWN: &str = "/api/v1/config";

/// What a request has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Token or password.
    Right,
    Wrong,
    Nothing,
}

/// Guards a server that listens at `listens`.
pub(super) struct Guard {
    access: Access,
    listens: IpAddr,
}

impl Guard {
    pub(super) fn new(access: Access, listens: IpAddr) -> Guard {
        Guard { access, listens }
    }

    /// Whether a request may be answered; if not, the answer that says why. A wrong guess has to wait for it.
    pub(super) async fn refuses(&self, request: Request) -> Result<Request, Response> {
        match self.refusal(&request) {
            None => Ok(request),
            Some((answer, guessed)) => {
                if guessed {
                    tokio::time::sleep(GUESS).await;
                }
                Err(answer)
            }
        }
    }

    /// The answer to a request that is refused, and whether it was a wrong guess.
    fn refusal(&self, request: &Request) -> Option<(Response, bool)> {
        let (head, path) = (request.headers(), request.uri().path());
        let gets = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !gets && foreign(head) {
            return Some((
                refused("a page of another origin may neither change anything here nor watch by WHEP"),
                false,
            ));
        }
        if FREE.contains(&path) && gets {
            return None;
        }
        // Who asks for a stream over WebRTC only watches, however it is asked for.
        let reads = gets || whep::asked(path).is_some();
        if !self.access.is_guarded() {
            // A page of another origin whose name was made to lead here (DNS rebinding).
            if self.listens.is_loopback() && !names_us(head) {
                return Some((refused("this address is called 127.0.0.1 or localhost here"), false));
            }
            let may = self.listens.is_loopback() || (reads && path != OWN);
            let why = || {
                refused(
                    "those who only watch may change nothing; set access.token_file or access.user to steer",
                )
            };
            return (!may).then(|| (why(), false));
        }
        let shown = shown(head, &self.access);
        let watches = self.access.anyone == Anyone::Watch && reads && path != SIGN_IN;
        if shown == Shown::Right || (watches && path != OWN) {
            return None;
        }
        if watches && shown == Shown::Nothing {
            // No challenge: a browser would ask for a password though nobody wants to sign in.
            return Some((refused("this is for those who sign in"), false));
        }
        let asks = HeaderValue::from_static("Basic realm=\"farout\", charset=\"UTF-8\"");
        let why = match shown {
            Shown::Wrong => "wrong token or password",
            _ => "show the token (Authorization: Bearer TOKEN), or user and password",
        };
        let answer =
            ([(WWW_AUTHENTICATE, asks)], Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", why));
        Some((answer.into_response(), shown == Shown::Wrong))
    }
}

fn refused(why: &str) -> Response {
    Problem::new(StatusCode::FORBIDDEN, "not allowed", why).into_response()
}

/// What the request has shown.
fn shown(head: &HeaderMap, access: &Access) -> Shown {
    let Some(value) = head.get(AUTHORIZATION).map(HeaderValue::as_bytes) else { return Shown::Nothing };
    let same = |one: &[u8], other: &str| bool::from(one.ct_eq(other.as_bytes()));
    let token = |shown: &[u8]| access.token.as_deref().is_some_and(|token| same(shown, token));
    let split = value.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = value.split_at(split.unwrap_or(value.len()));
    let rest = rest.trim_ascii();
    let right = if scheme.eq_ignore_ascii_case(b"bearer") {
        token(rest)
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        let decoded = STANDARD.decode(rest).unwrap_or_default();
        let colon = decoded.iter().position(|byte| *byte == b':');
        colon.is_some_and(|at| {
            let (user, password) = (&decoded[..at], &decoded[at + 1..]);
            let known = access.user.as_ref();
            // Both are compared, whatever the first says.
            known.is_some_and(|(name, secret)| same(user, name) & same(password, secret)) | token(password)
        })
    } else {
        false
    };
    if right { Shown::Right } else { Shown::Wrong }
}

/// Whether a browser says that a page of another origin asks.
fn foreign(head: &HeaderMap) -> bool {
    let Some(origin) = head.get(ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let host = head.get(HOST).and_then(|host| host.to_str().ok());
    origin.is_none() || origin != host
}

/// Whether the request was sent to a name of this machine for itself. Who says none is no browser.
fn names_us(head: &HeaderMap) -> bool {
    let Some(host) = head.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn status(guard: &Guard, method: &str, path: &str, heads: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in heads {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        guard.refusal(&request).map_or(200, |(answer, _)| answer.status().as_u16())
    }

    #[test]
    fn token_and_password_are_asked_for() {
        let access = Access {
            token: Some("s3cret".into()),
            user: Some(("me".into(), "pass:word".into())),
            ..Access::default()
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let guard = Guard::new(access.clone(), "127.0.0.1".parse().unwrap());
        for (shown, want) in [
            ("Bearer s3cret".to_owned(), 200),
            ("bearer  s3cret".to_owned(), 200),
            (basic("me:pass:word"), 200),
            (basic("anybody:s3cret"), 200),
            ("Bearer s3cre".to_owned(), 401),
            ("Bearer s3cret2".to_owned(), 401),
            ("Bearer".to_owned(), 401),
            (basic("me:pass"), 401),
            (basic("you:pass:word"), 401),
            (basic("me"), 401),
            ("Basic !".to_owned(), 401),
            ("Digest s3cret".to_owned(), 401),
        ] {
            assert_eq!(status(&guard, "GET", "/", &[("authorization", &shown)]), want, "{shown}");
        }
        assert_eq!(status(&guard, "GET", "/api/v1/state", &[]), 401);
        assert_eq!(status(&guard, "GET", "/healthz", &[]), 200);
        assert_eq!(status(&guard, "POST", "/healthz", &[]), 401);
        let watch = Guard::new(Access { anyone: Anyone::Watch, ..access }, "0.0.0.0".parse().unwrap());
        assert_eq!(status(&watch, "GET", "/front.mp4", &[]), 200);
        // By WebRTC, too, which is asked for in another way; but not by a page of elsewhere.
        assert_eq!(status(&watch, "POST", "/front.whep", &[]), 200);
        assert_eq!(status(&watch, "DELETE", "/front.whep/0a1b", &[]), 200);
        assert_eq!(status(&watch, "DELETE", "/api/v1/streams/front.whep", &[]), 401);
        assert_eq!(status(&guard, "POST", "/front.whep", &[]), 401);
        let elsewhere = [("host", "car"), ("origin", "http://evil.example")];
        assert_eq!(status(&watch, "POST", "/front.whep", &elsewhere), 403);
        assert_eq!(status(&watch, "GET", OWN, &[]), 403);
        assert_eq!(status(&watch, "GET", OWN, &[("authorization", "Bearer s")]), 401);
        assert_eq!(status(&watch, "GET", SIGN_IN, &[]), 401);
        assert_eq!(status(&watch, "GET", SIGN_IN, &[("authorization", "Bearer s3cret")]), 200);
        assert_eq!(status(&watch, "PATCH", OWN, &[]), 401);
        assert_eq!(status(&watch, "PATCH", OWN, &[("authorization", "Bearer s3cret")]), 200);
    }

    #[test]
    fn other_origins_and_names_are_refused() {
        let guard = Guard::new(Access::default(), "127.0.0.1".parse().unwrap());
        for (heads, get, patch) in [
            (&[][..], 200, 200),
            (&[("host", "localhost:8080")], 200, 200),
            (&[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")], 200, 200),
            (&[("host", "[::1]:8080")], 200, 200),
            (&[("host", "car.localhost")], 200, 200),
            (&[("host", "localhost:8080"), ("origin", "http://evil.example")], 200, 403),
            (&[("host", "localhost:8080"), ("origin", "null")], 200, 403),
            (&[("host", "evil.example:8080"), ("origin", "http://evil.example:8080")], 403, 403),
            (&[("host", "127.0.0.1.evil.example")], 403, 403),
        ] {
            assert_eq!(status(&guard, "GET", "/", heads), get, "{heads:?}");
            assert_eq!(status(&guard, "PATCH", OWN, heads), patch, "{heads:?}");
        }
        // Those who only watch.
        let open = Access { anyone: Anyone::Watch, ..Access::default() };
        let guard = Guard::new(open, "0.0.0.0".parse().unwrap());
        assert_eq!(status(&guard, "GET", "/", &[("host", "192.168.1.2")]), 200);
        assert_eq!(status(&guard, "DELETE", "/api/v1/streams/a", &[("host", "192.168.1.2")]), 403);
        assert_eq!(status(&guard, "GET", OWN, &[]), 403);
    }
}
