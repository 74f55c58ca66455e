// A table whose cells are shaded by a share from 0 to 1 or by a kind, and say it in text too.
//
// rows: [{key, title, href}], columns: [{key, title}], cell(row, column) -> {text, level, kind,
// title} or null. Arrow keys move between the cells; `onCell` is called with the one that is on.

import {html, useRef, useState} from "/page/lib/preact.js";

const STEPS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
const LEVELS = 5;

const levelOf = (level) => (level === undefined || level === null ? "" : `heat-${Math.min(LEVELS, Math.max(0, Math.round(level * LEVELS)))}`);

export function HeatTable({label, corner = "", rows, columns, cell, onCell}) {
  const table = useRef(null);
  const [[atRow, atColumn], setAt] = useState([0, 0]);
  const move = (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const row = Math.min(rows.length - 1, Math.max(0, atRow + step[0]));
    const column = Math.min(columns.length - 1, Math.max(0, atColumn + step[1]));
    setAt([row, column]);
    table.current.querySelector(`[data-at="${row},${column}"]`)?.focus();
  };
  return html`<div class="scroll heat" role="group" aria-label=${label}>
    <table ref=${table} onKeyDown=${move}>
      <caption class="unseen">${label}</caption>
      <thead><tr><th scope="col">${corner}</th>
        ${columns.map((one) => html`<th key=${one.key} scope="col" title=${one.note}>${one.title}</th>`)}</tr></thead>
      <tbody>${rows.map((row, r) => html`<tr key=${row.key}>
        <th scope="row">${row.href ? html`<a href=${row.href}>${row.title}</a>` : row.title}</th>
        ${columns.map((column, c) => {
          const one = cell(row, column) || {text: ""};
          const chosen = () => { setAt([r, c]); onCell?.(row, column, one); };
          return html`<td key=${column.key} class="${one.kind || ""} ${levelOf(one.level)}">
            <button type="button" data-at="${r},${c}" tabindex=${r === atRow && c === atColumn ? 0 : -1}
              title=${one.title} aria-label=${one.title ? `${row.title}, ${column.title}: ${one.title}` : undefined}
              onFocus=${chosen} onClick=${chosen}>${one.text}</button></td>`;
        })}</tr>`)}</tbody>
    </table></div>`;
}
