//! The live page in a real browser.
#![cfg(feature = "media")]

use crate::support::api::Api;
use crate::support::browser::{self, Browser};
use crate::support::driven::{CONFIG, again, driven, driven_at};
use crate::support::players::free_port;
use crate::support::skipped::skipped;

/// The tab key, in WebDriver's words.
const TAB: &str = "\u{e004}";
const END: &str = "\u{e010}";
const ENTER: &str = "\u{e007}";

/// A drive on which much alarms.
const EVENTS: &str = "
    [score]
    threshold = 3.5
    event_frames = 2
    [events]
    folder = \"kept\"
    before_secs = 1
    after_secs = 1
    most_secs = 4
    [supplement]
    folder = \"normal\"
";

const DECODED: &str =
    "return (document.querySelector('.stream video')?.getVideoPlaybackQuality().totalVideoFrames ?? 0)";

/// A camera of few pictures a second: hardly one lies ahead of the shown one.
#[test]
fn a_slow_camera_plays() {
    if !browser::is_there() {
        skipped("a slow camera in a browser", "it needs chromium and chromedriver");
        return;
    }
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let _daemon = driven_at(folder.path(), http, 3, "");
    let browser = Browser::start((800, 600));
    browser.open(&format!("http://127.0.0.1:{http}/"));
    let shown = "return (document.querySelector('.stream video')?.currentTime ?? 0)";
    browser.until("pictures", &format!("{DECODED} >= 4"));
    let before = browser.script(shown).as_f64().unwrap();
    browser.until("that it goes on", &format!("{shown} >= {}", before + 3.0));
}

/// A picture of another size has another head, and its multiplexer begins anew: the time goes on all the same.
#[test]
fn another_size_plays_on() {
    if !browser::is_there() {
        skipped("another size in a browser", "it needs chromium and chromedriver");
        return;
    }
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let daemon = driven(folder.path(), http, "");
    let browser = Browser::start((800, 600));
    browser.open(&format!("http://127.0.0.1:{http}/"));
    let end = "const b = document.querySelector('.stream video').buffered; return b.end(b.length - 1)";
    browser.until("pictures", &format!("{DECODED} >= 30"));
    let source = browser.script("return document.querySelector('.stream video').currentSrc");
    let before_end = browser.script(end).as_f64().unwrap();
    let config = folder.path().join(CONFIG);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\nwidth = 320\nheight = 180\n")).unwrap();
    daemon.signal(libc::SIGHUP);
    browser.until("the other size", "return document.querySelector('.stream video').videoWidth === 320");
    let before = browser.script(DECODED).as_u64().unwrap();
    browser.until("more pictures", &format!("{DECODED} >= {}", before + 40));
    let now = browser.script(end).as_f64().unwrap();
    assert!(now > before_end + 2.0, "its time went back: from {before_end} to {now} s");
    let same = format!("document.querySelector('.stream video').currentSrc === {source}");
    assert_eq!(browser.script(&format!("return {same}")), true, "it was fetched again");
    // When no picture is decoded any more, it begins anew.
    browser.script(
        "HTMLVideoElement.prototype.getVideoPlaybackQuality = () => ({ totalVideoFrames: 7 }); return 0",
    );
    browser.until("another connection", &format!("return !({same})"));
}

