// A progress bar.
import { html } from "../html.js";
import { percent } from "../format.js";

export function Progress({ fraction, label }) {
  const known = fraction !== null && fraction !== undefined;
  const value = known ? Math.min(100, Math.max(0, fraction * 100)) : null;
  return html`
    <div
      class="progress ${known ? "" : "unknown"}"
      role="progressbar"
      aria-label=${label}
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow=${known ? Math.round(value) : undefined}
      aria-valuetext=${known ? percent(fraction) : "unknown"}
    >
      <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect width=${known ? value : 30} height="8" />
      </svg>
    </div>
  `;
}
