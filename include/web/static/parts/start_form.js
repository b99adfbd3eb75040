// The form to start a scan of a tenant.
import { useId, useState } from "preact/hooks";
import { html } from "../html.js";
import { post } from "../api.js";
import { scanHref } from "../links.js";
import { useAction } from "./action.js";
import { focusOnce } from "./focus.js";
import { ProblemNotice } from "./notice.js";

const MODES = [
  ["auto", "Auto", "everything if due, otherwise changes"],
  ["incremental", "Incremental", "changes since the last successful scan"],
  ["full", "Full", "everything"],
];
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const asIso = (local) => (local ? new Date(local).toISOString() : null);

export function StartForm({ tenant, onClose }) {
  const id = useId();
  const [mode, setMode] = useState("auto");
  const [rewrite, setRewrite] = useState(false);
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [force, setForce] = useState(false);
  const start = useAction(async () => {
    const windowed = mode !== "full" && !rewrite;
    const answer = await post("scans", {
      tenant: tenant.id,
      mode,
      window_start: windowed ? asIso(from) : null,
      window_end: windowed ? asIso(to) : null,
      rewrite_rows: rewrite,
      checkpoint_pages: null,
      force,
    });
    location.assign(answer.links.page);
  });
  const runs = tenant.running_scan_id ?? start.problem?.more.scan_id;

  function submit(event) {
    event.preventDefault();
    start.run();
  }

  return html`
    <form class="panel start" onSubmit=${submit} aria-labelledby="${id}-title">
      <h2 id="${id}-title">Start a scan</h2>
      <fieldset class="modes">
        <legend>What to read</legend>
        ${MODES.map(
          ([value, label, meaning]) => html`
            <label>
              <input
                type="radio"
                name="mode"
                value=${value}
                checked=${mode === value}
                disabled=${rewrite && value === "incremental"}
                onChange=${() => setMode(value)}
                ref=${(element) => value === "auto" && focusOnce(element)}
              />
              <span>${label} <small>${meaning}</small></span>
            </label>
          `,
        )}
      </fieldset>
      <label class="rewrite">
        <input type="checkbox" checked=${rewrite} disabled=${mode === "incremental"} onChange=${(e) => setRewrite(e.currentTarget.checked)} />
        <span>Write every row again <small>also unchanged ones; reads everything</small></span>
      </label>
      <fieldset class="window" disabled=${mode === "full" || rewrite}>
        <legend>Only records modified (optional; times in ${zone})</legend>
        <label>
          <span>from</span>
          <input type="datetime-local" value=${from} onInput=${(e) => setFrom(e.currentTarget.value)} required=${to !== ""} />
        </label>
        <label>
          <span>until</span>
          <input type="datetime-local" value=${to} min=${from} onInput=${(e) => setTo(e.currentTarget.value)} />
        </label>
      </fieldset>
      ${runs &&
      html`
        <label class="force">
          <input type="checkbox" checked=${force} onChange=${(e) => setForce(e.currentTarget.checked)} />
          <span>Queue it after the running scan</span>
        </label>
      `}
      <div class="actions">
        <button class="primary" disabled=${start.busy}>${start.busy ? "Starting …" : "Start scan"}</button>
        <button type="button" onClick=${onClose}>Close</button>
      </div>
      ${start.problem &&
      html`
        <${ProblemNotice} problem=${start.problem}>
          ${start.problem.more.scan_id &&
          html`<p><a href=${scanHref(start.problem.more.scan_id)}>View the running scan</a></p>`}
        <//>
      `}
    </form>
  `;
}
