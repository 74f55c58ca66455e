// A table that sorts and draws only the rows in sight: 10,000 rows scroll without a stutter.
//
// columns: [{key, title, cell(row) -> text or template, value(row) -> what sorts, numeric, width}].
// Every row has the same height, so a row's place follows from its number; long text is cut, and
// its cell's title has it whole.

import {html, useEffect, useMemo, useRef, useState} from "/page/lib/preact.js";
import {locale, t} from "/page/lib/words.js";
import {Empty} from "/page/parts/banner.js";

const ROW_PIXELS = 34;                        // as --row in page.css
const SPARE_ROWS = 8;

function compare(a, b, collator) {            // unknown last, in both directions
  if (typeof a === "number" && typeof b === "number") return a - b;
  return collator.compare(String(a), String(b));
}

const isUnknown = (value) => value === undefined || value === null || Number.isNaN(value) || value === "";

export function sorted(rows, column, isDescending) {
  if (!column || !column.value) return rows;
  const collator = new Intl.Collator(locale(), {numeric: true});
  const keyed = rows.map((row) => [column.value(row), row]);
  const known = keyed.filter(([value]) => !isUnknown(value));
  known.sort(([a], [b]) => (isDescending ? compare(b, a, collator) : compare(a, b, collator)));
  return [...known, ...keyed.filter(([value]) => isUnknown(value))].map(([, row]) => row);
}

function useWindow(box, count) {
  const [range, setRange] = useState([0, Math.ceil(innerHeight / ROW_PIXELS) + SPARE_ROWS]);
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const look = () => {
      const rowPixels = element.querySelector("tbody tr[data-row]")?.offsetHeight || ROW_PIXELS;
      const start = Math.max(0, Math.floor(element.scrollTop / rowPixels) - SPARE_ROWS);
      const end = start + Math.ceil(element.clientHeight / rowPixels) + 2 * SPARE_ROWS;
      setRange(([s, e]) => (s === start && e === end ? [s, e] : [start, end]));
    };
    look();
    element.addEventListener("scroll", look, {passive: true});
    const size = new ResizeObserver(look);
    size.observe(element);
    return () => { element.removeEventListener("scroll", look); size.disconnect(); };
  }, [box.current, count]);
  return range;
}

function Heading({column, sort, onSort}) {
  const isSorted = sort.key === column.key;
  const state = isSorted ? (sort.isDescending ? "descending" : "ascending") : undefined;
  const sign = isSorted ? (sort.isDescending ? " ▼" : " ▲") : "";
  return html`<th scope="col" aria-sort=${state} class=${column.numeric ? "number" : ""} style=${{width: column.width}}>
    ${column.value ? html`<button type="button" onClick=${() => onSort(column)}>${column.title}<span aria-hidden="true">${sign}</span></button>` : column.title}
  </th>`;
}

function Row({row, index, columns, isFresh}) {
  return html`<tr data-row aria-rowindex=${index + 2} class=${isFresh ? "fresh" : ""}>
    ${columns.map((column, at) => {
      const shown = column.cell ? column.cell(row) : column.value(row);
      const title = typeof shown === "string" ? shown : column.text?.(row);
      const kind = column.numeric ? "number" : "";
      return at === 0
        ? html`<th scope="row" class=${kind} title=${title}>${shown}</th>`
        : html`<td class=${kind} title=${title}>${shown}</td>`;
    })}
  </tr>`;
}

// The caller may hold the order (sort, onSort: for tables that the server pages); else the table
// does. total: how many rows there are where `rows` are the first of them. onEnd: asks for more.
export function Table({id, label, columns, rows, rowKey, total = rows.length, sort, onSort, onEnd, start, freshKeys}) {
  const box = useRef(null);
  const [own, setOwn] = useState(start || {key: "", isDescending: false});
  const order = sort || own;
  const column = columns.find((one) => one.key === order.key);
  const shown = useMemo(
    () => (sort ? rows : sorted(rows, column, order.isDescending)),
    [rows, order.key, order.isDescending, Boolean(sort), locale()],
  );
  const [first, end] = useWindow(box, shown.length);
  const from = Math.min(first, Math.max(0, shown.length - 1));
  const part = shown.slice(from, end);
  useEffect(() => { if (onEnd && end >= shown.length && shown.length < total) onEnd(); }, [end, shown.length, total]);
  const choose = (one) => {
    const next = {key: one.key, isDescending: order.key === one.key ? !order.isDescending : Boolean(one.numeric)};
    (onSort || setOwn)(next);
    if (box.current) box.current.scrollTop = 0;
  };
  const after = Math.max(0, shown.length - from - part.length);
  return html`<div class="scroll" ref=${box} tabindex="0" role="group" aria-label=${label}>
    <table id=${id} aria-rowcount=${total + 1}>
      <caption class="unseen">${label}</caption>
      <thead><tr aria-rowindex="1">
        ${columns.map((one) => html`<${Heading} key=${one.key} column=${one} sort=${order} onSort=${choose} />`)}
      </tr></thead>
      <tbody>
        ${from > 0 && html`<tr aria-hidden="true" class="space"><td colspan=${columns.length} style=${{height: `calc(var(--row) * ${from})`}}></td></tr>`}
        ${part.map((row, at) => html`<${Row} key=${rowKey(row)} row=${row} index=${from + at} columns=${columns}
          isFresh=${freshKeys?.has(rowKey(row))} />`)}
        ${after > 0 && html`<tr aria-hidden="true" class="space"><td colspan=${columns.length} style=${{height: `calc(var(--row) * ${after})`}}></td></tr>`}
      </tbody>
    </table>
    ${shown.length === 0 && html`<${Empty}>${t("table.empty")}<//>`}
  </div>`;
}

// A part that scrolls by itself: it can be focused, so that the keyboard scrolls it too.
export const Scroll = ({label, children}) => html`<div class="scroll" tabindex="0" role="group" aria-label=${label}>${children}</div>`;

export function Count({id, shown, total}) {
  return html`<output id=${id}>${shown === total ? t("table.count", {total}) : t("table.count-of", {shown, total})}</output>`;
}
