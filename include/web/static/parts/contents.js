// A tenant's data in the warehouse: deals by stage, and views with their columns.
import { useState } from "preact/hooks";
import { html, marked } from "../html.js";
import { NOTHING, number, percent } from "../format.js";
import { Moment } from "./moment.js";
import { ProblemNotice } from "./notice.js";
import { Table } from "./table.js";
import { useAnswer } from "../polled.js";

/** @param version changes when the tenant's deals may have changed */
export function DealsByStage({ tenant, version }) {
  const { data, problem } = useAnswer(`tenants/${encodeURIComponent(tenant)}/stages`, version);
  if (problem) return html`<${ProblemNotice} problem=${problem} />`;
  if (!data?.stages.length) return null;
  const all = data.stages.reduce((sum, stage) => sum + stage.deals, 0);
  const currency = data.stages[0].currency;
  const columns = [
    { label: "Pipeline", cell: (row) => row.pipeline ?? NOTHING },
    { label: "Stage", head: true, cell: (row) => row.stage ?? "no stage" },
    { label: "Deals", number: true, cell: (row) => number(row.deals) },
    { label: currency ? `Amount in ${currency}` : "Amount", number: true, cell: (row) => number(row.amount) },
    {
      label: "Share of deals",
      cell: (row) => html`
        <span class="meter wide" aria-hidden="true">
          <svg viewBox="0 0 100 8" preserveAspectRatio="none">
            <rect class="used" width=${(row.deals / all) * 100} height="8" />
          </svg>
        </span>
        ${percent(row.deals / all)}
      `,
    },
  ];
  return html`
    <section class="panel" aria-label="Deals by stage">
      <h2>Deals by stage</h2>
      <${Table} label="Deals by stage" columns=${columns} rows=${data.stages} rowKey=${(row) => `${row.pipeline_id}/${row.stage_id}`} />
    </section>
  `;
}

/** @param version changes when the views or watermarks may have changed */
export function SchemaPanel({ tenant, version }) {
  const [open, setOpen] = useState(false);
  return html`
    <details class="panel" onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary><h2>Schema and views</h2></summary>
      ${open && html`<${Schema} tenant=${tenant} version=${version} />`}
    </details>
  `;
}

function Schema({ tenant, version }) {
  const { data, problem } = useAnswer(`tenants/${encodeURIComponent(tenant)}/schema`, version);
  if (problem) return html`<${ProblemNotice} problem=${problem} />`;
  if (!data) return html`<p class="loading" role="status">Loading …</p>`;
  return html`
    ${data.drift && html`<${DriftNote} drift=${data.drift} />`}
    ${data.objects.map((object) => html`<${ObjectSchema} schema=${data.schema_name} object=${object} />`)}
  `;
}

function DriftNote({ drift }) {
  const changes = Object.entries(drift.drift).flatMap(([object, kinds]) =>
    Object.entries(kinds).map(([kind, names]) => `${object}: ${kind} ${names.join(", ")}`),
  );
  return html`<p>Properties changed in HubSpot, noticed <${Moment} at=${drift.seen_at} />: ${changes.join("; ")}</p>`;
}

const COLUMNS = [
  { label: "Column", head: true, cell: (row) => html`<code>${row.name}</code>` },
  { label: "Type", cell: (row) => row.type },
  { label: "In HubSpot", cell: (row) => html`<span class="prose">${row.comment ? marked(row.comment) : NOTHING}</span>` },
];

function ObjectSchema({ schema, object }) {
  const query = `select * from "${schema}"."${object.view}" limit 100;`;
  return html`
    <h3>${object.object}</h3>
    ${object.columns.length === 0
      ? html`<p class="none">There is no view yet. The next scan creates it.</p>`
      : html`
          <p>
            ${object.watermark
              ? html`The next scan reads records modified since <${Moment} at=${object.watermark} />.`
              : "The next scan reads everything."}
          </p>
          <pre class="sql" tabindex="0">${query}</pre>
          <div class="columns"><${Table} label="Columns of ${object.view}" columns=${COLUMNS} rows=${object.columns} rowKey=${(row) => row.name} /></div>
        `}
  `;
}
