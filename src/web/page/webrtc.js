// Plays a stream over WebRTC: less delay than Media Source Extensions. Asked for by WHEP.

import { plain } from './ask.js';

const SILENT = 6000;     // milliseconds without a picture after which the connection is given up
const PAUSE = 1000;      // milliseconds before it is tried again
const TRIES = 2;         // in a row that were answered and gave no picture: then it does not get through

export const canConnect = () => Boolean(window.RTCPeerConnection);

// Plays `url` in `video` until stopped; `tell` gets a sentence while there is no picture, else null. Once it does not get
// through, `giveUp` is called.
export class Peer {
  constructor(video, url, tell, giveUp) {
    Object.assign(this, { video, url, tell, giveUp, stopped: false });
    this.run();
  }

  stop() {
    this.stopped = true;
    this.over?.();
    this.abort?.abort();
  }

  async run() {
    let failed = 0;
    while (!this.stopped) {
      const seen = { answered: false, shown: false };
      try {
        await this.once(seen);
        if (!this.stopped) this.tell('The stream has ended. It is tried again.');
      } catch (error) {
        if (!this.stopped) this.tell(`No picture: ${error.message}. It is tried again.`);
      }
      // A server that is away, or full, says nothing about the way to it.
      if (seen.answered) failed = seen.shown ? 0 : failed + 1;
      if (failed >= TRIES && !this.stopped) { this.stopped = true; this.giveUp(); }
      if (!this.stopped) await new Promise((done) => setTimeout(done, PAUSE));
    }
  }

  async once(seen) {
    const { video } = this;
    const peer = new RTCPeerConnection();
    this.abort = new AbortController();
    const { signal } = this.abort;
    const ended = new Promise((done) => { this.over = done; });
    const { receiver } = peer.addTransceiver('video', { direction: 'recvonly' });
    const stream = new MediaStream([receiver.track]);
    let viewer = null;
    let watch;
    try {
      peer.addEventListener('connectionstatechange', () => {
        if (['failed', 'closed'].includes(peer.connectionState)) this.over();
      });
      await peer.setLocalDescription(await peer.createOffer());
      const head = { 'Content-Type': 'application/sdp' };
      const answer = await fetch(plain(this.url), { method: 'POST', headers: head, body: peer.localDescription.sdp, signal });
      const said = await answer.text();
      if (!answer.ok) throw new Error(answer.headers.get('Content-Type')?.includes('json') ? JSON.parse(said).detail : `${answer.status} ${answer.statusText}`);
      viewer = plain(answer.headers.get('Location'));
      if (this.stopped) return;
      seen.answered = true;
      video.srcObject = stream;
      await peer.setRemoteDescription({ type: 'answer', sdp: said });
      video.play().catch(() => {});
      // Whether pictures come, as the browser counts them; one that shows none because nobody looks is not asked.
      let [count, last] = [video.getVideoPlaybackQuality().totalVideoFrames, performance.now()];
      watch = setInterval(() => {
        const now = video.getVideoPlaybackQuality().totalVideoFrames;
        if (now !== count || document.hidden || video.paused) last = performance.now();
        if (now !== count && video.readyState >= 2) { this.tell(null); seen.shown = true; }
        count = now;
        if (performance.now() - last > SILENT) this.over();
      }, 100);
      await ended;
      if (!seen.shown && !this.stopped) throw new Error('nothing comes over WebRTC');
    } finally {
      clearInterval(watch);
      this.abort.abort();
      // Who has come through says farewell by that alone.
      const told = peer.connectionState === 'connected' || peer.connectionState === 'closed';
      peer.close();
      // Another player may have it already.
      if (video.srcObject === stream) video.srcObject = null;
      if (viewer && !told) fetch(viewer, { method: 'DELETE', keepalive: true }).catch(() => {});
    }
  }
}
