// All tenants that the user may see.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { duration, number, plural } from "../format.js";
import { post } from "../api.js";
import { tenantHref } from "../links.js";
import { useAction } from "../parts/action.js";
import { Heading } from "../parts/heading.js";
import { Moment } from "../parts/moment.js";
import { Empty, Notice, Outdated, ProblemNotice } from "../parts/notice.js";
import { QualitySummary } from "../parts/quality.js";
import { Quota } from "../parts/quota.js";
import { isRunning, State, stateOf } from "../parts/state.js";
import { Table } from "../parts/table.js";
import { usePolled } from "../polled.js";

const PAGE_SIZE = 50;
const TYPING_MS = 200;
const FILTERS = [
  ["", "all", ""],
  ["failing", "failing", "bad"],
  ["late", "late", "warn"],
  ["running", "running", "busy"],
  ["ok", "OK", "good"],
  ["never", "never scanned", "quiet"],
];

const COLUMNS = [
  {
    label: "Tenant",
    sort: "id",
    head: true,
    cell: (tenant) => html`
      <a class="row" href=${tenantHref(tenant.id)}>${tenant.id}</a>
      ${tenant.paused && html`<span class="tag" title="Its DAG is paused: no scan starts on schedule">paused</span>`}
    `,
  },
  {
    label: "Last scan",
    sort: "-last_scan",
    cell: (tenant) => html`
      <${State} state=${stateOf(tenant)} />
      ${tenant.last_scan && html`<small class="when"><${Moment} at=${tenant.last_scan.started_at} /></small>`}
      ${tenant.last_scan?.error && html`<small class="reason" title=${tenant.last_scan.error}>${tenant.last_scan.error}</small>`}
    `,
  },
  {
    label: "Freshness",
    sort: "-freshness",
    number: true,
    cell: (tenant) => html`
      ${tenant.state === "late" && html`<span class="tag late" title="A scan is overdue">late</span> `}
      ${duration(tenant.freshness_s)}
    `,
  },
  { label: "Deals live", sort: "-deals_live", number: true, cell: (tenant) => number(tenant.deals_live) },
  { label: "Quality", cell: (tenant) => html`<${QualitySummary} quality=${tenant.quality} lastScan=${tenant.last_scan} />` },
  { label: "Quota today", sort: "-quota", number: true, cell: (tenant) => html`<${Quota} quota=${tenant.quota} />` },
  {
    label: "Next run",
    sort: "next_run",
    cell: (tenant) => (tenant.paused ? "paused" : html`<${Moment} at=${tenant.next_run_at} />`),
  },
  { label: "Start", cell: (tenant) => html`<${StartButton} tenant=${tenant} />` },
];

const anyRuns = (answer) => answer.tenants.some((tenant) => isRunning(stateOf(tenant)));

