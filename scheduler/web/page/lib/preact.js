// The vendored libraries as a module. They are classic scripts of index.html, byte for byte as
// published; nothing else reads their globals.

import {plain} from "/page/lib/plain.js";

export const {h, render, Fragment, Component, createContext} = self.preact;
export const {
  useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback, useContext, useErrorBoundary,
} = self.preactHooks;

const SAID = ["title", "aria-label", "placeholder"];        // attributes that are read; a value stays as it was typed

function cleaned(child) {
  if (typeof child === "string") return plain(child);
  return Array.isArray(child) ? child.map(cleaned) : child;
}

// A value in a template is text, never markup, and what is unseen in it is shown, whoever wrote it.
function element(type, props, ...children) {
  if (typeof type === "string" && props) {
    for (const name of SAID) if (typeof props[name] === "string") props[name] = plain(props[name]);
  }
  return h(type, props, ...children.map(cleaned));
}

export const html = self.htm.bind(element);
export const Plot = self.uPlot;
