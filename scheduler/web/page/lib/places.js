// Where sites are, as a tree of provinces and cities. There is no map: a schematic by name.

import {named, t} from "/page/lib/words.js";

export const provinceName = (code) => (code ? named("province", code) : t("place.unknown"));

// [{key, title, sites, cities: [{key, title, sites}]}], provinces with most sites first.
export function byPlace(rows) {
  const provinces = new Map();
  for (const row of rows) {
    const cities = provinces.get(row.province || "") || new Map();
    provinces.set(row.province || "", cities);
    const city = cities.get(row.city || "") || [];
    cities.set(row.city || "", city);
    city.push(row);
  }
  return [...provinces].map(([code, cities]) => ({
    key: code,
    title: provinceName(code),
    sites: [...cities.values()].reduce((sum, one) => sum + one.length, 0),
    cities: [...cities].map(([key, sites]) => ({key, title: key || t("place.unknown"), sites}))
      .sort((a, b) => b.sites.length - a.sites.length || (a.key < b.key ? -1 : 1)),
  })).sort((a, b) => b.sites - a.sites || (a.key < b.key ? -1 : 1));
}
