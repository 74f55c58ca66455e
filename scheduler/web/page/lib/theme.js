// Light, dark, or as the system has it; `?wall` enlarges the page and hides what is for a hand.

import {remembered} from "/page/lib/store.js";

export const THEMES = ["auto", "light", "dark"];
export const theme = remembered("theme", THEMES, "auto");
export const isWall = new URLSearchParams(location.search).has("wall");

function apply() {
  const root = document.documentElement;
  root.style.colorScheme = theme.get() === "auto" ? "light dark" : theme.get();
  root.classList.toggle("wall", isWall);
}

theme.follow(apply);
apply();
