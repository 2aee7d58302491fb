// Why something alarms, and: this is normal.

import { ask, plain } from './ask.js';

const byId = (id) => document.getElementById(id);
const make = (name, keys) => Object.assign(document.createElement(name), keys);
const dialog = byId('why');
const find = (what) => dialog.querySelector(what);
const marks = byId('normal');
const SHOWN = 6;
let asked = 0;
let now = null;

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

// The nearest reference of each patch, the strangest patch first; each picture once.
function nearest(patches) {
  const known = new Set();
  const all = [0, 1, 2].flatMap((at) => patches.flatMap((patch) => patch.references.slice(at, at + 1)));
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
  // What was asked before has no say here any more.
  asked += 1;
  const mine = asked;
  now = null;
  find('h2').textContent = title;
  find('.facts').textContent = 'Searching the bank';
  find('.said').textContent = '';
  for (const part of ['.nearest', 'details', '.what']) find(part).hidden = true;
  find('.mark').disabled = true;
  if (!dialog.open) dialog.showModal();
  try {
    const answer = await ask(path);
    if (mine !== asked) return;
    const { what } = answer;
    now = { body: mark.by === 'event' ? { event: what.id } : { seen: what.id }, told: mark.told ?? (() => {}) };
    find('.mark').disabled = false;
    const { x, y, width, height } = what.box;
    show(answer, [what.peak === undefined ? 'could not be judged' : `highest score ${what.peak.toFixed(2)}`, `box ${x}, ${y}, ${width} × ${height}`, 'its strangest patches look least unlike these references:'].join(' · '));
    if (what.picture) {
      find('.what').src = plain(what.picture.slice(1));
      find('.what').hidden = false;
    }
  } catch (error) {
    if (mine !== asked) return;
    find('.facts').textContent = '';
    find('.said').textContent = error.message;
  }
}

// Of what a stream shows at a pixel of the judged frame, or in one of its regions (`size`: width and height).
export const explainSpot = (name, x, y, size) => {
  const exact = size ? `&width=${size[0]}&height=${size[1]}` : '';
  return open(`streams/${encodeURIComponent(name)}/why?x=${Math.round(x)}&y=${Math.round(y)}${exact}`, `Why this alarms in ${name}`, { by: 'seen' });
};

// Of an event; `after` is told when it was marked.
export const explainEvent = (id, number, after) => open(`events/${encodeURIComponent(id)}/why`, `Why event ${number} alarmed`, { by: 'event', told: after });

find('.mark').addEventListener('click', async () => {
  const [mine, marked] = [asked, now];
  if (!marked) return;
  find('.mark').disabled = true;
  let said = 'Its patches count as normal from now on, and what lies near to them does. Should it alarm again, as it comes nearer or turns, mark it once more. It can be taken back under "Marked as normal".';
  let failed = false;
  try {
    await ask('normal', 'POST', marked.body);
    marked.told();
  } catch (error) {
    [said, failed] = [error.message, true];
  }
  list();
  if (mine !== asked) return;
  find('.said').textContent = said;
  find('.mark').disabled = !failed;
});

function entry(one, again) {
  const item = document.createElement('li');
  const when = one.seen ? new Date(one.seen).toLocaleString() : '';
  const { x, y, width, height } = one.box;
  if (one.picture) item.append(make('img', { src: plain(one.picture.slice(1)), alt: '', loading: 'lazy' }));
  item.append(make('span', { textContent: [one.event ? 'event' : 'region', one.stream, when, `box ${x}, ${y}, ${width} × ${height}`, `${one.features} features`].filter(Boolean).join(' · ') }));
  if (one.unused) item.append(make('span', { className: 'problem', textContent: `does not count: another model saw it (${one.unused})` }));
  const undo = make('button', { type: 'button', textContent: 'Undo', ariaLabel: `Undo: ${when}` });
  undo.dataset.mark = one.id;
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
let shown = '';
export async function list() {
  let answer;
  try {
    answer = await ask('normal');
  } catch (error) {
    // Nothing is judged here. Whatever else it is passes.
    if (error.status === 409) marks.hidden = true;
    return;
  }
  const text = JSON.stringify(answer);
  if (text === shown) return;
  shown = text;
  const { kept, features, most, marks: all, damaged } = answer;
  // What was undone last is still told.
  marks.hidden = all.length === 0 && !damaged && !marks.querySelector('.said').textContent;
  const room = `${features} of at most ${most} features`;
  marks.querySelector('.facts').textContent = kept ? room : `${room}; farout forgets them when it ends (supplement.folder keeps them)`;
  marks.querySelector('.damaged').textContent = (damaged ?? []).join('. ');
  const focused = document.activeElement?.dataset?.mark;
  marks.querySelector('ul').replaceChildren(...all.map((one) => entry(one, list)));
  if (focused) (marks.querySelector(`[data-mark="${CSS.escape(focused)}"]`) ?? marks.querySelector('button'))?.focus();
}

list();
// What others mark is seen, too.
setInterval(list, 15000);
