// One scan: progress or result, objects, and quality checks.
import { html } from "../html.js";
import { decimal, duration, known, number, percent, plural } from "../format.js";
import { logHref, runHref, tenantHref, tenantsHref } from "../links.js";
import { post } from "../api.js";
import { useAction } from "../parts/action.js";
import { AirflowLink } from "../parts/airflow_link.js";
import { CancelButton } from "../parts/cancel_button.js";
import { Figures } from "../parts/figures.js";
import { Heading } from "../parts/heading.js";
import { Moment } from "../parts/moment.js";
import { Empty, Notice, Outdated, ProblemNotice } from "../parts/notice.js";
import { ObjectsTable } from "../parts/objects.js";
import { Progress } from "../parts/progress.js";
import { CheckedRecords, QualityTable } from "../parts/quality.js";
import { isRunning, State, stateLabel } from "../parts/state.js";
import { usePolled } from "../polled.js";

const MISFITS_SHOWN = 20;
const ALL_READ = 0.99; // the API's maximum until associations and histories are read

const ROOT = ["HubSpot scans", tenantsHref()];

export function ScanView({ id, dag, run }) {
  const { data: scan, problem, reload } = usePolled(
    `scans/${encodeURIComponent(id)}`,
    (answer) => isRunning(answer.state) || answer.will_retry,
  );
  if (!scan || problem?.status === 404) {
    return html`
      <${Heading} path=${[ROOT]} title="Scan" />
      ${problem
        ? html`<${Missing} problem=${problem} dag=${dag || scan?.dag_id} run=${run || scan?.run_id} />`
        : html`<p class="loading" role="status">Loading …</p>`}
    `;
  }
  return html`<${Outdated} problem=${problem} /><${Scan} scan=${scan} reload=${reload} />`;
}

function Missing({ problem, dag, run }) {
  if (problem.status !== 404 || !run) return html`<${ProblemNotice} problem=${problem} />`;
  return html`
    <${Empty} title="No scan was recorded for this run">
      <p>It has not begun, or it failed before the scan began. The log of its first task shows the reason.</p>
      <p><${AirflowLink} to=${runHref(dag, run)}>Open the run<//></p>
    <//>
  `;
}

