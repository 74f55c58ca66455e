// The event stream of the view that is open. The first event holds everything, later ones what
// changed: `values` are replaced, rows of `tables` are set, and null removes a row.

import {createStore, useStore} from "/page/lib/store.js";

const EMPTY = {status: "connecting", values: {}, tables: {}, receivedAt: 0};
const SILENCE_MILLISECONDS = 30000;
export const live = createStore({...EMPTY, key: ""});

let stream = null;
let wanted = "";
let queued = [];
let isQueued = false;

function merge(state, event) {
  const tables = event.first ? {} : {...state.tables};
  for (const [name, rows] of Object.entries(event.tables || {})) {
    const table = new Map(tables[name] || []);
    for (const [key, row] of Object.entries(rows)) row === null ? table.delete(key) : table.set(key, row);
    tables[name] = table;
  }
  const values = event.first ? {...event.values} : {...state.values, ...event.values};
  return {...state, status: "live", values, tables, receivedAt: performance.now()};
}

function take() {                             // several events before a frame are drawn once
  isQueued = false;
  const events = queued;
  queued = [];
  live.set(events.reduce(merge, live.get()));
}

function listen() {
  const mine = stream = new EventSource(wanted);
  mine.onmessage = (message) => {
    if (mine !== stream) return;
    queued.push(JSON.parse(message.data));
    if (isQueued) return;
    isQueued = true;
    requestAnimationFrame(() => { if (mine === stream) take(); });
  };
  mine.onerror = () => {
    if (mine !== stream) return;
    const status = mine.readyState === EventSource.CLOSED ? "ended" : "lost";
    live.set({...live.get(), status});
  };
}

function leave() {
  if (stream) stream.close();
  stream = null;
  queued = [];
  isQueued = false;
}

// Follows /api/v1/live?view=…; the same view goes on, another one starts from nothing.
export function openLive(view, parameters = {}) {
  const url = `/api/v1/live?${new URLSearchParams({view, ...parameters})}`;
  if (url === wanted) return;
  wanted = url;
  leave();
  live.set({...EMPTY, key: url});
  if (!document.hidden) listen();
}

setInterval(() => {                            // a link may be dead without a word; the server speaks each 10 s
  const {status, receivedAt} = live.get();
  if (!stream || status !== "live" || performance.now() - receivedAt < SILENCE_MILLISECONDS) return;
  live.set({...live.get(), status: "lost"});
  leave();
  listen();
}, 5000);

document.addEventListener("visibilitychange", () => {      // a browser has few connections to a host
  if (document.hidden) leave();
  else if (wanted && !stream) listen();
});

export const useLive = () => useStore(live);

// The scheduler's time now, in ms: the last that it sent and what has passed since.
export function schedulerNow(state = live.get()) {
  const sent = Date.parse(state.values.now || "");
  return Number.isNaN(sent) ? Date.now() : sent + (performance.now() - state.receivedAt);
}
