//! A file from the network that goes on where it broke off, in this run or a later one. Proxies are those of the usual
//! variables (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), certificates those that the system trusts.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ureq::http::header::{CONTENT_RANGE, RANGE};
use ureq::tls::{RootCerts, TlsConfig};

use crate::digest::{hex, sha256_of_file};

/// Attempts in one run, one after another, that may end without a single new byte.
const PATIENCE: u32 = 3;
/// Before the next attempt; four times as long after each that brought nothing.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 500 });
/// Without an answer or a byte for this long, a connection counts as broken.
const SILENCE: Duration = Duration::from_secs(60);

/// Bytes, for people who wait for them.
pub const MEGABYTE: u64 = 1_000_000;

/// How often it is asked meanwhile whether to go on.
const TICK: Duration = Duration::from_millis(100);

/// Told how many bytes are there, and of how many if that is known; says whether to go on.
pub type Received<'a> = &'a mut dyn FnMut(u64, Option<u64>) -> bool;

/// How an attempt ended that did not fail for good.
enum Attempt {
    Whole,
    Broken(String),
    Stopped,
}

/// Brings what lies at `url` to `path`; until it is whole and has this SHA-256 it is `path` with `.part`
/// added, which a later run takes up.
///
/// # Errors
/// If the server says no, the connection keeps breaking, or what came is something else.
pub fn download(url: &str, path: &Path, sha256: &str, received: Received<'_>) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let agent = agent();
    let size = || fs::metadata(part).map_or(0, |told| told.len());
    let mut fruitless = 0;
    loop {
        let before = size();
        match attempt(&agent, url, part, received)? {
            Attempt::Whole => break,
            Attempt::Stopped => bail!("stopped; the same command again goes on from there"),
            Attempt::Broken(why) => {
                fruitless = if size() > before { 0 } else { fruitless + 1 };
                if fruitless == PATIENCE {
                    bail!(
                        "the connection broke after {} bytes ({why}); the same command again goes on from there",
                        size()
                    );
                }
                let pause = PAUSE * 4_u32.pow(fruitless);
                tracing::warn!("the download broke off ({why}) and goes on in {pause:?}");
                let begun = Instant::now();
                while begun.elapsed() < pause && received(size(), None) {
                    std::thread::sleep(TICK.min(pause));
                }
            }
        }
    }
    let found = sha256_of_file(part).with_context(|| part.display().to_string())?;
    if hex(&found) != sha256 {
        // What is wrong stays wrong: the next run begins anew.
        fs::remove_file(part).with_context(|| part.display().to_string())?;
        bail!("the download has the SHA-256 {}, not {sha256}, and was thrown away: try again", hex(&found));
    }
    fs::rename(part, path).with_context(|| path.display().to_string())
}

fn agent() -> ureq::Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .user_agent(concat!("farout/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build()
        .new_agent()
}

/// Adds to the file what it lacks. A server that cannot begin in the middle begins anew.
fn attempt(agent: &ureq::Agent, url: &str, part: &Path, received: Received<'_>) -> Result<Attempt> {
    let have = fs::metadata(part).map_or(0, |told| told.len());
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let mut answer = match request.call() {
        Ok(answer) => answer,
        Err(why) if is_passing(&why) => return Ok(Attempt::Broken(why.to_string())),
        Err(why) => bail!("cannot reach the server: {why}"),
    };
    let status = answer.status();
    match status.as_u16() {
        200 | 206 => {}
        // Nothing is missing.
        416 if have > 0 => return Ok(Attempt::Whole),
        429 | 500..=599 => return Ok(Attempt::Broken(format!("the server says {status}"))),
        _ => bail!("the server says {status}"),
    }
    let range = answer.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let goes_on = status == 206 && range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")));
    let mut file = match goes_on {
        true => OpenOptions::new().append(true).open(part),
        false => File::create(part),
    }
    .with_context(|| part.display().to_string())?;
    let mut there = if goes_on { have } else { 0 };
    let of = answer.body().content_length().map(|left| there + left);
    let mut reader = answer.body_mut().as_reader();
    let mut piece = vec![0; 1 << 16];
    loop {
        if !received(there, of) {
            return Ok(Attempt::Stopped);
        }
        let read = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(why) => return Ok(Attempt::Broken(why.to_string())),
        };
        file.write_all(&piece[..read]).with_context(|| format!("cannot write {}", part.display()))?;
        there += read as u64;
    }
    match of {
        Some(of) if there < of => Ok(Attempt::Broken(format!("{there} of {of} bytes came"))),
        _ => Ok(Attempt::Whole),
    }
}

