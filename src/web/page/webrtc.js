// Plays a stream over WebRTC: less delay than Media Source Extensions. Asked for by WHEP.

import { plain } from './ask.js';

const CONNECTS = 6000;   // milliseconds in which a picture has to come
const SILENT = 6000;     // milliseconds without a picture after which the connection is given up
const PAUSE = 1000;      // milliseconds before it is tried again
const TRIES = 2;         // in a row without a picture: then it does not get through

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
  }

  async run() {
    let failed = 0;
    while (!this.stopped) {
      let shown = false;
      try {
        await this.once(() => { shown = true; });
        if (!this.stopped) this.tell('The stream has ended. It is tried again.');
      } catch (error) {
        if (!this.stopped) this.tell(`No picture: ${error.message}. It is tried again.`);
      }
      failed = shown ? 0 : failed + 1;
      if (failed >= TRIES && !this.stopped) { this.stopped = true; this.giveUp(); }
      if (!this.stopped) await new Promise((done) => setTimeout(done, PAUSE));
    }
  }

  async once(began) {
    const { video } = this;
    const peer = new RTCPeerConnection();
    const abort = new AbortController();
    const ended = new Promise((done) => { this.over = done; });
    let viewer = null;
    let watch;
    try {
      const { receiver } = peer.addTransceiver('video', { direction: 'recvonly' });
      video.srcObject = new MediaStream([receiver.track]);
      peer.addEventListener('connectionstatechange', () => {
        if (['failed', 'closed'].includes(peer.connectionState)) this.over();
      });
      await peer.setLocalDescription(await peer.createOffer());
      const head = { 'Content-Type': 'application/sdp' };
      const answer = await fetch(plain(this.url), { method: 'POST', headers: head, body: peer.localDescription.sdp, signal: abort.signal });
      const said = await answer.text();
      if (!answer.ok) throw new Error(answer.headers.get('Content-Type')?.includes('json') ? JSON.parse(said).detail : `${answer.status} ${answer.statusText}`);
      viewer = plain(answer.headers.get('Location'));
      if (this.stopped) return;
      await peer.setRemoteDescription({ type: 'answer', sdp: said });
      await video.play().catch(() => {});
      // Whether pictures come, as the browser counts them.
      let [seen, last, first] = [0, performance.now(), true];
      watch = setInterval(() => {
        const count = video.getVideoPlaybackQuality().totalVideoFrames;
        const now = performance.now();
        if (count !== seen) {
          [seen, last] = [count, now];
          if (video.readyState >= 2) { this.tell(null); began(); first = false; }
        } else if (now - last > (first ? CONNECTS : SILENT)) this.over();
      }, 100);
      await ended;
      if (first && !this.stopped) throw new Error('nothing comes over WebRTC');
    } finally {
      clearInterval(watch);
      abort.abort();
      // Who has come through says farewell by that alone.
      const told = peer.connectionState === 'connected' || peer.connectionState === 'closed';
      peer.close();
      video.srcObject = null;
      if (viewer && !told) fetch(viewer, { method: 'DELETE', keepalive: true }).catch(() => {});
    }
  }
}
