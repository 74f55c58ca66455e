// What a view asks the server for once or again and again, with the state of asking.

import {useEffect, useState} from "/page/lib/preact.js";

export async function ask(path, signal) {
  const answer = await fetch(path, {headers: {Accept: "application/json"}, signal});
  if (answer.ok) return answer.json();
  const error = new Error((await answer.text()).slice(0, 500).trim() || `${answer.status}`);
  error.status = answer.status;
  throw error;
}

// Returns {data, error, isLoading}. The last data stay while it asks again, also for another path
// of the same view, so that nothing flickers; `error` is set beside them when they are stale.
export function useFetched(path, {everySeconds = 0} = {}) {
  const [state, setState] = useState({data: null, error: null, isLoading: true, path: null});
  useEffect(() => {
    if (!path) return undefined;
    const stop = new AbortController();
    let timer = 0;
    const once = async () => {
      setState((last) => ({...last, isLoading: true}));
      try {
        const data = await ask(path, stop.signal);
        if (stop.signal.aborted) return;      // an answer that came late is of a former question
        setState({data, error: null, isLoading: false, path});
      } catch (error) {
        if (stop.signal.aborted) return;
        setState((last) => ({...last, error, isLoading: false}));
      }
      if (everySeconds) timer = setTimeout(once, everySeconds * 1000);
    };
    once();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [path, everySeconds]);
  return state;
}

export function useDelayed(value, milliseconds = 200) {       // a search starts when typing pauses
  const [delayed, setDelayed] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setDelayed(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return delayed;
}
