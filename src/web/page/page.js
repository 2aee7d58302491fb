// Shows how farout stands: one article for each stream, kept true by server-sent events.

import { follow } from './events.js';
import { Controls } from './steer.js';
import { Player, canPlay } from './video.js';
import { Peer, canConnect } from './webrtc.js';
import { explainSpot } from './why.js';

const byId = (id) => document.getElementById(id);
const shown = new Map();
// Whether WebRTC is wanted: `?webrtc` in the address, or what was chosen before, where the browser keeps that.
const kept = (work) => { try { return work(localStorage); } catch { return null; } };
const nearer = () => new URLSearchParams(location.search).has('webrtc') || kept((all) => all.getItem('webrtc')) === 'on';
const SVG = 'http://www.w3.org/2000/svg';

const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const number = (value, digits = 1) => (value === undefined ? '–' : value.toFixed(digits));

function list(element, texts) {
  const now = texts.join('\n');
  if (element.dataset.now === now) return;
  element.dataset.now = now;
  element.replaceChildren(...texts.map((text) => Object.assign(document.createElement('li'), { textContent: text })));
}

function figures(element, pairs) {
  if (element.children.length !== pairs.length * 2) {
    element.replaceChildren(...pairs.flatMap(([name]) => [
      Object.assign(document.createElement('dt'), { textContent: name }), document.createElement('dd')]));
  }
  pairs.forEach(([name, value], at) => {
    say(element.children[2 * at], name);
    say(element.children[2 * at + 1], value);
  });
}

// The classes that are filled, with some room around them and around the threshold.
function filled({ threshold, recent: { low, class_width: width, classes } }) {
  const at = Math.min(Math.max(Math.floor((threshold - low) / width), 0), classes.length - 1);
  const used = classes.map((count, n) => (count > 0 || n === at ? n : -1)).filter((n) => n >= 0);
  return [Math.max(0, used[0] - 2), Math.min(classes.length, used.at(-1) + 7)];
}

// Classes on a logarithmic scale: the few pixels over the threshold are what matters.
function histogram(figure, scores) {
  const svg = figure.querySelector('svg');
  const { low, class_width: width, classes } = scores.recent;
  const [from, to] = filled(scores);
  const most = Math.log1p(Math.max(...classes));
  const across = 256 / (to - from);
  if (svg.children.length !== classes.length + 1) {
    svg.replaceChildren(...classes.map(() => document.createElementNS(SVG, 'rect')), document.createElementNS(SVG, 'line'));
  }
  classes.forEach((count, at) => {
    const tall = most > 0 ? 92 * Math.log1p(count) / most : 0;
    const bar = svg.children[at];
    for (const [key, value] of Object.entries({ x: (at - from) * across, width: across * 0.9, y: 96 - tall, height: tall })) bar.setAttribute(key, value);
    bar.classList.toggle('over', low + at * width >= scores.threshold);
  });
  const x = ((scores.threshold - low) / width - from) * across;
  for (const [key, value] of Object.entries({ x1: x, x2: x, y1: 0, y2: 96 })) svg.lastChild.setAttribute(key, value);
  const { p50, p99, drift } = scores.recent;
  const drifted = drift === undefined ? '' : `, ${Math.abs(drift) < 0.05 ? 'no drift' : `median ${number(Math.abs(drift), 1)} deviations ${drift > 0 ? 'above' : 'below'} that of the bank's normal frames`}`;
  say(figure.querySelector('figcaption'), `Scores: median ${number(p50, 2)}, 99 % below ${number(p99, 2)}${drifted}. Logarithmic; the line is the threshold.`);
  svg.setAttribute('aria-label', `Histogram of scores, threshold ${number(scores.threshold, 2)}`);
}

class Stream {
  constructor(name) {
    const part = byId('stream').content.cloneNode(true);
    this.article = part.querySelector('article');
    this.find = (what) => this.article.querySelector(what);
    this.find('h2').textContent = name;
    const video = this.find('video');
    video.setAttribute('aria-label', `Live picture of ${name}`);
    video.addEventListener('resize', () => { this.find('.picture').style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`; });
    this.controls = new Controls(this.article, name);
    this.find('.picture').addEventListener('click', (event) => this.point(event));
    this.find('.explain').addEventListener('click', () => {
      const highest = this.found?.regions.reduce((a, b) => ((b.peak ?? Infinity) > (a.peak ?? Infinity) ? b : a));
      if (highest) explainSpot(name, highest.x, highest.y, [highest.width, highest.height]);
    });
    byId('streams').append(part);
  }

  // Somebody points at the picture: if a region lies there, it is explained.
  point(event) {
    const drawing = this.find('.region').classList.contains('open');
    if (drawing || !this.found) return;
    const box = this.find('.picture').getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * this.found.width;
    const y = (event.clientY - box.top) / box.height * this.found.height;
    const room = this.found.width / 40;
    const hit = (one) => x > one.x - room && x < one.x + one.width + room && y > one.y - room && y < one.y + one.height + room;
    if (this.found.regions.some(hit)) explainSpot(this.find('h2').textContent, x, y);
  }

  // Begins to play, once it is known where.
  play(watch) {
    if (this.player || !watch.mp4) return;
    const wait = this.find('.wait');
    const tell = (why) => { wait.hidden = why === null; if (why) say(wait, why); };
    const video = this.find('video');
    const overHttp = () => { if (canPlay()) this.player = new Player(video, watch.mp4, tell); else this.still(watch.pictures, tell); };
    const [choice, how] = [this.find('.nearer input'), this.find('.nearer .how')];
    const begin = () => {
      say(how, '');
      if (!choice.checked) overHttp();
      else this.player = new Peer(video, watch.whep, tell, () => { say(how, 'WebRTC does not get through (it needs UDP at the same port). This is over HTTP.'); overHttp(); });
    };
    this.find('.nearer').hidden = !watch.whep || !canConnect() || !canPlay();
    choice.checked = !this.find('.nearer').hidden && nearer();
    choice.addEventListener('change', () => {
      kept((all) => all.setItem('webrtc', choice.checked ? 'on' : 'off'));
      this.player.stop();
      [video.srcObject, this.find('.wait').hidden] = [null, false];
      begin();
    });
    begin();
    const link = (text, href) => Object.assign(document.createElement('a'), { textContent: text, href });
    const links = [link('MPEG-TS', watch.ts), link('MP4', watch.mp4)];
    if (watch.rtsp) links.push(Object.assign(document.createElement('code'), { textContent: watch.rtsp.replace('HOST', location.hostname) }));
    this.find('.links').replaceChildren(...links);
  }

  // Single pictures, where the browser plays no live video.
  still(url, tell) {
    const [video, image] = [this.find('video'), this.find('.still')];
    [video.hidden, image.hidden] = [true, false];
    image.alt = video.getAttribute('aria-label');
    const begin = () => { image.src = `${url}?${Date.now()}`; };
    image.addEventListener('load', () => { this.find('.picture').style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`; tell(null); });
    image.addEventListener('error', () => { tell('No picture. It is tried again.'); setTimeout(begin, 2000); });
    this.player = { stop: () => image.removeAttribute('src') };
    begin();
  }

