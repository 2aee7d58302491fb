//! What is said over one HTTP connection: its request, answers, and when to let it go.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A client that takes longer to say what it wants is let go.
const SAYS_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const MAX_HEAD: usize = 8192;
/// Connections that have not yet said what they want, at once: the oldest goes when one more comes, so that however many
/// say nothing, who does is heard.
const MAX_SILENT: usize = 32;

/// The connections that have not yet said what they want, oldest first.
#[derive(Default)]
pub(super) struct Silent(Mutex<VecDeque<(u64, TcpStream)>>, AtomicU64);

impl Silent {
    fn list(&self) -> MutexGuard<'_, VecDeque<(u64, TcpStream)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a connection and lets the oldest go if there are too many. Its number.
    pub(super) fn add(&self, connection: &TcpStream) -> std::io::Result<u64> {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list();
        list.push_back((number, connection.try_clone()?));
        if list.len() > MAX_SILENT
            && let Some((_, oldest)) = list.pop_front()
        {
            // Whoever reads from it then sees its end.
            let _ = oldest.shutdown(Shutdown::Both);
        }
        Ok(number)
    }

    /// It has spoken, or is gone.
    pub(super) fn remove(&self, number: u64) {
        self.list().retain(|(known, _)| *known != number);
    }
}

/// Writes all of `bytes`, or fails after so long: a client that takes a byte now and then holds no place for ever.
pub(super) fn write_within(
    mut connection: &TcpStream,
    mut bytes: &[u8],
    most: Duration,
) -> std::io::Result<()> {
    let start = Instant::now();
    while !bytes.is_empty() {
        let left = most.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(std::io::Error::new(ErrorKind::TimedOut, "the client takes too long"));
        }
        connection.set_write_timeout(Some(left))?;
        match connection.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Method and target of the request; `None` if it is none, or takes too long.
pub(super) fn request(mut connection: &TcpStream) -> std::io::Result<Option<(String, String)>> {
    let mut head = Vec::with_capacity(512);
    let mut bytes = [0; 512];
    let start = Instant::now();
    while head.len() < MAX_HEAD {
        // The limit is that of the whole head: a byte now and then does not prolong it.
        let left = SAYS_WITHIN.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        connection.set_read_timeout(Some(left))?;
        let got = connection.read(&mut bytes)?;
        head.extend_from_slice(bytes.get(..got).unwrap_or_default());
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                return Ok(request.method.zip(request.path).map(|(m, p)| (m.to_owned(), p.to_owned())));
            }
            Ok(httparse::Status::Partial) if got > 0 => {}
            Ok(httparse::Status::Partial) | Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// Answers with plain text.
pub(super) fn answer(
    mut connection: &TcpStream,
    status: &str,
    body: &str,
    with_body: bool,
) -> std::io::Result<()> {
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes())?;
    if with_body {
        connection.write_all(body.as_bytes())?;
    }
    Ok(())
}

/// Whether the client has closed its side.
pub(super) fn is_gone(connection: &TcpStream) -> std::io::Result<bool> {
    connection.set_nonblocking(true)?;
    let gone = matches!(connection.peek(&mut [0]), Ok(0));
    connection.set_nonblocking(false)?;
    Ok(gone)
}
