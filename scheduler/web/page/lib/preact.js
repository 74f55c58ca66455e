// The vendored libraries as a module. They are classic scripts of index.html, byte for byte as
// published; nothing else reads their globals.

export const {h, render, Fragment, Component, createContext} = self.preact;
export const {
  useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback, useContext, useErrorBoundary,
} = self.preactHooks;
export const html = self.htm.bind(h);         // a value in a template is text, never markup
export const Plot = self.uPlot;
