// A table that becomes a list of cards on small screens. Roles are explicit because browsers drop the
// implicit ones when CSS changes how a table is displayed.
import { html } from "../html.js";

/**
 * @param columns `{ label, cell: (row, rows) => content, number?: align right, head?: row header,
 *   sort?: the order after the first click on its header }`
 * @param rowKey row => its key
 * @param rowClass row => class name
 */
export function Table({ label, columns, rows, rowKey, rowClass = () => "", busy = false, sorted, onSort }) {
  return html`
    <div class="scroll"><table class="table" role="table" aria-label=${label} aria-busy=${busy} onKeyDown=${walkRows}>
      <thead role="rowgroup">
        <tr role="row">
          ${columns.map(
            (column) => html`
              <th
                role="columnheader"
                scope="col"
                class=${column.number ? "number" : ""}
                aria-sort=${column.sort && sortedAs(column.sort, sorted)}
              >${column.sort && onSort ? html`<${SortButton} column=${column} sorted=${sorted} onSort=${onSort} />` : column.label}</th>
            `,
          )}
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${rows.map(
          (row) => html`
            <tr role="row" key=${rowKey(row)} class=${rowClass(row)} onClick=${openRow}>
              ${columns.map((column) => html`<${Cell} column=${column} row=${row} rows=${rows} />`)}
            </tr>
          `,
        )}
      </tbody>
    </table></div>
  `;
}

const reverse = (sort) => (sort.startsWith("-") ? sort.slice(1) : `-${sort}`);

function sortedAs(sort, sorted) {
  if (sorted !== sort && sorted !== reverse(sort)) return "none";
  return sorted.startsWith("-") ? "descending" : "ascending";
}

/** The first click sorts by *column.sort*, the next one reverses the order. */
function SortButton({ column, sorted, onSort }) {
  const sign = { ascending: "▲", descending: "▼", none: "" }[sortedAs(column.sort, sorted)];
  return html`
    <button class="sort" onClick=${() => onSort(sorted === column.sort ? reverse(column.sort) : column.sort)}>
      ${column.label} <span aria-hidden="true">${sign}</span>
    </button>
  `;
}

function Cell({ column, row, rows }) {
  const kind = column.number ? "number" : "";
  if (column.head) return html`<th role="rowheader" scope="row" class="head ${kind}">${column.cell(row, rows)}</th>`;
  return html`<td role="cell" class=${kind} data-label=${column.label}>${column.cell(row, rows)}</td>`;
}

/** Elements with a tooltip lie above the row's link, so a click on them must follow it. */
function openRow(event) {
  if (!event.target.closest("a, button")) event.currentTarget.querySelector("a.row")?.click();
}

/** Arrow keys move the focus between the rows' links. */
function walkRows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.matches("a.row")) return;
  const links = [...event.currentTarget.querySelectorAll("a.row")];
  const next = links[links.indexOf(event.target) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
