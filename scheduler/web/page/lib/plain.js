// Text of users as text: what is invisible or changes the direction of what follows is shown as its
// code, so that no name looks like another one. Every template does it (lib/preact.js), to what is
// composed of texts too. Markup needs nothing: a template escapes it.

const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export function plain(text) {
  if (text === undefined || text === null) return "";
  return String(text).replace(UNSEEN, (one) => `⟨U+${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

export const plainJson = (value) => plain(JSON.stringify(value, null, 2));
