// Bars, one for each scan, the newest at the right. The same figures are in a table below.
import { html } from "../html.js";
import { duration, known, moment, percent } from "../format.js";
import { Moment } from "./moment.js";
import { State, stateLabel, toneOf } from "./state.js";
import { Table } from "./table.js";

const SLOTS = 30; // the width of a bar is the same for 1 scan and for 30
const SLOT = 10;
const HEIGHT = 100;

/**
 * @param series `[{ name, className?, value: scan => number or null }]`, stacked; without a class
 *   name the bar has the colour of the scan's state
 * @param format one of format.js: value => text, with its unit
 */
export function ScanChart({ title, note, scans, series, format }) {
  const caption = html`<figcaption>${title}${note && html` <small>${note}</small>`}</figcaption>`;
  if (!scans.some((scan) => series.some((of) => known(of.value(scan))))) {
    return html`
      <figure class="chart">
        ${caption}
        <p class="none">No figures yet</p>
      </figure>
    `;
  }
  const total = (scan) => series.reduce((sum, of) => sum + (of.value(scan) ?? 0), 0);
  const top = ceiling(Math.max(...scans.map(total)), format);
  const slots = Math.max(SLOTS, scans.length);
  const first = slots - scans.length;
  return html`
    <figure class="chart">
      ${caption}
      ${series.length > 1 &&
      html`<ul class="legend">${series.map((of) => html`<li><span class="key ${of.className}"></span>${of.name}</li>`)}</ul>`}
      <div class="plot" role="img" aria-label="${title}: ${scans.length} scans. The table below has the figures.">
        <ol class="axis" aria-hidden="true">
          ${[top, top / 2, 0].map((value) => html`<li>${format(value)}</li>`)}
        </ol>
        <svg viewBox="0 0 ${slots * SLOT} ${HEIGHT}" preserveAspectRatio="none">
          ${[0, HEIGHT / 2, HEIGHT].map((y) => html`<line class="grid" x1="0" x2=${slots * SLOT} y1=${y} y2=${y} />`)}
          ${scans.map((scan, n) => html`<${Bar} scan=${scan} x=${(first + n) * SLOT} top=${top} series=${series} format=${format} />`)}
        </svg>
        <p class="ends" aria-hidden="true">
          ${scans.length > 1 && html`<span>${moment(scans[0].started_at)}</span>`}<span>${moment(scans.at(-1).started_at)}</span>
        </p>
      </div>
      <details>
        <summary>Show as a table</summary>
        <${Table}
          label=${title}
          columns=${tableColumns(series, format)}
          rows=${[...scans].reverse()}
          rowKey=${(scan) => scan.scan_id}
        />
      </details>
    </figure>
  `;
}

function Bar({ scan, x, top, series, format }) {
  let y = HEIGHT;
  const shown = series.filter((of) => known(of.value(scan)));
  const figures = shown.map((of) => `${of.name}: ${format(of.value(scan))}`).join(", ");
  return html`
    <g class="bar ${toneOf(scan.state)}">
      <title>${moment(scan.started_at)}, ${scan.mode}, ${stateLabel(scan.state)}. ${figures || "Unknown"}</title>
      <rect class="hover" x=${x} width=${SLOT} y="0" height=${HEIGHT} />
      ${shown.map((of) => {
        const height = (Math.max(0, of.value(scan)) / top) * HEIGHT;
        y -= height;
        return html`<rect class=${of.className ?? "of-state"} x=${x + 1.5} width=${SLOT - 3} y=${y} height=${height} />`;
      })}
      ${shown.length > 0 && html`<rect class="of-state" x=${x + 1.5} width=${SLOT - 3} y=${HEIGHT - 1.5} height="1.5" />`}
    </g>
  `;
}

const tableColumns = (series, format) => [
  {
    label: "Started",
    head: true,
    cell: (scan, scans) => html`<${Moment} at=${scan.started_at} beside=${scans.map((other) => other.started_at)} />`,
  },
  { label: "State", cell: (scan) => html`<${State} state=${scan.state} />` },
  { label: "Mode", cell: (scan) => scan.mode },
  ...series.map((of) => ({
    label: of.name,
    number: true,
    cell: (scan) => format(of.value(scan)),
  })),
];

const TIMES_S = [2, 10, 20, 60, 120, 600, 1200, 3600, 7200, 21600, 43200, 86400, 172800];

/** The smallest of 1, 2, 5, 10, 20 … not below *value*; for durations, the smallest of TIMES_S. */
function ceiling(value, format) {
  if (!(value > 0)) return format === percent ? 1 : 2;
  const time = format === duration && TIMES_S.find((s) => s >= value);
  if (time) return time;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * unit >= value) * unit;
}