  show(now) {
    this.play(now.watch);
    const problems = Object.entries(now.problems).map(([part, why]) => `${part}: ${why}`);
    if (now.state !== 'running') problems.unshift(`${now.state}${now.why ? `: ${now.why}` : ''}`);
    list(this.find('.problems'), problems);
    const { pictures, verdicts, viewers, found, scores } = now;
    this.found = found?.regions.length ? found : null;
    this.find('.ask').hidden = !found;
    this.find('.explain').disabled = !this.found;
    this.find('.picture').classList.toggle('asks', Boolean(this.found));
    const pairs = [
      ['Pictures', `${number(pictures.per_second)} per second`],
      ['Latency', `${number(pictures.latency_p50_ms, 0)} ms, 95 %: ${number(pictures.latency_p95_ms, 0)} ms`],
      ['Dropped', `${pictures.dropped}`],
    ];
    if (verdicts) {
      pairs.push(['Verdicts', `${number(verdicts.per_second)} per second`]);
      pairs.push(['Verdict age', `${number(verdicts.age_p50_ms, 0)} ms, 95 %: ${number(verdicts.age_p95_ms, 0)} ms`]);
    }
    if (scores) pairs.push(['Threshold', number(scores.threshold, 2)]);
    if (found) pairs.push(['Regions now', `${found.regions.length}`]);
    pairs.push(['Watching', `${viewers.rtsp + viewers.http + viewers.webrtc}`]);
    figures(this.find('dl'), pairs);
    if (scores?.recent) histogram(this.find('.histogram'), scores);
    this.controls.show(scores, scores?.recent && filled(scores));
    this.find('.histogram').hidden = !scores?.recent;
    say(this.find('.basis'), scores?.basis ? `Threshold: ${scores.basis}` : '');
  }

  leave() {
    this.player?.stop();
    this.controls.leave();
    this.article.remove();
  }
}

function show(now) {
  byId('lost').hidden = true;
  const names = new Set(now.streams.map((one) => one.name));
  for (const [name, stream] of shown) if (!names.has(name)) { stream.leave(); shown.delete(name); }
  for (const one of now.streams) {
    if (!shown.has(one.name)) shown.set(one.name, new Stream(one.name));
    shown.get(one.name).show(one);
  }
  follow(now.events);
  const { detection } = now;
  byId('detection').hidden = !detection;
  let judges = '';
  if (detection) {
    const { state, why, summary, verdicts, restarts } = detection;
    judges = state === 'running' ? '' : `, detector ${state}`;
    say(byId('detector'), [`${state}${why ? `: ${why}` : ''}`, summary, `${number(verdicts.per_second)} verdicts per second`, restarts ? `opened again ${restarts} times` : ''].filter(Boolean).join(' · '));
    list(byId('detector-problems'), Object.entries(detection.problems).map(([part, text]) => `${part}: ${text}`));
    const rows = byId('stages');
    while (rows.rows.length < detection.stages.length) rows.insertRow().append(Object.assign(document.createElement('th'), { scope: 'row' }), document.createElement('td'), document.createElement('td'));
    while (rows.rows.length > detection.stages.length) rows.deleteRow(-1);
    detection.stages.forEach((stage, at) => {
      const [name, busy, wait] = rows.rows[at].cells;
      say(name, stage.name); say(busy, `${number(stage.busy_ms)} ms`); say(wait, `${number(stage.wait_ms)} ms`);
    });
  }
  const lost = now.streams.filter((one) => one.state === 'lost').length;
  say(byId('summary'), `${now.ready ? 'Running' : 'Starting'}: ${now.streams.length} ${now.streams.length === 1 ? 'stream' : 'streams'}${lost ? `, ${lost} without a signal` : ''}${judges}`);
  say(byId('version'), `farout ${now.version}`);
}

const updates = new EventSource('api/v1/updates');
updates.onmessage = (event) => show(JSON.parse(event.data));
updates.onerror = () => { byId('lost').hidden = false; say(byId('summary'), 'Not connected'); };