#[test]
fn the_page_plays_and_steers() {
    if !browser::is_there() {
        skipped(
            "the live page in a browser",
            "it needs chromium and chromedriver (Debian: chromium, chromium-driver)",
        );
        return;
    }
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let mut daemon = driven(folder.path(), http, EVENTS);
    let api = Api::at(http);
    daemon.until("a verdict", || {
        let told = api.try_get("/api/v1/state").filter(|answer| answer.status == 200);
        told.is_some_and(|told| told.json()["streams"][0]["found"].is_object())
    });
    let browser = Browser::start((1300, 1000));
    browser.open(&format!("http://127.0.0.1:{http}/"));

    // It plays: pictures are decoded, more and more, near the live end.
    browser.until("pictures", &format!("{} >= 10", DECODED));
    let before = browser.script(DECODED).as_u64().unwrap();
    browser.until("more pictures", &format!("{DECODED} >= {}", before + 24));
    let behind = "const v = document.querySelector('.stream video'); const b = v.buffered; return b.end(b.length - 1) - v.currentTime";
    let behind = browser.script(behind).as_f64().unwrap();
    assert!((0.0..1.0).contains(&behind), "{behind} s behind");
    let size = browser
        .script("const v = document.querySelector('.stream video'); return [v.videoWidth, v.videoHeight]");
    assert_eq!(size, serde_json::json!([640, 360]));
    browser.until("figures", "return [...document.querySelectorAll('.stream dd')].some((one) => /per second/.test(one.textContent))");
    browser.until("a histogram", "return document.querySelectorAll('.histogram rect').length > 10");
    browser.picture("page.png");

    // The threshold by keyboard: at its end nothing alarms any more.
    let focused = "return document.activeElement?.className === 'level'";
    let mut tabs = 0;
    while browser.script(focused) != true {
        browser.press(TAB);
        tabs += 1;
        assert!(tabs < 40, "the slider cannot be reached with the keyboard");
    }
    let threshold = || api.stream()["scores"]["threshold"].as_f64().unwrap();
    let first = threshold();
    browser.press(END);
    daemon.until("a higher threshold", || threshold() > first + 0.3);
    daemon.until("no region", || api.stream()["found"]["regions"].as_array().unwrap().is_empty());
    browser.until(
        "that it is told",
        "return /started anew/.test(document.querySelector('.stream .said').textContent)",
    );
    browser.click(".stream .auto");
    daemon.until("the configured threshold", || threshold() == first);

    // The region of interest, written, and its outline.
    browser.click(".stream .draw");
    browser.click(".stream .corners");
    browser.press("0,0.5 1,0.5 1,1 0,1");
    browser.picture("region.png");
    browser.click(".stream .keep");
    daemon.until("the region", || {
        let held = api.get("/api/v1/config").is(200).json();
        held["stream"]["front"]["score"]["roi"] == serde_json::json!([[0, 0.5], [1, 0.5], [1, 1], [0, 1]])
    });
    browser.click(".stream [data-key='heat']");
    daemon.until("no heat", || {
        api.get("/api/v1/config").is(200).json()["stream"]["front"]["overlay"]["heat"] == false
    });

    // An event, and its clip.
    browser.until("an event with a clip", "const all = [...document.querySelectorAll('#events li button')]; \
        return fetch('api/v1/events').then((a) => a.json()).then((list) => list.some((one) => one.clip) && all.length > 0)");
    let clip =
        "return fetch('api/v1/events').then((a) => a.json()).then((list) => list.find((one) => one.clip).id)";
    let id = browser.script(clip);
    let button = format!("#events [data-id='{}']", id.as_str().unwrap());
    browser.until("its entry", &format!("return document.querySelector(\"{button}\") !== null"));
    browser.script(&format!("document.querySelector(\"{button}\").focus()"));
    browser.press(ENTER);
    browser.until(
        "the clip",
        "const v = document.querySelector('#event video'); return v.currentTime > 0.3 && !v.error",
    );
    browser.picture("event.png");
    browser.click("#event .protect");
    daemon.until("a kept event", || {
        api.get(&format!("/api/v1/events/{}", id.as_str().unwrap())).json()["protected"] == true
    });
    // Why it alarmed; that it is normal, and back.
    browser.click("#event .explain");
    browser.until("the references", "return document.querySelectorAll('#why .nearest figure').length > 2");
    let shown = "const i = document.querySelector('#why .what'); return !i.hidden && i.naturalWidth > 20";
    browser.until("what alarmed", shown);
    browser.picture("why.png");
    browser.click("#why .mark");
    let told = "return /normal from now on/.test(document.querySelector('#why .said').textContent)";
    browser.until("that it is marked", told);
    let listed = || api.get("/api/v1/normal").is(200).json()["marks"].as_array().unwrap().len();
    assert_eq!(listed(), 1);
    browser.press("\u{e00c}");
    browser.until("the page again", "return !document.querySelector('#why').open");
    browser.until("what is marked", "return document.querySelectorAll('#normal li').length === 1");
    browser.picture("normal.png");
    browser.click("#normal li button");
    browser.until("nothing marked", "return document.querySelectorAll('#normal li').length === 0");
    assert_eq!(listed(), 0);
    browser.size(420, 900);
    browser.until("a narrow page", "return document.documentElement.scrollWidth <= innerWidth");
    browser.picture("phone.png");

    // Every control has a name, every picture a text.
    let nameless = "return [...document.querySelectorAll('input, button, video, svg[role=img]')]\
        .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel || one.closest('dialog'))).map((one) => one.outerHTML)";
    assert_eq!(browser.script(nameless), serde_json::json!([]));
    // Nothing is amiss, and nothing was asked of any other machine.
    assert_eq!(browser.console(), Vec::<serde_json::Value>::new());
    let own = format!("http://127.0.0.1:{http}/");
    let foreign: Vec<_> = browser
        .requests()
        .into_iter()
        .filter(|url| url.starts_with("http") && !url.starts_with(&own))
        .collect();
    assert_eq!(foreign, Vec::<String>::new());
    // Where live video is not wanted, single pictures.
    browser.open(&format!("http://127.0.0.1:{http}/?still"));
    browser.until("a picture", "return document.querySelector('.stream .still')?.naturalWidth === 640");
    // It lies where the picture is, and nothing over it.
    let seen = "const p = document.querySelector('.picture').getBoundingClientRect(); \
                return document.elementFromPoint(p.left + p.width / 2, p.top + p.height / 2).className";
    assert_eq!(browser.script(seen), "still");
    let one = || {
        browser.script(
            "const c = document.createElement('canvas'); const i = document.querySelector('.still'); \
        c.width = 64; c.height = 36; c.getContext('2d').drawImage(i, 0, 0, 64, 36); return c.toDataURL()",
        )
    };
    let first = one();
    daemon.until("another picture", || one() != first);
    assert_eq!(browser.console(), Vec::<serde_json::Value>::new());
    // When farout ends the page says so.
    drop(api);
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
    browser.until("that it is gone", "return !document.querySelector('#lost').hidden");
}

