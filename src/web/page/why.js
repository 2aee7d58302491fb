// Why something alarms, and: this is normal.

import { ask, plain } from './ask.js';

const byId = (id) => document.getElementById(id);
const make = (name, keys) => Object.assign(document.createElement(name), keys);
const dialog = byId('why');
const find = (what) => dialog.querySelector(what);
const marks = byId('normal');
const SHOWN = 6;
let now = null;
let told = () => {};

// A reference, with its picture if the bank has one, and where in it the patch lies.
function reference(one) {
  const figure = document.createElement('figure');
  if (one.thumbnail) {
    const frame = make('div', { className: 'thumbnail' });
    frame.append(make('img', { src: plain(one.thumbnail.slice(1)), alt: `Reference picture ${one.source}` }));
    if (one.place) {
      const [left, top, width, height] = one.place;
      const mark = make('span', {});
      Object.assign(mark.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * width}%`, height: `${100 * height}%` });
      frame.append(mark);
    }
    figure.append(frame);
  }
  const where = one.frame ? `${one.source}, frame ${one.frame}` : one.source;
  figure.append(make('figcaption', { textContent: `${where}, patch ${one.patch.join(', ')}: distance ${one.distance.toFixed(2)}` }));
  return figure;
}

// The nearest references of all patches, each picture once.
function nearest(patches) {
  const known = new Set();
  const all = patches.flatMap((patch) => patch.references).sort((a, b) => a.distance - b.distance);
  return all.filter(({ source, frame }) => !known.has(`${source}\n${frame}`) && known.add(`${source}\n${frame}`)).slice(0, SHOWN);
}

function show(answer, facts) {
  find('.facts').textContent = facts;
  find('.nearest').replaceChildren(...nearest(answer.patches).map(reference));
  find('tbody').replaceChildren(...answer.patches.map((patch) => {
    const row = document.createElement('tr');
    const { x, y } = patch.box;
    row.append(make('th', { scope: 'row', textContent: `${x}, ${y}` }), ...patch.references.map((one) => {
      const parts = (one.parts ?? []).map((part) => `${part.name} ${part.distance.toFixed(2)}`).join(', ');
      return make('td', { textContent: `${one.distance.toFixed(2)}: ${one.source}${one.frame ? ` ${one.frame}` : ''}`, title: parts });
    }));
    return row;
  }));
  find('.nearest').hidden = false;
  find('details').hidden = false;
}

// Opens with what `path` answers; `mark` tells how it is marked as normal, and who is told.
async function open(path, title, mark) {
  now = null;
  told = mark.told ?? (() => {});
  find('h2').textContent = title;
  find('.facts').textContent = 'Searching the bank';
  find('.said').textContent = '';
  for (const part of ['.nearest', 'details', '.what']) find(part).hidden = true;
  find('.mark').disabled = true;
  if (!dialog.open) dialog.showModal();
  try {
    const answer = await ask(path);
    const { what } = answer;
    now = mark.by === 'event' ? { event: what.id } : { seen: what.id };
    find('.mark').disabled = false;
    const { x, y, width, height } = what.box;
    show(answer, [what.peak === undefined ? 'could not be judged' : `highest score ${what.peak.toFixed(2)}`, `box ${x}, ${y}, ${width} × ${height}`, 'it looks least unlike these references:'].join(' · '));
    if (what.picture) {
      find('.what').src = plain(what.picture.slice(1));
      find('.what').hidden = false;
    }
  } catch (error) {
    find('.facts').textContent = '';
    find('.said').textContent = error.message;
  }
}

// Of what a stream shows at a pixel of the judged frame.
export const explainSpot = (name, x, y) => open(`streams/${encodeURIComponent(name)}/why?x=${Math.round(x)}&y=${Math.round(y)}`, `Why this alarms in ${name}`, { by: 'seen' });

// Of an event; `after` is told when it was marked.
export const explainEvent = (id, number, after) => open(`events/${encodeURIComponent(id)}/why`, `Why event ${number} alarmed`, { by: 'event', told: after });

find('.mark').addEventListener('click', async () => {
  try {
    await ask('normal', 'POST', now);
    find('.said').textContent = 'What looks like this is normal from now on. It can be taken back under "Marked as normal".';
    find('.mark').disabled = true;
    told();
  } catch (error) {
    find('.said').textContent = error.message;
  }
  list();
});

function entry(one, again) {
  const item = document.createElement('li');
  const when = one.seen ? new Date(one.seen).toLocaleString() : '';
  const { x, y, width, height } = one.box;
  if (one.picture) item.append(make('img', { src: plain(one.picture.slice(1)), alt: '', loading: 'lazy' }));
  item.append(make('span', { textContent: [one.event ? 'event' : 'region', one.stream, when, `box ${x}, ${y}, ${width} × ${height}`, `${one.features} features`].filter(Boolean).join(' · ') }));
  const undo = make('button', { type: 'button', textContent: 'Undo', ariaLabel: `Undo: ${when}` });
  undo.addEventListener('click', async () => {
    try {
      await ask(`normal/${encodeURIComponent(one.id)}`, 'DELETE');
      marks.querySelector('.said').textContent = 'It alarms again.';
    } catch (error) {
      marks.querySelector('.said').textContent = error.message;
    }
    again();
  });
  item.append(undo);
  return item;
}

// What is marked as normal.
export async function list() {
  try {
    const { kept, features, most, marks: all, damaged } = await ask('normal');
    marks.hidden = all.length === 0 && !damaged;
    const room = `${features} of at most ${most} features`;
    const note = kept ? room : `${room}; farout forgets them when it ends (supplement.folder keeps them)`;
    marks.querySelector('.facts').textContent = note;
    marks.querySelector('ul').replaceChildren(...all.map((one) => entry(one, list)));
    if (damaged) marks.querySelector('.said').textContent = damaged.join('. ');
  } catch {
    // Nothing is judged here.
    marks.hidden = true;
  }
}

list();
// What others mark is seen, too.
setInterval(list, 15000);
