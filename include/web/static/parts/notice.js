// Notices: what happened, and what to do.
import { html } from "../html.js";
import { airflowUrl, scanHref } from "../links.js";
import { Moment } from "./moment.js";

export function Notice({ tone = "quiet", title, children }) {
  return html`
    <section class="notice ${tone}" role=${tone === "bad" ? "alert" : "note"}>
      ${title && html`<strong>${title}</strong>`}
      ${children}
    </section>
  `;
}

const TITLES = {
  unreachable: "Airflow can't be reached",
  forbidden: "Not allowed",
  "not-found": "Not found",
  "warehouse-unavailable": "The warehouse can't be reached",
  "warehouse-not-ready": "The warehouse is not ready",
  "scan-running": "A scan is already running",
  "dag-paused": "The DAG is paused",
  "scan-finished": "The scan has ended",
};

/** An error of the API. */
export function ProblemNotice({ problem, children }) {
  if (problem.status === 401) {
    return html`
      <${Notice} tone="bad" title="You are signed out">
        <p><a href=${airflowUrl("/api/v2/auth/login?next=" + encodeURIComponent(top.location.pathname + top.location.search))} target="_top">Sign in to Airflow</a>, then reload this page.</p>
      <//>
    `;
  }
  const tone = problem.code === "warehouse-not-ready" ? "quiet" : "bad";
  return html`
    <${Notice} tone=${tone} title=${TITLES[problem.code] ?? problem.title ?? "The request failed"}>
      <p>${problem.message}</p>
      ${problem.remedy && html`<p class="remedy">${problem.remedy}</p>`}
      ${children}
    <//>
  `;
}

/** A warning above earlier data that can't be refreshed. */
export function Outdated({ problem }) {
  if (!problem) return null;
  return html`
    <div class="notice warn" role="status">
      <strong>${TITLES[problem.code] ?? "This page may be out of date"}.</strong> ${" "}
      <span>${problem.unreachable ? "This page shows the last data that arrived. It keeps trying." : problem.message}</span>
    </div>
  `;
}

export function Incident({ incident }) {
  if (!incident) return null;
  return html`
    <${Notice} tone=${incident.kind === "warning" ? "warn" : "bad"}>
      <strong>${incident.error_type || incident.kind}</strong> since <${Moment} at=${incident.since} />.${" "}
      ${incident.scan_id && html`<a href=${scanHref(incident.scan_id)}>View its scan for the cause and the fix</a>`}
    <//>
  `;
}

export function Empty({ title, children }) {
  return html`<section class="empty"><h2>${title}</h2>${children}</section>`;
}