/// Whether another attempt may do better.
fn is_passing(why: &ureq::Error) -> bool {
    use ureq::Error::{BodyStalled, ConnectionFailed, HostNotFound, Io, Protocol, Timeout};
    matches!(why, Io(_) | Timeout(_) | HostNotFound | ConnectionFailed | BodyStalled | Protocol(_))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that knows ranges and breaks each connection after `most` bytes of the file; the bytes that
    /// it was asked to begin at.
    fn serve(
        data: Vec<u8>,
        most: usize,
        times: usize,
        ranges: bool,
    ) -> (String, std::thread::JoinHandle<Vec<usize>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for _ in 0..times {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut begin, mut known) = (0, true);
                for line in BufReader::new(&stream).lines().map(Result::unwrap) {
                    if line.is_empty() {
                        break;
                    }
                    known &= !line.starts_with("GET /gone");
                    if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                        begin = range.trim_end_matches('-').parse().unwrap();
                    }
                }
                asked.push(begin);
                let from = if ranges { begin } else { 0 };
                let left = &data[from..];
                let head = match (ranges, begin) {
                    (true, 1..) => {
                        format!(
                            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                            data.len() - 1,
                            data.len()
                        )
                    }
                    _ if !known => "404 Not Found".to_owned(),
                    _ => "200 OK".to_owned(),
                };
                let head =
                    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", left.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&left[..left.len().min(most)]).unwrap();
            }
            asked
        });
        (url, serving)
    }

    fn data() -> (Vec<u8>, String) {
        let data: Vec<u8> = (0..10_000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), &data).unwrap();
        let digest = hex(&sha256_of_file(&dir.path().join("f")).unwrap());
        (data, digest)
    }

    #[test]
    fn what_broke_off_is_taken_up_where_it_broke() {
        let (data, digest) = data();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        // An earlier run left some of it; each connection brings 4000 bytes.
        std::fs::write(dir.path().join("f.part"), &data[..1500]).unwrap();
        let (url, serving) = serve(data.clone(), 4000, 3, true);
        let mut told = Vec::new();
        download(&url, &path, &digest, &mut |there, of| {
            told.push((there, of));
            true
        })
        .unwrap();
        assert_eq!(serving.join().unwrap(), [1500, 5500, 9500]);
        assert!(told.contains(&(1500, Some(10_000))) && told.contains(&(10_000, Some(10_000))));
        assert!(std::fs::read(&path).unwrap() == data && !dir.path().join("f.part").exists());
    }

    #[test]
    fn a_server_without_ranges_begins_anew() {
        let (data, digest) = data();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(dir.path().join("f.part"), &data[..1500]).unwrap();
        let (url, serving) = serve(data.clone(), usize::MAX, 1, false);
        download(&url, &path, &digest, &mut |_, _| true).unwrap();
        assert_eq!(serving.join().unwrap(), [1500]);
        assert!(std::fs::read(&path).unwrap() == data);
    }

    #[test]
    fn what_is_wrong_is_thrown_away_and_what_is_missing_is_kept() {
        let (data, digest) = data();
        let dir = tempfile::tempdir().unwrap();
        let (path, part) = (dir.path().join("f"), dir.path().join("f.part"));
        std::fs::write(&part, [0; 1500]).unwrap();
        let (url, serving) = serve(data.clone(), usize::MAX, 1, true);
        let why = format!("{:#}", download(&url, &path, &digest, &mut |_, _| true).unwrap_err());
        assert!(why.contains("thrown away") && !path.exists() && !part.exists(), "{why}");
        serving.join().unwrap();
        // A server that says no is not asked again.
        let (url, serving) = serve(data.clone(), 0, 1, true);
        let gone = url.replace("/file", "/gone");
        let why = format!("{:#}", download(&gone, &path, &digest, &mut |_, _| true).unwrap_err());
        assert!(why.contains("404"), "{why}");
        serving.join().unwrap();
        // Nobody is there any more: what came before stays.
        std::fs::write(&part, &data[..1500]).unwrap();
        let why = format!("{:#}", download(&url, &path, &digest, &mut |_, _| true).unwrap_err());
        assert!(why.contains("1500 bytes") && why.contains("goes on from there"), "{why}");
        assert_eq!(std::fs::metadata(&part).unwrap().len(), 1500);
        // Whoever stops keeps what came.
        let (url, serving) = serve(data.clone(), 4000, 1, true);
        let mut asked = 0;
        let mut once = |_, _| {
            asked += 1;
            asked < 2
        };
        let why = format!("{:#}", download(&url, &path, &digest, &mut once).unwrap_err());
        serving.join().unwrap();
        assert!(why.contains("stopped") && std::fs::metadata(&part).unwrap().len() > 1500, "{why}");
    }
}
