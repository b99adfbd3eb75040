// A scan's state as an icon and a word, because colour alone is not accessible.
import { html } from "../html.js";

const STATES = {
  queued: ["Queued", "quiet", "M8 4.5V8l2.4 1.6"],
  validating: ["Checking the token", "busy", "M5 8h.01M8 8h.01M11 8h.01"],
  extracting: ["Reading", "busy", "M8 4.6v6.2M5.4 8.4 8 11l2.6-2.6"],
  checking: ["Checking quality", "busy", "M5 8h.01M8 8h.01M11 8h.01"],
  waiting: ["Waiting", "warn", "M6.4 5.4v5.2M9.6 5.4v5.2"],
  succeeded: ["Succeeded", "good", "m5.2 8.2 2 2 3.6-4.2"],
  failed: ["Failed", "bad", "m5.8 5.8 4.4 4.4m0-4.4-4.4 4.4"],
  cancelled: ["Cancelled", "quiet", "M4.6 11.4l6.8-6.8"],
  never: ["Never scanned", "quiet", "M5.4 8h5.2"],
  "no-run": ["Run deleted", "warn", "M5.4 8h5.2"],
};
const FINISHED = new Set(["succeeded", "failed", "cancelled", "never", "no-run"]);

export const isRunning = (state) => Boolean(state) && !FINISHED.has(state);
/** The state of a tenant's running scan, which need not be the newest, or of its last one. */
export function stateOf({ running_state, last_scan }) {
  if (running_state) return running_state;
  return isRunning(last_scan?.state) ? "no-run" : (last_scan?.state ?? "never");
}

export const toneOf = (state) => STATES[state]?.[1] ?? "quiet";
export const stateLabel = (state) => STATES[state]?.[0] ?? state;

export function State({ state }) {
  const [label, tone, path] = STATES[state] ?? [state, "quiet", "M5.4 8h5.2"];
  return html`<span class="state ${tone}"><${Sign} path=${path} />${label}</span>`;
}

export function Sign({ path }) {
  return html`
    <svg class="sign" viewBox="0 0 16 16" aria-hidden="true">
      <circle cx="8" cy="8" r="6.4" />
      <path d=${path} />
    </svg>
  `;
}
