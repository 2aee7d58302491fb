//! Any bytes at the ports of a farout that runs: it answers or hangs up, and goes on.
#![cfg(feature = "media")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::fuzz_corpus::{changed, changes};
use crate::support::api::Api;
use crate::support::players::{free_port, probe};
use crate::support::program::{Running, program};

/// What is asked of the HTTP server, before it is changed.
const HTTP: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET /farout.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=0-\r\n\r\n",
    "GET /farout.ts HTTP/1.0\r\n\r\n",
    "GET /farout.mjpeg?width=320 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET /api/v1/state HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer x\r\n\r\n",
    "GET /api/v1/events?most=10&before=x HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic YTpi\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/plain\r\nConnection: close\r\n\r\n",
    "PATCH /api/v1/config HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\r\n{\"overlay\": {\"opacity\": 0.4}}",
    "PATCH /api/v1/config HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n",
    "POST /farout.whep HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/sdp\r\nContent-Length: 12\r\n\r\nv=0\r\no=- 0 0",
    "DELETE /farout.whep/0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://x\r\n\r\n",
];

/// And of the RTSP server.
const RTSP: &[&str] = &[
    "OPTIONS rtsp://127.0.0.1/farout RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "DESCRIBE rtsp://127.0.0.1/farout RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n",
    "SETUP rtsp://127.0.0.1/farout/stream=0 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
    "SETUP rtsp://127.0.0.1/farout/stream=0 RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP;unicast;client_port=9000-9001\r\n\r\nPLAY rtsp://127.0.0.1/farout RTSP/1.0\r\nCSeq: 4\r\nSession: 1\r\nRange: npt=0-\r\n\r\n",
    "GET_PARAMETER rtsp://127.0.0.1/farout RTSP/1.0\r\nCSeq: 5\r\nSession: x\r\nContent-Length: 4\r\n\r\nabcd",
    "TEARDOWN rtsp://127.0.0.1/farout RTSP/1.0\r\nCSeq: 6\r\nSession: x\r\n\r\n",
    "$\0\0\u{4}abcd$\u{1}\0\u{2}xyOPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n",
];

/// Sends `bytes`, and reads what comes at once; whatever happens to the connection is no fault.
fn send(port: u16, bytes: &[u8]) -> std::io::Result<()> {
    let mut one = TcpStream::connect(("127.0.0.1", port))?;
    one.set_read_timeout(Some(Duration::from_millis(2)))?;
    one.set_write_timeout(Some(Duration::from_secs(5)))?;
    one.write_all(bytes)?;
    one.shutdown(Shutdown::Write)?;
    let _ = one.read(&mut [0; 512])?;
    Ok(())
}

#[test]
fn any_bytes_at_the_ports_leave_the_servers_as_they_were() {
    let (rtsp, http) = (free_port(), free_port());
    let mut command = program();
    command.args(["run", "--bypass", "--source", "synthetic:width=128,height=96,fps=10"]);
    command.args([
        "--rtsp",
        &format!("rtsp://127.0.0.1:{rtsp}/farout"),
        "--http",
        &format!("http://127.0.0.1:{http}"),
    ]);
    let mut daemon = Running::start(command);
    let api = Api::at(http);
    daemon.until("the page", || api.try_get("/readyz").is_some_and(|answer| answer.status == 200));
    for (port, requests) in [(http, HTTP), (rtsp, RTSP)] {
        for (at, request) in requests.iter().enumerate() {
            let other = requests[(at + 1) % requests.len()];
            for seed in 0..changes(60) {
                let seed = seed + 1_000_000 * at as u64;
                let _ = send(port, &changed(request.as_bytes(), other.as_bytes(), seed));
            }
        }
    }
    daemon.until("an answer", || api.try_get("/readyz").is_some_and(|answer| answer.status == 200));
    let (width, told) = probe(&["-rtsp_transport", "tcp"], &format!("rtsp://127.0.0.1:{rtsp}/farout"));
    assert_eq!(width, Some(128), "no video over RTSP any more: {told}");
    // Connections are let go.
    let folder = format!("/proc/{}/fd", daemon.id());
    daemon.until("few descriptors", || std::fs::read_dir(&folder).unwrap().count() < 200);
    daemon.signal(libc::SIGTERM);
    let outcome = daemon.outcome().succeeded();
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
}
