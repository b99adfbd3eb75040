// Cancelling a scan, after asking once more. (Airflow's frame allows no dialogs of the browser.)
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { post } from "../api.js";
import { useAction } from "./action.js";
import { focusOnce } from "./focus.js";
import { ProblemNotice } from "./notice.js";

export function CancelButton({ scan, onDone }) {
  const [asking, setAsking] = useState(false);
  const cancel = useAction(async () => {
    await post(`scans/${encodeURIComponent(scan.scan_id)}/cancel`);
    setAsking(false);
    onDone();
  });
  if (!asking) return html`<button onClick=${() => setAsking(true)}>Cancel scan</button>`;
  return html`
    <span class="confirm" role="group" aria-label="Cancel this scan?">
      <button class="danger" disabled=${cancel.busy} onClick=${cancel.run} ref=${focusOnce}>
        ${cancel.busy ? "Cancelling …" : "Yes, cancel it"}
      </button>
      <button onClick=${() => setAsking(false)}>Keep it</button>
      ${cancel.problem && html`<${ProblemNotice} problem=${cancel.problem} />`}
    </span>
  `;
}
