// Figures as text. An unknown value is the word for unknown, never 0.

import {numberText, t, timeText} from "/page/lib/words.js";

const isKnown = (value) => value !== undefined && value !== null && !Number.isNaN(value);

export function number(value, digits = 0) {
  if (!isKnown(value)) return t("unknown");
  return numberText(value, {minimumFractionDigits: digits, maximumFractionDigits: digits});
}

export function rounded(value, digits = 3) {             // so many significant digits
  if (!isKnown(value)) return t("unknown");
  return numberText(value, {maximumSignificantDigits: digits});
}

function scaled(value, step, units) {
  if (!isKnown(value)) return t("unknown");
  let at = 0;
  while (Math.abs(value) >= step && at < units.length - 1) { value /= step; at += 1; }
  return `${rounded(value)} ${units[at]}`;
}

export const bytes = (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
export const watts = (value) => scaled(value, 1000, ["W", "kW", "MW", "GW"]);
export const grams = (value) => scaled(value, 1000, ["g", "kg", "t"]);
export const cores = (value) => (isKnown(value) ? t("unit.cores", {n: Number(value.toPrecision(3))}) : t("unknown"));

export function percent(ratio) {
  if (!isKnown(ratio)) return t("unknown");
  return numberText(ratio, {style: "percent", maximumFractionDigits: ratio < 0.1 ? 1 : 0});
}

const AMOUNTS = {cpu: cores, memory: bytes, "nvidia.com/gpu": rounded, pods: rounded};

export const amount = (resource, value) => (AMOUNTS[resource] || rounded)(value);

export function duration(seconds) {
  if (!isKnown(seconds)) return t("unknown");
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return t("time.seconds", {n: whole});
  if (whole < 7200) return t("time.minutes", {n: Math.round(whole / 60)});
  return whole < 172800 ? t("time.hours", {n: Math.round(whole / 3600)}) : t("time.days", {n: Math.round(whole / 86400)});
}

export function instant(text) {
  const at = text ? new Date(text) : null;
  if (!at || Number.isNaN(at.getTime())) return t("unknown");
  return timeText(at, {dateStyle: "medium", timeStyle: "medium"});
}

export function day(text) {
  const at = text ? new Date(text) : null;
  if (!at || Number.isNaN(at.getTime())) return t("unknown");
  return timeText(at, {dateStyle: "medium"});
}

export const since = (text, now) => (text ? duration((now - Date.parse(text)) / 1000) : t("unknown"));
