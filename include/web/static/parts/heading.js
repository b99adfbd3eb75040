// The header of a view: breadcrumb, title, actions.
import { useEffect } from "preact/hooks";
import { html } from "../html.js";

/** @param path `[text, href]` of the views above */
export function Heading({ path = [], title, children }) {
  useEffect(() => {
    document.title = path.length ? `${title} · HubSpot scans` : title;
  }, [title]);
  return html`
    <header class="heading">
      ${path.length > 0 &&
      html`
        <nav aria-label="Breadcrumb">
          <ol>${path.map(([text, href]) => html`<li><a href=${href}>${text}</a></li>`)}</ol>
        </nav>
      `}
      <div class="title">
        <h1>${title}</h1>
        <div class="actions">${children}</div>
      </div>
    </header>
  `;
}
