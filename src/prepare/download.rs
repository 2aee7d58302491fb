//! A file from the network that goes on where it broke off, in this run or a later one. Python, which pip
//! needs anyway, speaks to the server; proxies and certificates are those that it knows.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::digest::{hex, sha256_of_file};

/// Attempts in one run that may end without a single new byte.
const PATIENCE: usize = 3;
/// What the program below ends with where the connection broke before the end.
const BROKEN: i32 = 75;

/// Adds to the file what it lacks. A server that cannot begin in the middle begins anew.
const PROGRAM: &str = r#"
import base64, os, sys, urllib.error, urllib.parse, urllib.request
url, path = sys.argv[1:]
have = os.path.getsize(path) if os.path.exists(path) else 0
parts = urllib.parse.urlsplit(url)
headers = {}
if parts.username:
    login = urllib.parse.unquote(f"{parts.username}:{parts.password or ''}")
    headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
if have:
    headers["Range"] = f"bytes={have}-"
try:
    answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)
    more = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    left = answer.headers.get("Content-Length")
    with open(path, "ab" if more else "wb") as file:
        while piece := answer.read(1 << 16):
            file.write(piece)
            left = left and int(left) - len(piece)
    if left:
        sys.exit(75)
except urllib.error.HTTPError as error:
    if error.code != 416:  # nothing is missing
        sys.exit(f"the server says {error.code} {error.reason}")
except (OSError, EOFError) as error:
    print(error, file=sys.stderr)
    sys.exit(75)
"#;

/// Where pip would get a package from: the address of its wheel and its SHA-256.
///
/// # Errors
/// What pip says.
pub fn wheel(requirement: &str) -> Result<(String, String)> {
    let arguments = ["-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-deps"];
    let ended = Command::new("python3")
        .args(arguments)
        .args(["--only-binary=:all:", "--report", "-", requirement])
        .output()
        .context("python3 with pip is needed to download; install python3 and python3-pip")?;
    if !ended.status.success() {
        bail!("pip does not find {requirement}: {}", last_line(&ended.stderr));
    }
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout)
        .with_context(|| format!("pip (22.2 or newer is needed) about {requirement}"))?;
    let about = &report["install"][0]["download_info"];
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    text(&about["url"])
        .zip(text(&about["archive_info"]["hashes"]["sha256"]))
        .ok_or_else(|| anyhow!("pip does not tell where {requirement} lies; is it newer than 22.2?"))
}

/// Brings what lies at `url` to `path`; until it is whole and has this SHA-256 it is `path` with `.part`
/// added, which a later run takes up.
///
/// # Errors
/// If the server says no, the connection keeps breaking, or what came is something else.
pub fn download(url: &str, path: &Path, sha256: &str) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let size = || fs::metadata(part).map_or(0, |told| told.len());
    let mut fruitless = 0;
    loop {
        let before = size();
        let ended =
            Command::new("python3").args(["-c", PROGRAM, url]).arg(part).output().context("python3")?;
        match ended.status.code() {
            Some(0) => break,
            Some(BROKEN) => {
                fruitless = if size() > before { 0 } else { fruitless + 1 };
                if fruitless == PATIENCE {
                    bail!(
                        "the connection broke after {} bytes ({}); the same command again goes on from there",
                        size(),
                        last_line(&ended.stderr)
                    );
                }
            }
            _ => bail!("{}: {}", path.display(), last_line(&ended.stderr)),
        }
    }
    let found = sha256_of_file(part).with_context(|| part.display().to_string())?;
    if hex(&found) != sha256 {
        // What is wrong stays wrong: the next run begins anew.
        fs::remove_file(part).with_context(|| part.display().to_string())?;
        bail!("what came has the SHA-256 {}, not {sha256}; it was thrown away, try again", hex(&found));
    }
    fs::rename(part, path).with_context(|| path.display().to_string())
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").to_owned()
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
                let mut begin = 0;
                for line in BufReader::new(&stream).lines().map(Result::unwrap) {
                    if line.is_empty() {
                        break;
                    }
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
        download(&url, &path, &digest).unwrap();
        assert_eq!(serving.join().unwrap(), [1500, 5500, 9500]);
        assert!(std::fs::read(&path).unwrap() == data && !dir.path().join("f.part").exists());
    }

    #[test]
    fn a_server_without_ranges_begins_anew() {
        let (data, digest) = data();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(dir.path().join("f.part"), &data[..1500]).unwrap();
        let (url, serving) = serve(data.clone(), usize::MAX, 1, false);
        download(&url, &path, &digest).unwrap();
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
        let why = format!("{:#}", download(&url, &path, &digest).unwrap_err());
        assert!(why.contains("thrown away") && !path.exists() && !part.exists(), "{why}");
        serving.join().unwrap();
        // Nobody is there any more: what came before stays.
        std::fs::write(&part, &data[..1500]).unwrap();
        let why = format!("{:#}", download(&url, &path, &digest).unwrap_err());
        assert!(why.contains("1500 bytes") && why.contains("goes on from there"), "{why}");
        assert_eq!(std::fs::metadata(&part).unwrap().len(), 1500);
    }
}
