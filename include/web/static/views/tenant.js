// One tenant: how it stands, how its scans went, and starting one.
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { duration, number, plural } from "../format.js";
import { dagHref, scanHref, tenantsHref } from "../links.js";
import { AirflowLink } from "../parts/airflow_link.js";
import { Figures } from "../parts/figures.js";
import { Heading } from "../parts/heading.js";
import { HistoryChart } from "../parts/history_chart.js";
import { Moment } from "../parts/moment.js";
import { Empty, Incident, Notice, Outdated, ProblemNotice } from "../parts/notice.js";
import { QualitySummary } from "../parts/quality.js";
import { Quota } from "../parts/quota.js";
import { StartForm } from "../parts/start_form.js";
import { isRunning, State, stateOf } from "../parts/state.js";
import { Table } from "../parts/table.js";
import { usePolled } from "../polled.js";

const SHOWN_AT_FIRST = 10;
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
  if (problem.status !== 404 || !dag) return html`<${ProblemNotice} problem=${problem} />`;
  return html`
    <${Empty} title="This DAG scans no HubSpot account">
      <p><a href=${tenantsHref()}>See the tenants that are scanned</a></p>
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
    html`<${Notice}>A scan is under way. <a href=${scanHref(tenant.running_scan_id)}>See how far it is</a><//>`}
    <${Incident} incident=${tenant.incident} />
    ${tenant.paused &&
    html`<${Notice}>The DAG is paused: no scan starts on schedule, and none can be started here.<//>`}
    <${Standing} tenant=${tenant} />
    <${History} history=${tenant.history} />
  `;
}

function Standing({ tenant }) {
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
        ["Freshness", duration(tenant.freshness_s), "since the last good scan"],
        ["Deals live", number(tenant.deals_live), `${number(tenant.deals_archived)} archived`],
        ["Quality", html`<${QualitySummary} quality=${tenant.quality} />`, checks(tenant.quality)],
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
  quota?.daily_limit && `${number(quota.used_today)} of ${number(quota.daily_limit)}`;

const COLUMNS = [
  {
    label: "Started",
    head: true,
    cell: (scan) => html`<a class="row" href=${scanHref(scan.scan_id)}><${Moment} at=${scan.started_at} /></a>`,
  },
  { label: "State", cell: (scan) => html`<${State} state=${scan.state} />` },
  { label: "Mode", cell: (scan) => scan.mode },
  { label: "Deals received", number: true, cell: (scan) => number(scan.deals_received) },
  { label: "Deals written", number: true, cell: (scan) => number(scan.deals_written) },
  { label: "Time taken", number: true, cell: (scan) => duration(scan.seconds) },
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
      <${HistoryChart} history=${history} />
      <${Table} label="Scans" columns=${COLUMNS} rows=${rows} rowKey=${(scan) => scan.scan_id} />
      ${history.length > rows.length &&
      html`<p class="more"><button onClick=${() => setAll(true)}>Show all ${number(history.length)}</button></p>`}
    </section>
  `;
}
