// What the figures of a site's row mean: its state, and how much of a resource is used and free.

import {t} from "/page/lib/words.js";

export function stateOf(site) {               // [slug, kind]
  if (!site.reporting) return [site.health === "Lost" ? "lost" : "silent", "bad"];
  if (site.health === "Late") return ["late", "wait"];
  if (site.drain) return ["draining", "wait"];
  return site.cordon ? ["cordoned", "wait"] : ["reporting", "good"];
}

// Parts of a resource at a site, in its unit; null: nothing is known. What Kapok's work uses and
// what is free are known; what others use there is in neither, so the whole is both together.
export function partsOf(site, resource) {
  const free = site.free?.[resource];
  const all = site.used?.[resource];
  if (free === undefined && all === undefined) return null;
  const inFlight = Math.min(site.inFlight?.[resource] || 0, all ?? Infinity);
  const reserved = site.reserved?.[resource] || 0;
  return {
    used: Math.max(0, (all || 0) - inFlight),
    inFlight,
    reserved,
    free: free === undefined ? null : Math.max(0, free - inFlight - reserved),
    isUsedKnown: site.used !== undefined,
  };
}

export const wholeOf = (parts) => (parts ? parts.used + parts.inFlight + parts.reserved + (parts.free || 0) : 0);

export function barParts(parts, format) {     // for StackedBar and Legend
  const text = (value) => (value === null ? t("unknown") : format(value));
  return [
    {key: "used", label: t("part.used"), value: parts.used, text: text(parts.used)},
    {key: "in-flight", label: t("part.in-flight"), value: parts.inFlight, text: text(parts.inFlight)},
    {key: "reserved", label: t("part.reserved"), value: parts.reserved, text: text(parts.reserved)},
    {key: "free", label: t("part.free"), value: parts.free, text: text(parts.free)},
  ].filter((one) => parts.isUsedKnown || one.key === "free");
}