function Scan({ scan, reload }) {
  const running = isRunning(scan.state);
  return html`
    <${Heading} path=${[ROOT, [scan.tenant, tenantHref(scan.tenant)]]} title="Scan of ${scan.tenant}">
      <${AirflowLink} className="button" to=${runHref(scan.dag_id, scan.run_id)}>Open run<//>
      <${AirflowLink} className="button" to=${logHref(scan)}>Logs<//>
      ${(running || scan.will_retry) && html`<${CancelButton} scan=${scan} onDone=${reload} />`}
      ${scan.state === "failed" && !scan.will_retry && html`<${RetryButton} scan=${scan} onDone=${reload} />`}
    <//>
    <p class="facts">
      <${State} state=${scan.state} />
      <span>${modeInWords(scan)}</span>
      <span>started <${Moment} at=${scan.started_at} beside=${[scan.finished_at]} /></span>
      ${scan.finished_at && html`<span>ended <${Moment} at=${scan.finished_at} beside=${[scan.started_at]} /></span>`}
      <code class="run">${scan.run_id}</code>
    </p>
    <p class="unseen" role="status">${announcement(scan)}</p>
    ${running && scan.tries === null && html`<${Notice} tone="warn" title="Airflow has no run of this scan">
      <p>The run was deleted, so the scan does not continue. Cancel it, then start another one.</p>
    <//>`}
    <${Failure} scan=${scan} />
    <${ProgressPanel} scan=${scan} running=${running} />
    <${Warnings} warnings=${scan.warnings} />
    <${Misfits} misfits=${Object.entries(scan.misfits)} />
    <${Part} title="Objects" rows=${scan.objects} none=${running ? "Nothing has been read yet." : "Nothing was read."}>
      <${ObjectsTable} objects=${scan.objects} />
    <//>
    <${Part} title="Quality" rows=${scan.quality} none=${running ? "Quality checks run after extraction." : "No check ran."}>
      <${QualityTable} results=${scan.quality} />
      ${scan.quality.map((result) => result.records > 0 && html`<${CheckedRecords} scan=${scan.scan_id} result=${result} />`)}
    <//>
  `;
}

function RetryButton({ scan, onDone }) {
  const retry = useAction(async () => {
    await post(`scans/${encodeURIComponent(scan.scan_id)}/retry`);
    onDone();
  });
  return html`
    <button class="primary" disabled=${retry.busy} onClick=${retry.run}>${retry.busy ? "Retrying …" : "Retry"}</button>
    ${retry.problem && html`<${ProblemNotice} problem=${retry.problem} />`}
  `;
}

function modeInWords(scan) {
  if (!scan.window_start) return `${scan.mode} scan`;
  return html`
    ${scan.mode} scan of records modified from
    ${" "}<${Moment} at=${scan.window_start} beside=${[scan.window_end]} /> until
    ${" "}<${Moment} at=${scan.window_end} beside=${[scan.window_start]} />
  `;
}

/** For screen readers: the state, and the progress in quarters. */
function announcement(scan) {
  const quarters = Math.floor((scan.progress.fraction ?? 0) * 4);
  const done = isRunning(scan.state) && quarters > 0 ? `, ${quarters * 25} % done` : "";
  return `${stateLabel(scan.state)}${done}`;
}

function Failure({ scan }) {
  if (!scan.error) return null;
  const waits = scan.state === "waiting";
  return html`
    <${Notice} tone=${waits ? "warn" : "bad"} title=${waits ? "Waiting for HubSpot" : scan.error.type}>
      <p>${scan.error.message}</p>
      ${scan.error.remedy && html`<p class="remedy">${scan.error.remedy}</p>`}
      ${scan.will_retry && html`<p>Airflow will retry the task.</p>`}
      ${scan.error.runbook && html`<p><a href=${scan.error.runbook}>See the runbook</a></p>`}
    <//>
  `;
}

function ProgressPanel({ scan, running }) {
  const { progress } = scan;
  const label = stateLabel(scan.state);
  return html`
    <section class="panel" aria-label="Progress">
      ${running &&
      html`
        <div class="how-far">
          <${Progress} fraction=${progress.fraction} label=${label} />
          <span class="big">${progress.fraction >= ALL_READ ? "Reading associations and histories" : known(progress.fraction) ? percent(progress.fraction) : label}</span>
        </div>
      `}
      <${Figures}
        label="Progress"
        items=${[
          ["Records", number(progress.records_received), known(progress.expected) && `of ${number(progress.expected)}`],
          ["Pages", number(progress.pages)],
          ["Deals received", number(scan.deals_received)],
          ["Deals written", number(scan.deals_written)],
          running && ["Records per second", decimal(progress.records_per_s)],
          running && ["Time left", duration(progress.time_left_s)],
          !running && ["Duration", duration(scan.seconds), phasesInWords(scan.phases)],
          scan.requests > 0 && ["Requests", number(scan.requests), known(progress.requests_per_s) && `${decimal(progress.requests_per_s)} per second`],
          scan.requests > 0 && ["HTTP 429 responses", number(scan.throttled)],
          scan.tries > 1 && ["Tries", number(scan.tries)],
        ]}
      />
    </section>
  `;
}

function phasesInWords({ token, read, check }) {
  const named = [["token", token], ["read", read], ["check", check]].filter(([, seconds]) => known(seconds));
  if (named.length < 2) return null;
  const nowrap = (text) => html`<span class="nowrap">${text}</span> `;
  return named.map(([name, seconds], n) => nowrap(`${name} ${duration(seconds)}${n < named.length - 1 ? "," : ""}`));
}

function Warnings({ warnings }) {
  if (!warnings.length) return null;
  return html`
    <${Notice} tone="warn" title="The scan has warnings">
      <ul>${warnings.map((warning) => html`<li>${warning}</li>`)}</ul>
    <//>
  `;
}

function Misfits({ misfits }) {
  if (!misfits.length) return null;
  const shown = [...misfits].sort(([, one], [, other]) => other - one).slice(0, MISFITS_SHOWN);
  return html`
    <${Notice} tone="warn" title="Values do not fit the type of their column">
      <ul>
        ${shown.map(([column, count]) => html`<li><code>${column}</code>: ${plural(count, "value", "values")}</li>`)}
      </ul>
      ${misfits.length > shown.length && html`<p>and ${plural(misfits.length - shown.length, "more column", "more columns")}</p>`}
      <p>These values are NULL in their columns. <code>properties</code> has them as HubSpot sent them.</p>
    <//>
  `;
}

function Part({ title, rows, none, children }) {
  return html`
    <section class="panel" aria-label=${title}>
      <h2>${title}</h2>
      ${rows.length ? children : html`<p class="none">${none}</p>`}
    </section>
  `;
}
