// The used part of the account's daily quota, and the share at which this tenant's scans wait.
import { html } from "../html.js";
import { NOTHING, number, percent } from "../format.js";

export function Quota({ quota }) {
  if (quota?.used_today === null || quota?.used_today === undefined) return NOTHING;
  if (!quota.daily_limit) return html`<span class="quota">${number(quota.used_today)}</span>`;
  const used = quota.used_today / quota.daily_limit;
  const title =
    `${number(quota.used_today)} of the account's ${number(quota.daily_limit)} requests per day;` +
    ` scans wait at ${percent(quota.share)}`;
  return html`
    <span class="quota" title=${title}>
      <span class="meter" aria-hidden="true">
        <svg viewBox="0 0 100 8" preserveAspectRatio="none">
          <rect class=${used >= quota.share ? "full" : "used"} width=${Math.min(100, used * 100)} height="8" />
        </svg>
      </span>
      ${percent(used)}
    </span>
  `;
}
