// Cancels a scan after a confirmation. Airflow's frame does not allow the browser's dialogs.
import { useState } from "preact/hooks";
import { html } from "../html.js";
import { post } from "../api.js";
import { useAction } from "./action.js";
import { focusOnce } from "./focus.js";
import { ProblemNotice } from "./notice.js";

export function CancelButton({ scan, onDone }) {
  const [confirming, setConfirming] = useState(false);
  const cancel = useAction(async () => {
    await post(`scans/${encodeURIComponent(scan.scan_id)}/cancel`);
    setConfirming(false);
    onDone();
  });
  if (!confirming) return html`<button onClick=${() => setConfirming(true)}>Cancel scan</button>`;
  return html`
    <span class="confirm" role="group" aria-label="Cancel this scan?">
      <button class="danger" disabled=${cancel.busy} onClick=${cancel.run} ref=${focusOnce}>
        ${cancel.busy ? "Cancelling …" : "Yes, cancel it"}
      </button>
      <button onClick=${() => setConfirming(false)}>Keep it</button>
      ${cancel.problem && html`<${ProblemNotice} problem=${cancel.problem} />`}
    </span>
  `;
}
