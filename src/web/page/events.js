// Events: the list, and each with its clip and pictures.

import { ask } from './ask.js';
import { explainEvent } from './why.js';

const section = document.getElementById('events');
const dialog = document.getElementById('event');
const find = (what) => dialog.querySelector(what);
const make = (name, keys) => Object.assign(document.createElement(name), keys);
const PAGE = 24;
let known = '';
let asked = PAGE;
let now = null;

const when = (utc) => new Date(utc).toLocaleString();
const lasted = (one) => (one.end_time_secs === undefined ? '' : `${(one.end_time_secs - one.time_secs).toFixed(1)} s`);
const file = (one, name) => `api/v1/events/${encodeURIComponent(one.id)}/${name}`;

function entry(one) {
  const button = make('button', { type: 'button' });
  button.dataset.id = one.id;
  if (one.snapshot) button.append(make('img', { src: file(one, 'marked.jpg'), alt: '', loading: 'lazy' }));
  button.append(make('span', { textContent: when(one.utc) }));
  const facts = [one.stream, one.peak === undefined ? 'not judged' : `score ${one.peak.toFixed(2)}`, lasted(one), one.protected ? 'kept' : '', one.normal ? 'normal' : ''];
  button.append(make('span', { textContent: facts.filter(Boolean).join(' · ') }));
  if (one.open) button.append(make('span', { className: 'open', textContent: 'ongoing' }));
  button.addEventListener('click', () => open(one.id));
  const item = document.createElement('li');
  item.append(button);
  return item;
}

async function list() {
  const found = await ask(`events?limit=${asked}`);
  section.querySelector('.none').hidden = found.length > 0;
  section.querySelector('.older').hidden = found.length < asked || asked >= 200;
  const focused = document.activeElement?.dataset?.id;
  section.querySelector('ol').replaceChildren(...found.map(entry));
  if (focused) section.querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  // What was just written comes a moment later.
  return found.some((one) => one.open || (!one.clip && !one.no_clip && one.snapshot));
}

section.querySelector('.older').addEventListener('click', () => { asked = Math.min(200, asked + 3 * PAGE); list(); });

// Keeps the list true: looks again when something began or ended, and while something is being written.
let timer = 0;
async function refresh() {
  clearTimeout(timer);
  try {
    if (await list()) timer = setTimeout(refresh, 3000);
  } catch {
    timer = setTimeout(refresh, 5000);
  }
}

export function follow(counts) {
  section.hidden = !counts;
  const current = counts ? `${counts.begun} ${counts.ended}` : '';
  if (current && current !== known) refresh();
  known = current;
}

function show(what) {
  const [video, image] = [find('video'), find('img')];
  const clip = what === 'clip';
  video.hidden = !clip;
  image.hidden = clip;
  if (clip) video.src = file(now, 'clip.mp4');
  else { video.removeAttribute('src'); video.load(); image.src = file(now, `${what}.jpg`); image.alt = `The frame of event ${now.event}`; }
}

async function open(id) {
  now = await ask(`events/${encodeURIComponent(id)}`);
  find('h2').textContent = `Event ${now.event}${now.stream ? ` of ${now.stream}` : ''}`;
  const { x, y, width, height } = now.box;
  find('.facts').textContent = [when(now.utc), lasted(now) && `lasted ${lasted(now)}`, now.peak === undefined ? 'could not be judged' : `highest score ${now.peak.toFixed(2)}`, `${now.area} pixels`, `box ${x}, ${y}, ${width} × ${height}`].filter(Boolean).join(' · ');
  const has = { clip: Boolean(now.clip), marked: now.snapshot, snapshot: now.snapshot };
  for (const choice of dialog.querySelectorAll('[name="shown"]')) choice.disabled = !has[choice.value];
  const first = Object.keys(has).find((name) => has[name]);
  for (const choice of dialog.querySelectorAll('[name="shown"]')) choice.checked = choice.value === first;
  find('.protect').checked = now.protected;
  find('.explain').hidden = !now.features;
  find('.said').textContent = now.no_clip ? `No clip: ${now.no_clip}` : now.open ? 'It is ongoing; the clip comes when it has ended.' : now.snapshot && !now.clip ? 'The clip is still being written.' : '';
  find('.picture').hidden = !first;
  if (first) show(first);
  if (!dialog.open) dialog.showModal();
}

for (const choice of dialog.querySelectorAll('[name="shown"]')) choice.addEventListener('change', () => show(choice.value));
dialog.addEventListener('close', () => { find('video').removeAttribute('src'); find('video').load(); now = null; });

async function change(work) {
  try {
    await work();
    refresh();
  } catch (error) {
    find('.said').textContent = error.message;
  }
}

find('.protect').addEventListener('change', () => change(async () => {
  now = await ask(`events/${encodeURIComponent(now.id)}`, 'PATCH', { protected: find('.protect').checked });
}));
find('.explain').addEventListener('click', () => {
  if (!now) return;
  const { id, event } = now;
  dialog.close();
  explainEvent(id, event, refresh);
});
find('.forget').addEventListener('click', () => change(async () => {
  await ask(`events/${encodeURIComponent(now.id)}`, 'DELETE');
  dialog.close();
}));
