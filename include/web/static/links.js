// Addresses of this page's views and of Airflow's pages.
export const tenantsHref = () => "ui";
export const tenantHref = (tenant) => `ui?tenant=${encodeURIComponent(tenant)}`;
export const scanHref = (scan) => `ui?scan=${encodeURIComponent(scan)}`;

export const dagHref = (dagId) => `/dags/${encodeURIComponent(dagId)}`;
export const runHref = (dagId, runId) => `${dagHref(dagId)}/runs/${encodeURIComponent(runId)}`;

/** The task whose log explains *scan*. */
export const logHref = (scan) => `${runHref(scan.dag_id, scan.run_id)}/tasks/${scan.task}`;

/** Airflow's page at *path*, wherever Airflow is served. */
export const airflowUrl = (path) => new URL(`..${path}`, document.baseURI).href;

/**
 * Open an Airflow page in the parent window. Airflow's sandboxed frame may neither navigate that
 * window nor open another one, but a page of the same origin may click a link in it.
 */
export function openInAirflow(event) {
  if (parent === window || event.defaultPrevented) return;
  event.preventDefault();
  const link = parent.document.createElement("a");
  link.href = event.currentTarget.href;
  const { target, download } = event.currentTarget;
  if (target || event.ctrlKey || event.metaKey || event.shiftKey || event.button === 1) link.target = "_blank";
  link.rel = "noreferrer";
  if (event.currentTarget.hasAttribute("download")) link.download = download;
  parent.document.body.append(link);
  link.click();
  link.remove();
}
