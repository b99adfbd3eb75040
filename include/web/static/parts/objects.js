// A scan's results for each object.
import { html } from "../html.js";
import { number } from "../format.js";
import { Table } from "./table.js";

const COLUMNS = [
  { label: "Object", head: true, cell: (row) => row.object },
  { label: "Read", cell: (row) => html`<span class="prose">${row.mode}: ${row.reason}</span>` },
  { label: "Pages", number: true, cell: (row) => number(row.pages) },
  { label: "Received", number: true, cell: (row) => number(row.records_received) },
  { label: "Written", number: true, cell: (row) => number(row.rows_written) },
  { label: "Archived", number: true, cell: (row) => number(row.records_archived) },
  { label: "Restored", number: true, cell: (row) => number(row.restored) },
  { label: "Merged", number: true, cell: (row) => number(row.merged) },
  { label: "Vanished", number: true, cell: (row) => number(row.vanished) },
  { label: "Associations", number: true, cell: (row) => number(row.associations) },
  { label: "HubSpot", number: true, cell: (row) => number(row.portal_live) },
  { label: "Warehouse", number: true, cell: (row) => number(row.warehouse_live) },
  { label: "Unexplained", number: true, cell: (row) => number(row.unexplained) },
];

export function ObjectsTable({ objects }) {
  return html`<${Table} label="Objects" columns=${COLUMNS} rows=${objects} rowKey=${(row) => row.object} />`;
}
