// Results of quality checks: a summary, a table, and the records that a check found.
import { useState } from "preact/hooks";
import { html, marked } from "../html.js";
import { decimal, NOTHING, number } from "../format.js";
import { openInAirflow } from "../links.js";
import { useAnswer } from "../polled.js";
import { ProblemNotice } from "./notice.js";
import { Sign } from "./state.js";
import { Table } from "./table.js";

const STATUS = {
  passed: ["Passed", "good", "m5.2 8.2 2 2 3.6-4.2"],
  warned: ["Warned", "warn", "M8 4.8v4M8 11.2h.01"],
  failed: ["Failed", "bad", "m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4"],
  no_rows: ["Not applicable", "quiet", "M5.4 8h5.2"],
};

/** @param lastScan the tenant's, which may have ended before its checks */
export function QualitySummary({ quality, lastScan }) {
  if (!quality) return NOTHING;
  const worst = ["failed", "warned", "passed"].find((status) => quality[status]) ?? "no_rows";
  const [label, tone, path] = STATUS[worst];
  const count = worst === "no_rows" ? "" : `${number(quality[worst])} `;
  const idle = worst === "passed" && quality.no_rows > 0;
  const earlier = quality.scan_id !== lastScan?.scan_id;
  return html`
    <span class="state ${earlier ? "quiet" : tone}"><${Sign} path=${path} />${count}${label.toLowerCase()}</span>
    ${idle && html`<small class="idle">, ${number(quality.no_rows)} not applicable</small>`}
    ${earlier && html`<small class="when">in an earlier scan</small>`}
  `;
}

function Status({ status }) {
  const [label, tone, path] = STATUS[status] ?? [status, "quiet", ""];
  return html`<span class="state ${tone}"><${Sign} path=${path} />${label}</span>`;
}

const COLUMNS = [
  { label: "Check", head: true, cell: (row) => html`<code>${row.check}</code>` },
  { label: "Result", cell: (row) => html`<${Status} status=${row.status} />` },
  { label: "On failure", cell: (row) => (row.severity === "block" ? "fails the run" : "warning only") },
  { label: "How to fix", cell: (row) => (row.runbook ? html`<a href=${row.runbook}>Runbook</a>` : NOTHING) },
  { label: "Found", number: true, cell: (row) => decimal(row.observed) },
  { label: "Allowed", number: true, cell: (row) => decimal(row.at_most) },
  { label: "Why", cell: (row) => html`<span class="prose">${marked(row.why)}</span>` },
];
const ORDER = ["failed", "warned", "passed", "no_rows"];

export function QualityTable({ results }) {
  const rows = [...results].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status));
  return html`<${Table} label="Quality checks" columns=${COLUMNS} rows=${rows} rowKey=${(row) => row.check} />`;
}

const SHOWN = 100;
const RECORD_COLUMNS = [
  { label: "Object", cell: (row) => row.object },
  {
    label: "Record",
    head: true,
    cell: (row) =>
      row.url?.startsWith("https://")
        ? html`<a href=${row.url} target="_blank" rel="noreferrer" onClick=${openInAirflow}>${row.record_id}</a>`
        : row.record_id,
  },
  { label: "Detail", cell: (row) => html`<span class="prose">${row.detail ?? NOTHING}</span>` },
];

/** The records that a check found; requested when the element is opened. */
export function CheckedRecords({ scan, result }) {
  const [open, setOpen] = useState(false);
  return html`
    <details class="panel" onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary><h3>Records: <code>${result.check}</code> (${number(result.records)})</h3></summary>
      ${open && html`<${RecordsTable} path="scans/${encodeURIComponent(scan)}/checks/${result.check}" result=${result} />`}
    </details>
  `;
}

function RecordsTable({ path, result }) {
  const { data, problem } = useAnswer(`${path}?limit=${SHOWN}`, result.records);
  if (problem) return html`<${ProblemNotice} problem=${problem} />`;
  if (!data) return html`<p class="loading" role="status">Loading …</p>`;
  const csv = new URL(`${path}?format=csv`, document.baseURI).href;
  const some = result.records > data.records.length;
  return html`
    <p>
      ${some && html`The first ${number(data.records.length)} of ${number(result.records)}. `}
      <a href=${csv} download onClick=${openInAirflow}>Download all as CSV</a>
    </p>
    <${Table}
      label="Records of ${result.check}"
      columns=${RECORD_COLUMNS}
      rows=${data.records}
      rowKey=${(row) => `${row.object}/${row.record_id}/${row.detail}`}
    />
  `;
}
