// What a view asks the server for once or again and again, with the state of asking.

import {useEffect, useLayoutEffect, useRef, useState} from "/page/lib/preact.js";
import {plain} from "/page/lib/plain.js";
import {language} from "/page/lib/words.js";

// The server words sentences and lines in the language of the page.
const inLanguage = (path) => (language.get() === "en" ? path : `${path}${path.includes("?") ? "&" : "?"}lang=${language.get()}`);

export async function ask(path, signal) {
  const answer = await fetch(inLanguage(path), {headers: {Accept: "application/json"}, signal});
  if (answer.ok) return answer.json();
  const error = new Error(plain((await answer.text()).slice(0, 500).trim()) || `${answer.status}`);
  error.status = answer.status;
  throw error;
}

const LEAST_PAUSE = 250;                      // between two answers to one question, in ms

// Asks again and again: after `everySeconds`, and soon after `version` changes. One question is on
// its way at a time, so a stream of changes delays none of the answers.
export function useAgain(load, keys, {everySeconds = 0, version} = {}) {
  const loop = useRef(null);
  const seen = useRef(version);
  useLayoutEffect(() => {                     // before the frame is painted: the answer is nearer by one
    const mine = {stop: new AbortController(), timer: 0, isBusy: false, isDue: false};
    loop.current = mine;
    mine.run = async () => {
      clearTimeout(mine.timer);
      if (document.hidden) { mine.timer = setTimeout(mine.run, 1000); return; }
      if (mine.isBusy) { mine.isDue = true; return; }
      mine.isBusy = true;
      mine.isDue = false;
      const pause = await load(mine.stop.signal);
      mine.isBusy = false;
      if (mine.stop.signal.aborted) return;
      if (mine.isDue) mine.timer = setTimeout(mine.run, LEAST_PAUSE);
      else if (pause || everySeconds) mine.timer = setTimeout(mine.run, 1000 * (pause || everySeconds));
    };
    mine.run();
    return () => { mine.stop.abort(); clearTimeout(mine.timer); };
  }, keys);
  useEffect(() => {
    if (version === undefined || version === seen.current) return;
    seen.current = version;
    loop.current?.run();
  }, [version]);
}

// Returns {data, error, isLoading}. The last data stay while it asks again, also for another path
// of the same view, so that nothing flickers; `error` is set beside them when they are stale.
export function useFetched(path, {everySeconds = 0, version} = {}) {
  const [state, setState] = useState({data: null, error: null, isLoading: true, path: null});
  const load = async (signal) => {
    if (!path) return 0;
    setState((last) => ({...last, isLoading: true}));
    try {
      const data = await ask(path, signal);
      if (signal.aborted) return 0;           // an answer that came late is of a former question
      setState({data, error: null, isLoading: false, path});
    } catch (error) {
      if (signal.aborted) return 0;
      setState((last) => ({...last, error, isLoading: false}));
    }
    return path ? everySeconds : 0;
  };
  useAgain(load, [path, everySeconds, language.get()], {version: path ? version : undefined});
  return state;
}

// A value that changes as fast as somebody types: the first change is taken at once, later ones
// when typing pauses, and every `milliseconds` at the latest.
export function usePaced(value, milliseconds = 100) {
  const [paced, setPaced] = useState(value);
  const last = useRef(-Infinity);
  useEffect(() => {
    if (value === paced) return undefined;
    const take = () => { last.current = performance.now(); setPaced(value); };
    const wait = last.current + milliseconds - performance.now();
    if (wait <= 0) { take(); return undefined; }
    const timer = setTimeout(take, wait);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return paced;
}
