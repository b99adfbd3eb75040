// A link to one of Airflow's own pages.
import { html } from "../html.js";
import { airflowUrl, openInAirflow } from "../links.js";

export function AirflowLink({ to, children, className = "" }) {
  return html`
    <a class=${className} href=${airflowUrl(to)} onClick=${openInAirflow} onAuxClick=${openInAirflow}>${children}</a>
  `;
}
