//! The one who talks WebRTC: all viewers of all streams over one UDP socket, in the HTTP server's thread.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::net::{Protocol, Receive, Transmit};
use str0m::{Input, RtcError};
use tokio::net::UdpSocket;

use super::guarded::guarded;
use super::viewer::Viewer;
use super::words::{Ears, Join, MOST, Picture, Refusal, Word};

/// Datagrams that may wait for the socket; what comes then is lost, and asked for again by who misses it.
const WAITING: usize = 4096;
/// The longest datagram that is read: none of WebRTC's is longer.
const DATAGRAM: usize = 2000;
/// A socket that cannot be read is tried again after so long.
const PAUSE: Duration = Duration::from_millis(20);

/// Everybody who watches.
pub(super) struct Hub {
    socket: UdpSocket,
    viewers: Vec<Viewer>,
    /// Datagrams that wait for the socket.
    outgoing: VecDeque<Transmit>,
}

impl Hub {
    pub(super) fn new(socket: UdpSocket) -> Hub {
        Hub { socket, viewers: Vec::new(), outgoing: VecDeque::new() }
    }

    /// Serves until it is told that all is over.
    pub(super) async fn run(mut self, mut ears: Ears) {
        let mut datagram = [0; DATAGRAM];
        loop {
            let due = self.viewers.iter().map(Viewer::due).min();
            let due = due.map(tokio::time::Instant::from_std);
            let sends = !self.outgoing.is_empty();
            tokio::select! {
                word = ears.words.recv() => match word {
                    Some(Word::Over) | None => break,
                    Some(word) => self.hear(word),
                },
                Some(picture) = ears.pictures.recv() => self.show(&picture),
                received = self.socket.recv_from(&mut datagram) => match received {
                    Ok((length, from)) => self.receive(&datagram[..length], from),
                    // Somebody is not there any more: the system tells it of the socket as a whole.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                    Err(error) => {
                        tracing::debug!(%error, "the socket of WebRTC cannot be read");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                _ = self.socket.writable(), if sends => {}
                () = until(due), if due.is_some() => self.wake(),
            }
            self.flush();
            self.tidy();
        }
        // A farewell, as far as the socket takes it.
        self.each(|viewer, _| viewer.close());
        self.flush();
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Join(join) => self.join(*join),
            Word::Leave { id, stream, told } => {
                let mut found = false;
                self.each(|viewer, _| {
                    if viewer.is(&id, &stream) {
                        found = true;
                        return viewer.close();
                    }
                    Ok(())
                });
                // Who asked may have gone.
                let _ = told.send(found);
            }
            // Seen by whoever hears it.
            Word::Over => {}
            Word::End(stream) => {
                self.each(|viewer, _| if viewer.watches(&stream) { viewer.close() } else { Ok(()) });
            }
        }
    }

    /// One viewer more, if there is room: the oldest one that has not come through yet goes for it.
    fn join(&mut self, join: Join) {
        let Join { id, stream, offer, reached_at, told } = join;
        if self.viewers.len() >= MOST {
            match self.viewers.iter().position(|viewer| !viewer.is_connected()) {
                Some(at) => drop(self.viewers.remove(at)),
                None => return drop(told.send(Err(Refusal::Full))),
            }
        }
        if stream.has_ended() {
            return drop(told.send(Err(Refusal::Ended)));
        }
        let refused = match guarded(|| Viewer::accept(id, &stream, &offer, &reached_at)) {
            // Who asked and has gone meanwhile does not watch.
            Some(Ok((viewer, answer))) => {
                if told.send(Ok(answer)).is_ok() {
                    self.viewers.push(viewer);
                }
                return;
            }
            Some(Err(why)) => why,
            None => "it contradicts itself".to_owned(),
        };
        drop(told.send(Err(Refusal::Offer(refused))));
    }

    fn show(&mut self, picture: &Picture) {
        let Ok(bytes) = picture.buffer.map_readable() else { return };
        // One copy for all.
        let bytes: Arc<[u8]> = Arc::from(bytes.as_slice());
        let now = Instant::now();
        for at in 0..self.viewers.len() {
            if !self.viewers[at].watches(&picture.stream) {
                continue;
            }
            // Half a picture is of no use: a network card that is behind costs whole ones.
            if self.outgoing.len() > WAITING / 2 {
                self.viewers[at].wait_for_key();
                continue;
            }
            self.one(at, now, |viewer| viewer.show(picture, &bytes, now));
            self.flush();
        }
    }

    fn receive(&mut self, datagram: &[u8], from: SocketAddr) {
        // A socket of both kinds tells addresses of the old kind in those of the new one.
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let now = Instant::now();
        let viewers = &self.viewers;
        let whose = || {
            // The newest first: one that has come again from the same port is not the one that was there before.
            viewers.iter().enumerate().rev().find_map(|(at, viewer)| {
                let received = Receive::new(Protocol::Udp, from, viewer.here(), datagram).ok()?;
                let input = Input::Receive(now, received);
                viewer.accepts(&input).then_some((at, input))
            })
        };
        // Nobody's, if it cannot even be read.
        let Some(Some((at, input))) = guarded(whose) else { return };
        self.one(at, now, |viewer| viewer.hear(input, now));
    }

    /// Every viewer whose time has come does what it has to.
    fn wake(&mut self) {
        self.each(|viewer, now| if viewer.due() <= now { viewer.wake(now) } else { Ok(()) });
    }

    /// Does `work` with every viewer and sends what that gives.
    fn each(&mut self, mut work: impl FnMut(&mut Viewer, Instant) -> Result<(), RtcError>) {
        let now = Instant::now();
        for at in 0..self.viewers.len() {
            self.one(at, now, |viewer| work(viewer, now));
        }
    }

    /// Does `work` with a viewer and sends what that gives. Whose part fails is let go; the others do not notice.
    fn one(&mut self, at: usize, now: Instant, work: impl FnOnce(&mut Viewer) -> Result<(), RtcError>) {
        let viewer = &mut self.viewers[at];
        let outgoing = &mut self.outgoing;
        let mut send = |datagram| {
            if outgoing.len() < WAITING {
                outgoing.push_back(datagram);
            }
        };
        let done = guarded(|| {
            work(viewer)?;
            viewer.drain(now, &mut send)
        });
        match done {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::debug!(%error, "a viewer over WebRTC is let go");
                viewer.lose();
            }
            None => {
                tracing::error!("the part of a viewer over WebRTC panicked; it is let go");
                viewer.lose();
            }
        }
    }

    /// Sends what waits, as far as the socket takes it.
    fn flush(&mut self) {
        let mapped = self.socket.local_addr().is_ok_and(|at| at.is_ipv6());
        while let Some(next) = self.outgoing.front() {
            let to = match next.destination {
                SocketAddr::V4(to) if mapped => SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port()),
                to => to,
            };
            match self.socket.try_send_to(&next.contents, to) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // Lost on the way like any other.
                sent => drop(sent),
            }
            self.outgoing.pop_front();
        }
    }

    /// Lets go of those who are no more.
    fn tidy(&mut self) {
        let now = Instant::now();
        self.viewers.retain(|viewer| !viewer.is_over(now));
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}