export function TenantsView() {
  const [params, setParams] = useParams();
  const cursor = params.cursors.at(-1);
  const query = new URLSearchParams({ limit: PAGE_SIZE });
  if (params.search) query.set("search", params.search);
  if (params.state) query.set("state", params.state);
  if (params.sort) query.set("sort", params.sort);
  if (cursor) query.set("cursor", cursor);
  const { data, problem, settled } = usePolled(`tenants?${query}`, anyRuns);
  const shown = useRef(null); // stays on the page while the next one loads
  if (settled) shown.current = data && { ...data, first: (params.cursors.length - 1) * PAGE_SIZE + 1 };
  const answer = shown.current;
  useEffect(() => {
    // the history entry has a cursor of an earlier version
    if (problem?.code === "invalid-cursor") setParams({ cursors: [null] });
  }, [problem]);

  return html`
    <${Heading} title="HubSpot scans" />
    <${Filters} params=${params} setParams=${setParams} answer=${answer} />
    ${answer && html`<${Outdated} problem=${problem} />`}
    ${answer?.problems > 0 && html`<${Notice} tone="warn" title="The tenants file has ${plural(answer.problems, "invalid entry", "invalid entries")}">
      <p>Their tenants are missing here and are not scanned. Airflow's import errors say why.</p>
    <//>`}
    ${!answer && problem && html`<${ProblemNotice} problem=${problem} />`}
    ${!answer && !problem && html`<p class="loading" role="status">Loading …</p>`}
    ${answer && html`<${Tenants} answer=${answer} params=${params} setParams=${setParams} busy=${!settled} />`}
  `;
}

function Tenants({ answer, params, setParams, busy }) {
  const last = answer.first + answer.tenants.length - 1;
  if (!answer.tenants.length) return html`<${NoTenants} filtered=${params.search || params.state} setParams=${setParams} />`;
  return html`
    <${Table}
      label="Tenants"
      columns=${COLUMNS}
      rows=${answer.tenants}
      rowKey=${(tenant) => tenant.id}
      rowClass=${(tenant) => (tenant.incident && tenant.incident.kind !== "warning" ? "incident" : "")}
      busy=${busy}
      sorted=${params.sort || "id"}
      onSort=${(sort) => setParams({ sort, cursors: [null] })}
    />
    <nav class="pages" aria-label="Pages">
      <p role="status">${number(answer.first)}–${number(last)} of ${plural(answer.total, "tenant", "tenants")}</p>
      ${(answer.next_cursor || params.cursors.length > 1) &&
      html`
        <button
          disabled=${params.cursors.length === 1}
          onClick=${() => setParams({ cursors: params.cursors.slice(0, -1) })}
        >Previous</button>
        <button
          disabled=${!answer.next_cursor || busy}
          onClick=${() => setParams({ cursors: [...params.cursors, answer.next_cursor] })}
        >Next</button>
      `}
    </nav>
  `;
}

/** Starts a scan in mode auto and opens it. */
function StartButton({ tenant }) {
  const start = useAction(async () => location.assign((await post("scans", { tenant: tenant.id })).links.page));
  const refused = start.problem?.message;
  return html`
    <button
      class="small ${refused ? "danger" : ""}"
      title=${refused ?? "Start a scan in mode auto"}
      aria-label="Start a scan of ${tenant.id}"
      disabled=${start.busy || tenant.paused || Boolean(tenant.running_scan_id)}
      onClick=${(event) => {
        event.stopPropagation();
        start.run();
      }}
    >${refused ? "Refused" : "Start"}</button>
    ${refused && html`<span class="unseen" role="alert">${refused}</span>`}
  `;
}

function NoTenants({ filtered, setParams }) {
  if (filtered) {
    return html`
      <${Empty} title="No tenant matches">
        <p><button onClick=${() => setParams({ search: "", state: "", cursors: [null] })}>Show all tenants</button></p>
      <//>
    `;
  }
  return html`
    <${Empty} title="No tenants yet">
      <p>Add a tenant to the tenants file. Each tenant is a DAG, and you see the tenants whose DAGs you may see.</p>
    <//>
  `;
}

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

function Filters({ params, setParams, answer }) {
  const [text, setText] = useState(params.search);
  const input = useRef(null);

  useEffect(() => setText(params.search), [params.search]);
  useEffect(() => {
    if (text === params.search) return;
    const timer = setTimeout(() => setParams({ search: text, cursors: [null] }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  useEffect(() => {
    const focus = (event) => {
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest?.("input, select, textarea")) return;
      event.preventDefault();
      input.current.focus();
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  const toRows = (event) => {
    if (event.key === "ArrowDown") document.querySelector("a.row")?.focus();
  };

  return html`
    <search class="filters">
      <label>
        <span class="unseen">Search tenants</span>
        <input
          type="search"
          ref=${input}
          value=${text}
          placeholder="Search tenants"
          aria-keyshortcuts="/"
          autocomplete="off"
          spellcheck=${false}
          onInput=${(event) => setText(event.currentTarget.value)}
          onKeyDown=${toRows}
        />
        <kbd aria-hidden="true">/</kbd>
      </label>
      <div class="chips" role="group" aria-label="State">
        ${FILTERS.filter(([value]) => !value || answer?.states[value] || params.state === value).map(
          ([value, label, tone]) => html`
            <button
              class="chip ${tone}"
              aria-pressed=${params.state === value}
              onClick=${() => setParams({ state: value, cursors: [null] })}
            >${answer && `${number(value ? (answer.states[value] ?? 0) : sum(answer.states))} `}${label}</button>
          `,
        )}
      </div>
      ${answer?.incidents > 0 && html`<p class="incidents">${plural(answer.incidents, "tenant with an open incident", "tenants with open incidents")}</p>`}
    </search>
  `;
}

/** What the list shows. Search, state and order are in the address, cursors in the history entry. */
function useParams() {
  const given = new URLSearchParams(location.search);
  const [params, setState] = useState({
    search: given.get("search") ?? "",
    state: given.get("state") ?? "",
    sort: given.get("sort") ?? "",
    cursors: history.state?.cursors ?? [null],
  });
  function setParams(changes) {
    const next = { ...params, ...changes };
    const query = new URLSearchParams();
    if (next.search) query.set("search", next.search);
    if (next.state) query.set("state", next.state);
    if (next.sort) query.set("sort", next.sort);
    history.replaceState({ ...history.state, cursors: next.cursors }, "", `ui${query.size ? `?${query}` : ""}`);
    setState(next);
    scrollTo(0, 0);
  }
  return [params, setParams];
}