#[test]
fn the_page_plays_over_webrtc() {
    if !browser::is_there() {
        skipped(
            "the live page over WebRTC",
            "it needs chromium and chromedriver (Debian: chromium, chromium-driver)",
        );
        return;
    }
    // Chromium looks for ways over real interfaces only, even to its own machine. Nothing is sent by this.
    let way = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("192.0.2.1:9"));
    if way.is_err() {
        skipped("the live page over WebRTC", "this machine has no network interface but loopback");
        return;
    }
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let mut daemon = driven(folder.path(), http, "");
    let api = Api::at(http);
    daemon.until("a picture", || api.try_get("/readyz").is_some_and(|answer| answer.status == 200));
    let browser = Browser::start((1300, 1000));
    browser.open(&format!("http://127.0.0.1:{http}/"));
    browser.until("pictures", &format!("{DECODED} >= 10"));
    let viewers = |over: &str| api.stream()["viewers"][over].as_u64().unwrap();
    assert_eq!((viewers("http"), viewers("webrtc")), (1, 0));
    let live = "return (document.querySelector('.stream video')?.srcObject !== null)";
    assert_eq!(browser.script(live), false);

    // Asked for: the picture goes on, over the other way, and the first is given up.
    browser.click(".stream .nearer input");
    browser.until("WebRTC", live);
    browser.until("pictures over WebRTC", &format!("{DECODED} >= 10"));
    daemon.until("another way", || (viewers("http"), viewers("webrtc")) == (0, 1));
    let plays = "const v = document.querySelector('.stream video'); \
                 return !v.paused && v.videoWidth === 640 && document.querySelector('.stream .wait').hidden";
    browser.until("that it plays", plays);
    browser.picture("webrtc.png");
    // That was kept for the next time.
    browser.open(&format!("http://127.0.0.1:{http}/"));
    browser.until("WebRTC again", live);
    browser.until("pictures again", &format!("{DECODED} >= 10"));

    // And back.
    browser.click(".stream .nearer input");
    browser.until("the file", "return document.querySelector('.stream video').srcObject === null");
    browser.until("pictures of the file", &format!("{DECODED} >= 10"));
    daemon.until("the first way", || (viewers("http"), viewers("webrtc")) == (1, 0));
    assert_eq!(browser.console(), Vec::<serde_json::Value>::new());

    // The address asks for it, too; a stream that ends comes again once it is there.
    browser.open(&format!("http://127.0.0.1:{http}/?webrtc"));
    browser.until("pictures as asked", &format!("{DECODED} >= 10"));
    assert_eq!(browser.script(live), true);
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
    browser.until("that it waits", "return !document.querySelector('.stream .wait').hidden");
    let daemon = again(folder.path());
    browser.until(
        "pictures anew",
        &format!("{DECODED} >= 10 && document.querySelector('.stream .wait').hidden"),
    );
    assert_eq!(browser.script(live), true, "and not over HTTP");
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
}
