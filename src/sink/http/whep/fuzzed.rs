//! What the fuzzer calls: bytes from the network as they reach the one who talks WebRTC, in the same thread and without a socket.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::Input;
use str0m::net::{Protocol, Receive};

use super::guarded::guarded;
use super::viewer::Viewer;
use super::watched::Watched;

/// An offer that is answered.
const GOOD: &str = include_str!("../../../../fuzz/corpus/offer/browser.sdp");

fn here() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 8080).into()
}

fn viewer(offer: &str) -> Option<Viewer> {
    let stream: Arc<Watched> = Watched::new(Arc::default());
    Viewer::accept("0".to_owned(), &stream, offer, &[here()]).ok().map(|(viewer, _)| viewer)
}

/// Any bytes as an offer: answered or refused, behind the same guard as in the server.
pub fn offer(bytes: &[u8]) {
    if let Ok(offer) = std::str::from_utf8(bytes) {
        drop(guarded(|| viewer(offer)));
    }
}

/// Any bytes as datagrams, each behind its length in two bytes: taken or not.
pub fn datagrams(bytes: &[u8]) {
    thread_local!(static VIEWER: RefCell<Option<Viewer>> = const { RefCell::new(None) });
    VIEWER.with_borrow_mut(|kept| {
        let viewer = kept.get_or_insert_with(|| viewer(GOOD).expect("the offer of the corpus is answered"));
        let (mut rest, mut now) = (bytes, Instant::now());
        let from = (Ipv4Addr::LOCALHOST, 40_000).into();
        let mut lost = false;
        while let [high, low, more @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
            let (datagram, after) = more.split_at(length);
            (rest, now) = (after, now + Duration::from_millis(20));
            let Ok(received) = Receive::new(Protocol::Udp, from, here(), datagram) else { continue };
            let input = Input::Receive(now, received);
            // As if it were known whose it is: what it says is looked at all the same.
            let _ = viewer.accepts(&input);
            lost = viewer.hear(input, now).and_then(|()| viewer.drain(now, &mut drop)).is_err();
            if lost {
                break;
            }
        }
        if lost || viewer.is_over(now) {
            *kept = None;
        }
    });
}
