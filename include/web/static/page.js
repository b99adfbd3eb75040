// Renders the view for the page's address.
import { render } from "preact";
import { html } from "./html.js";
import { ScanView } from "./views/scan.js";
import { TenantView } from "./views/tenant.js";
import { TenantsView } from "./views/tenants.js";
import { zoneName } from "./format.js";

const page = document.getElementById("page");
const { tenant, scan, dag, run } = page.dataset;

page.replaceChildren();
render(
  html`
    ${scan
      ? html`<${ScanView} id=${scan} dag=${dag} run=${run} />`
      : tenant
        ? html`<${TenantView} id=${tenant} dag=${dag} />`
        : html`<${TenantsView} />`}
    <footer>
      Times in ${zoneName} · <a href="help/README">Documentation</a> · <a href="docs">REST API</a>
    </footer>
  `,
  page,
);
