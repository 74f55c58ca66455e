// Addresses after the hash: #/sites/NAME?key=value. A filter or an order is a part of the address,
// so that a link shows what its sender saw.

import {createStore} from "/page/lib/store.js";

function decode(piece) {
  try { return decodeURIComponent(piece); } catch { return piece; }
}

function parse(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?", 2);
  return {parts: path.split("/").filter(Boolean).map(decode), query: new URLSearchParams(query || "")};
}

export const route = createStore(parse(location.hash));
addEventListener("hashchange", () => route.set(parse(location.hash)));

export function link(parts, query = {}) {
  const wanted = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") wanted.set(name, value);
  }
  const path = parts.map(encodeURIComponent).join("/");
  return `#/${path}${wanted.size ? `?${wanted}` : ""}`;
}

export const siteLink = (name) => link(["sites", name]);
export const workloadLink = (key) => link(["workloads", ...key.split("/", 2)]);

// Changes values of the query; "" removes one. It replaces the entry of the history.
export function setQuery(changes) {
  const {parts, query} = route.get();
  const next = link(parts, {...Object.fromEntries(query), ...changes});
  history.replaceState(null, "", next);
  route.set(parse(next));
}
