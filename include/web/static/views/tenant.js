// One tenant: figures, deals by stage, scans, and a form to start a scan.
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { duration, known, number, percent, plural, rounded } from "../format.js";
import { dagHref, scanHref, tenantsHref } from "../links.js";
import { AirflowLink } from "../parts/airflow_link.js";
import { DealsByStage, SchemaPanel } from "../parts/contents.js";
import { Figures } from "../parts/figures.js";
import { Heading } from "../parts/heading.js";
import { ScanChart } from "../parts/chart.js";
import { Moment } from "../parts/moment.js";
import { Empty, Incident, Notice, Outdated, ProblemNotice } from "../parts/notice.js";
import { QualitySummary } from "../parts/quality.js";
import { Quota } from "../parts/quota.js";
import { StartForm } from "../parts/start_form.js";
import { isRunning, State, stateOf } from "../parts/state.js";
import { Table } from "../parts/table.js";
import { usePolled } from "../polled.js";

const SHOWN_AT_FIRST = 10;
const DAG_PREFIX = "hubspot_deals__";
const PATH = [["HubSpot scans", tenantsHref()]];

export function TenantView({ id, dag }) {
  const { data: tenant, problem } = usePolled(
    `tenants/${encodeURIComponent(id)}`,
    (answer) => isRunning(stateOf(answer)),
  );
  if (!tenant) {
    return html`
      <${Heading} path=${PATH} title=${id} />
      ${problem ? html`<${Missing} problem=${problem} dag=${dag} />` : html`<p class="loading" role="status">Loading …</p>`}
    `;
  }
  return html`<${Outdated} problem=${problem} /><${Tenant} tenant=${tenant} />`;
}

function Missing({ problem, dag }) {
  // a tenant that was removed or disabled still has its DAG in Airflow
  if (problem.status !== 404 || !dag || dag.startsWith(DAG_PREFIX)) return html`<${ProblemNotice} problem=${problem} />`;
  return html`
    <${Empty} title="This DAG does not load a HubSpot account">
      <p><a href=${tenantsHref()}>View all tenants</a></p>
    <//>
  `;
}

function Tenant({ tenant }) {
  const [starting, setStarting] = useState(false);
  return html`
    <${Heading} path=${PATH} title=${tenant.id}>
      <${AirflowLink} className="button" to=${dagHref(tenant.dag_id)}>Open DAG<//>
      <button class="primary" aria-expanded=${starting} onClick=${() => setStarting(!starting)}>Start a scan …</button>
    <//>
    ${starting && html`<${StartForm} tenant=${tenant} onClose=${() => setStarting(false)} />`}
    ${tenant.running_scan_id &&
    html`<${Notice}>A scan is queued or running. <a href=${scanHref(tenant.running_scan_id)}>View its progress</a><//>`}
    <${Incident} incident=${tenant.incident} />
    ${tenant.paused &&
    html`<${Notice}>Scans can't be started while the DAG is paused, and no scan starts on schedule.<//>`}
    <${TenantFigures} tenant=${tenant} />
    <${DealsByStage} tenant=${tenant.id} version=${tenant.last_scan?.finished_at} />
    <${History} history=${tenant.history} />
    <${SchemaPanel} tenant=${tenant.id} version=${tenant.last_scan?.finished_at} />
  `;
}

function TenantFigures({ tenant }) {
  const last = tenant.last_scan;
  return html`
    <${Figures}
      label="Figures"
      items=${[
        [
          "Last scan",
          last ? html`<a href=${scanHref(last.scan_id)}><${State} state=${last.state} /></a>` : "never",
          last && html`<${Moment} at=${last.started_at} />`,
        ],
        ["Freshness", duration(tenant.freshness_s), "since the last successful scan"],
        ["Deals live", number(tenant.deals_live), `${number(tenant.deals_archived)} archived`],
        ["Quality", html`<${QualitySummary} quality=${tenant.quality} lastScan=${last} />`, checks(tenant.quality)],
        ["Quota today", html`<${Quota} quota=${tenant.quota} />`, quotaInWords(tenant.quota)],
        [
          "Next run",
          tenant.paused ? "paused" : html`<${Moment} at=${tenant.next_run_at} />`,
          tenant.schedule ? html`<code>${tenant.schedule}</code> ${tenant.timezone}` : "only when triggered",
        ],
        ["HubSpot account", tenant.portal_id ?? "not bound yet"],
      ]}
    />
  `;
}

const checks = (quality) =>
  quality && plural(quality.passed + quality.warned + quality.failed + quality.no_rows, "check", "checks");

const quotaInWords = (quota) =>
  known(quota?.used_today) && `${number(quota.used_today)} of ${number(quota.daily_limit)}`;

const COLUMNS = [
  {
    label: "Started",
    head: true,
    cell: (scan, scans) => html`
      <a class="row" href=${scanHref(scan.scan_id)}>
        <${Moment} at=${scan.started_at} beside=${scans.map((other) => other.started_at)} />
      </a>
    `,
  },
  { label: "State", cell: (scan) => html`<${State} state=${scan.state} />` },
  { label: "Mode", cell: (scan) => scan.mode },
  { label: "Deals received", number: true, cell: (scan) => number(scan.deals_received) },
  { label: "Deals written", number: true, cell: (scan) => number(scan.deals_written) },
  { label: "Duration", number: true, cell: (scan) => duration(scan.seconds) },
];

function History({ history }) {
  const [all, setAll] = useState(false);
  if (!history.length) {
    return html`
      <${Empty} title="No scan yet">
        <p>The first scan reads everything and binds the tenant to its HubSpot account.</p>
      <//>
    `;
  }
  const newestFirst = [...history].reverse();
  const rows = all ? newestFirst : newestFirst.slice(0, SHOWN_AT_FIRST);
  return html`
    <section class="panel" aria-label="History">
      <h2>Scans</h2>
      <${Charts} history=${history} />
      <${Table} label="Scans" columns=${COLUMNS} rows=${rows} rowKey=${(scan) => scan.scan_id} />
      ${history.length > rows.length &&
      html`<p class="more"><button onClick=${() => setAll(true)}>Show all ${number(history.length)}</button></p>`}
    </section>
  `;
}

function Charts({ history }) {
  return html`
    <div class="charts">
      <${ScanChart} title="Deals received" scans=${history} format=${rounded}
        series=${[{ name: "Received", value: (scan) => scan.deals_received }]} />
      <${ScanChart} title="Deals written" note="new or changed" scans=${history} format=${rounded}
        series=${[{ name: "Written", value: (scan) => scan.deals_written }]} />
      <${ScanChart} title="Duration" scans=${history} format=${duration}
        series=${[
          { name: "Token", className: "chart-3", value: (scan) => scan.token_s },
          { name: "Read and load", className: "chart-1", value: (scan) => scan.read_s },
          { name: "Check", className: "chart-2", value: (scan) => scan.check_s },
        ]} />
      <${ScanChart} title="Live deals" note="in the warehouse" scans=${history} format=${rounded}
        series=${[{ name: "Live", value: (scan) => scan.deals_live }]} />
      <${ScanChart} title="Freshness" note="age of the data when the scan began" scans=${history} format=${duration}
        series=${[{ name: "Age", value: (scan) => scan.freshness_s }]} />
      <${ScanChart} title="Daily quota used" note="by all apps of the account" scans=${history} format=${percent}
        series=${[{ name: "Used", value: (scan) => scan.quota_used }]} />
    </div>
  `;
}
