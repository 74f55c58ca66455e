// Words of the page: a slug and named values become a text of the chosen language.
//
// words/LANG.json maps slugs to texts. {name} is a value; {name#site|sites} is a count with its
// noun in singular and plural. Numbers are written as the language does.

import {plain} from "/page/lib/plain.js";
import {remembered} from "/page/lib/store.js";

export const LANGUAGES = {en: "English", zh: "中文"};
const LOCALES = {en: "en-GB", zh: "zh-CN"};

const preferred = (navigator.languages || [navigator.language]).map((one) => one.slice(0, 2).toLowerCase());
export const language = remembered("language", Object.keys(LANGUAGES), preferred.find((one) => one in LANGUAGES) || "en");

const catalogues = new Map();
const missing = new Set();

export const locale = () => LOCALES[language.get()];

const formatters = new Map();                 // to make one costs far more than to use it

function formatterOf(kind, options) {
  const key = `${kind} ${locale()} ${JSON.stringify(options)}`;
  if (!formatters.has(key)) formatters.set(key, new Intl[kind](locale(), options));
  return formatters.get(key);
}

export const numberText = (value, options = {}) => formatterOf("NumberFormat", options).format(value);
export const timeText = (date, options) => formatterOf("DateTimeFormat", options).format(date);

export async function loadWords(name) {
  if (!catalogues.has(name)) {
    const answer = await fetch(`/page/words/${name}.json`);
    if (!answer.ok) throw new Error(`words/${name}.json: ${answer.status}`);
    catalogues.set(name, await answer.json());
  }
}

export async function switchLanguage(name) {
  await loadWords(name);
  language.set(name);
}

export const has = (slug) => slug in (catalogues.get(language.get()) || {});

export function t(slug, values = {}) {
  const text = (catalogues.get(language.get()) || {})[slug];
  if (text === undefined) {
    if (!missing.has(slug)) console.warn(`no words for ${slug} in ${language.get()}`);
    missing.add(slug);
    return slug;
  }
  return text.replace(/\{(\w+)(?:#([^|}]*)\|([^}]*))?\}/g, (all, name, one, many) => {
    const value = values[name];
    if (value === undefined || value === null) return t("unknown");
    const shown = typeof value === "number" ? numberText(value) : String(value);
    return one === undefined ? shown : `${shown} ${value === 1 ? one : many}`;
  });
}

// A slug of the scheduler (phase, reason, health): its words where there are some, else the slug.
export const named = (kind, slug) => (has(`${kind}.${slug}`) ? t(`${kind}.${slug}`) : plain(slug));
