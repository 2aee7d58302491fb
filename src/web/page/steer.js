// Changes a run: threshold, overlay and region of a stream, and the configuration file read again.

import { ask } from './ask.js';

const byId = (id) => document.getElementById(id);
const waiting = new Set();
let held = null;

// What became of a change, in words.
function told({ changes }) {
  const missed = changes.filter((one) => one.why);
  if (missed.length) return missed.map((one) => `${one.key} stays: ${one.why}`).join('. ');
  return changes.length ? 'In force until farout is started anew; the file is not changed.' : '';
}

// The configuration that holds, for all controls.
export async function learn() {
  try {
    held = await ask('config');
  } catch (error) {
    held = null;
    // Those who only watch may show who they are.
    byId('sign-in').hidden = error.status !== 403;
  }
  byId('reload').hidden = !held;
  for (const controls of waiting) controls.learn();
}

byId('reload').addEventListener('click', async () => {
  const say = (text) => { byId('reloaded').textContent = text; };
  try {
    const { complete, changes } = await ask('reload', 'POST');
    say(complete ? `Read; ${changes.length} keys have changed.` : changes.filter((one) => one.why).map((one) => `${one.key}: ${one.why}`).join('. '));
  } catch (error) {
    say(error.message);
  }
  learn();
});

const isPolygon = (roi) => Array.isArray(roi?.[0]) && typeof roi[0][0] === 'number';
const write = (corners) => corners.map(([x, y]) => `${+x.toFixed(3)},${+y.toFixed(3)}`).join(' ');
const read = (text) => text.trim().split(/\s+/).filter(Boolean).map((corner) => corner.split(',').map(Number));

export class Controls {
  constructor(article, name) {
    this.find = (what) => article.querySelector(what);
    this.name = name;
    this.corners = [];
    this.level = this.find('.level');
    this.find('form').addEventListener('submit', (event) => event.preventDefault());
    this.level.addEventListener('input', () => this.slide());
    this.find('.auto').addEventListener('click', () => this.change({ score: { threshold: null } }));
    for (const box of article.querySelectorAll('[data-key]')) {
      box.addEventListener('change', () => this.change({ overlay: { [box.dataset.key]: box.checked } }));
    }
    this.region();
    waiting.add(this);
    this.learn();
  }

  leave() { waiting.delete(this); }

  get own() { return held?.stream?.[this.name]; }

  // What holds for this stream.
  learn() {
    this.find('form').hidden = !this.own;
    if (!this.own) return;
    for (const box of this.find('form').querySelectorAll('[data-key]')) {
      box.checked = this.own.overlay?.[box.dataset.key] ?? held.overlay[box.dataset.key];
    }
    if (this.find('.draw').ariaPressed === 'true') return;
    const roi = this.own.score?.roi ?? held.score.roi;
    this.corners = isPolygon(roi) ? roi : roi?.[0] ?? [];
    this.outline();
  }

  // `range`: the classes of the histogram that are shown.
  show(scores, range) {
    if (!scores?.recent || this.busy) return;
    const { low, class_width: width } = scores.recent;
    Object.assign(this.level, { min: low + width * range[0], max: low + width * range[1], step: width / 8 });
    this.level.value = scores.threshold;
    this.find('output').textContent = scores.threshold.toFixed(2);
  }

  // The newest position is sent; while one is on its way no other is.
  async slide() {
    this.find('output').textContent = Number(this.level.value).toFixed(2);
    if (this.busy) return;
    this.busy = true;
    let sent;
    do {
      sent = this.level.value;
      await this.change({ score: { threshold: Number(sent) } }, false);
    } while (sent !== this.level.value);
    this.busy = false;
    learn();
  }

  async change(keys, again = true) {
    const say = (text) => { this.find('.said').textContent = text; };
    try {
      say(told(await ask('config', 'PATCH', { stream: { [this.name]: keys } })));
    } catch (error) {
      say(error.message);
    }
    if (again) await learn();
  }

  region() {
    const [draw, drawing, corners] = ['.draw', '.drawing', '.corners'].map(this.find);
    const open = (now) => {
      draw.ariaPressed = String(now);
      drawing.hidden = !now;
      this.find('.region').classList.toggle('open', now);
      if (now) { this.corners = []; corners.value = ''; this.outline(); } else this.learn();
    };
    draw.addEventListener('click', () => open(draw.ariaPressed !== 'true'));
    this.find('.region').addEventListener('click', (event) => {
      const box = this.find('.region').getBoundingClientRect();
      this.corners.push([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
      corners.value = write(this.corners);
      this.outline();
    });
    corners.addEventListener('input', () => { this.corners = read(corners.value); this.outline(); });
    this.find('.keep').addEventListener('click', async () => {
      if (this.corners.length < 3 || this.corners.flat().some((one) => !(one >= 0 && one <= 1))) {
        this.find('.said').textContent = 'A region has three corners or more, each between 0 and 1.';
        return;
      }
      await this.change({ score: { roi: this.corners.map(([x, y]) => [+x.toFixed(4), +y.toFixed(4)]) } });
      open(false);
    });
    this.find('.everywhere').addEventListener('click', async () => {
      await this.change({ score: { roi: null } });
      open(false);
    });
  }

  outline() {
    const known = this.corners.filter((corner) => corner.length === 2 && corner.every(Number.isFinite));
    this.find('.region polygon').setAttribute('points', known.map((corner) => corner.join(',')).join(' '));
  }
}

learn();
// What others change is seen, too; who may not is not asked again and again.
setInterval(() => { if (held) learn(); }, 10000);
