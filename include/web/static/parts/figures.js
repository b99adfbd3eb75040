// Figures side by side: name, value and note.
import { html } from "../html.js";
import { known } from "../format.js";

/** @param items `[name, value, note?]`; falsy items are left out */
export function Figures({ items, label }) {
  return html`
    <dl class="figures" aria-label=${label}>
      ${items.filter(Boolean).map(
        ([name, value, note]) => html`
          <div>
            <dt>${name}</dt>
            <dd>${value}${known(note) && note !== false && html`<small>${note}</small>`}</dd>
          </div>
        `,
      )}
    </dl>
  `;
}
