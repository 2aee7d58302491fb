// Plays an endless fragmented MP4 with Media Source Extensions, close to its live end.

import { plain } from './ask.js';

const Source = window.ManagedMediaSource || window.MediaSource;
const AHEAD = 0.35;      // seconds behind the newest picture that are normal
const LATE = 1.0;        // further behind, it jumps
const KEEP = 8;          // seconds that stay behind the shown picture
const PAUSE = 1000;      // milliseconds before it is tried again
const SILENT = 10000;    // milliseconds without a byte after which the connection is given up
const STILL = 5000;      // milliseconds without a decoded picture while others come:
const MANY = 10;         // more than so many

// `?still` in the address asks for single pictures, to save a slow network or machine.
export const canPlay = () => Boolean(Source) && !new URLSearchParams(location.search).has('still');

// The codec that the head of the file names: avc1 and profile, compatibility and level.
function codec(head) {
  for (let at = 0; at + 8 < head.length; at++) {
    if (head[at] === 0x61 && head[at + 1] === 0x76 && head[at + 2] === 0x63 && head[at + 3] === 0x43) {
      const hex = (n) => head[at + n].toString(16).padStart(2, '0');
      return `video/mp4; codecs="avc1.${hex(5)}${hex(6)}${hex(7)}"`;
    }
  }
  return null;
}

// Cuts bytes into whole boxes of MP4.
class Boxes {
  rest = new Uint8Array(0);

  add(bytes) {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    const found = [];
    const view = new DataView(all.buffer);
    let at = 0;
    while (at + 8 <= all.length) {
      const length = view.getUint32(at);
      if (length < 8) throw new Error('the stream is no MP4');
      if (at + length > all.length) break;
      found.push({ kind: String.fromCharCode(...all.subarray(at + 4, at + 8)), bytes: all.subarray(at, at + length) });
      at += length;
    }
    this.rest = all.slice(at);
    return found;
  }
}

const join = (parts) => {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
};

// Plays `url` in `video` until stopped; `tell` gets a sentence while there is no picture, else null.
export class Player {
  constructor(video, url, tell) {
    Object.assign(this, { video, url, tell, stopped: false });
    video.disableRemotePlayback = true;
    this.run();
  }

  stop() {
    this.stopped = true;
    this.abort?.abort();
  }

  async run() {
    while (!this.stopped) {
      try {
        await this.once();
        this.tell('The stream has ended. It is tried again.');
      } catch (error) {
        if (!this.stopped) this.tell(`No picture: ${error.message}. It is tried again.`);
      }
      await new Promise((done) => setTimeout(done, PAUSE));
    }
  }

  async once() {
    this.abort = new AbortController();
    const media = new Source();
    const address = URL.createObjectURL(media);
    try {
      this.video.src = address;
      await new Promise((done) => media.addEventListener('sourceopen', done, { once: true }));
      const answer = await this.within(SILENT, fetch(plain(this.url), { signal: this.abort.signal }));
      if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
      await this.feed(media, answer.body.getReader());
    } finally {
      this.abort.abort();
      // Whoever plays in it next must not look for what is gone.
      if (this.video.src === address) this.video.removeAttribute('src');
      URL.revokeObjectURL(address);
    }
  }

  // What comes over the connection, which is given up if that takes longer.
  async within(milliseconds, coming) {
    const { abort } = this;
    const timer = setTimeout(() => abort.abort(new Error('nothing comes')), milliseconds);
    try {
      return await coming;
    } finally {
      clearTimeout(timer);
    }
  }

  async feed(media, reader) {
    const boxes = new Boxes();
    let buffer = null;
    let head = [];
    let part = [];
    let broken = false;
    [this.end, this.decoded] = [0, -1];
    const append = async (bytes) => {
      const done = new Promise((ok) => buffer.addEventListener('updateend', ok, { once: true }));
      buffer.appendBuffer(bytes);
      await done;
      if (broken) throw new Error('the browser cannot decode it');
    };
    for (;;) {
      const { value, done } = await this.within(SILENT, reader.read());
      if (done || this.stopped) return;
      const ready = [];
      let pictures = false;
      for (const { kind, bytes } of boxes.add(value)) {
        if (kind === 'ftyp') { head = [bytes]; continue; }
        if (kind === 'moov') {
          const begin = join([...head, bytes]);
          const type = codec(begin);
          if (!type || !Source.isTypeSupported(type)) throw new Error(`this browser does not play ${type}`);
          if (!buffer) {
            buffer = media.addSourceBuffer(type);
            buffer.mode = 'segments';
            // An update ends after an error, too.
            buffer.addEventListener('error', () => { broken = true; });
          } else if (buffer.changeType) {
            if (ready.length) await append(join(ready.splice(0)));
            buffer.changeType(type);
          }
          ready.push(begin);
          continue;
        }
        part.push(bytes);
        if (kind === 'mdat') { ready.push(join(part.splice(0))); pictures = true; }
      }
      if (!buffer || !ready.length) continue;
      await append(join(ready));
      if (pictures) await this.follow(buffer);
    }
  }

  // Stays near the newest picture, and lets go of what is past.
  async follow(buffer) {
    const { video } = this;
    const ranges = video.buffered;
    if (!ranges.length) return;
    const [begin, end] = [ranges.start(ranges.length - 1), ranges.end(ranges.length - 1)];
    // Pictures that come must lead on, and some must be decoded: else nothing more would be seen, without an error.
    const decoded = video.getVideoPlaybackQuality().totalVideoFrames;
    const now = performance.now();
    this.came += 1;
    if (end < this.end) throw new Error('its time went back');
    if (decoded !== this.decoded || video.paused || document.hidden) [this.decoded, this.since, this.came] = [decoded, now, 0];
    this.end = end;
    if (now - this.since > STILL && this.came > MANY) throw new Error('the picture stands still');
    const behind = end - video.currentTime;
    if (video.currentTime < begin || behind > LATE || behind < 0) {
      video.currentTime = Math.max(begin, end - AHEAD / 2);
    }
    video.playbackRate = behind > 2 * AHEAD ? 1.1 : 1;
    // Not waited for: it plays when more pictures are there than the shown one, and those come after this.
    if (video.paused) video.play().catch(() => {});
    if (video.readyState >= 2) this.tell(null);
    const first = ranges.start(0);
    if (video.currentTime - first > 2 * KEEP && !buffer.updating) {
      const done = new Promise((ok) => buffer.addEventListener('updateend', ok, { once: true }));
      buffer.remove(first, video.currentTime - KEEP);
      await done;
    }
  }
}
