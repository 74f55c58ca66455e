// A value that components follow. The page has few: language, theme, route, the live view.

import {useEffect, useState} from "/page/lib/preact.js";

export function createStore(value) {
  const followers = new Set();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const one of [...followers]) one(value);
    },
    follow(follower) {
      followers.add(follower);
      return () => followers.delete(follower);
    },
  };
}

export function useStore(store) {
  const [, draw] = useState(0);
  useEffect(() => {
    let seen = store.get();
    const look = () => { if (!Object.is(seen, store.get())) { seen = store.get(); draw((n) => n + 1); } };
    look();                                   // it may have changed between drawing and following
    return store.follow(look);
  }, [store]);
  return store.get();
}

export function remembered(name, allowed, otherwise) {      // a choice that this browser keeps
  let kept = null;
  try { kept = localStorage.getItem(`kapok.${name}`); } catch { /* storage may be denied */ }
  const store = createStore(allowed.includes(kept) ? kept : otherwise);
  store.follow((value) => {
    try { localStorage.setItem(`kapok.${name}`, value); } catch { /* then it lasts for this page */ }
  });
  return store;
}
