// Deals and seconds of a tenant's scans over time. The table below it says the same in words.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { html } from "../html.js";
import { duration, moment, number, rounded } from "../format.js";

const HEIGHT_PX = 200;
const DAY_S = 86_400;
const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export function HistoryChart({ history }) {
  const box = useRef(null);
  const newest = history.at(-1)?.scan_id;

  useEffect(() => {
    let chart = draw(box.current, history);
    const redraw = () => {
      chart.destroy();
      chart = draw(box.current, history);
    };
    const width = new ResizeObserver(() => chart.setSize({ width: box.current.clientWidth, height: HEIGHT_PX }));
    width.observe(box.current);
    document.addEventListener("themechange", redraw);
    return () => {
      width.disconnect();
      document.removeEventListener("themechange", redraw);
      chart.destroy();
    };
  }, [newest, history.length, history.at(-1)?.seconds]);

  return html`<div class="chart" ref=${box} role="img" aria-label=${inWords(history)}></div>`;
}

function inWords(history) {
  const last = history.at(-1);
  return (
    `Chart of the last ${history.length} scans: deals received and written, and seconds.` +
    ` The newest received ${number(last.deals_received)}, wrote ${number(last.deals_written)}` +
    ` and took ${duration(last.seconds)}. The table below has all figures.`
  );
}

function draw(element, history) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { font, stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  const line = (label, name, more) => ({ label, stroke: colour(name), width: 1.75, points: { size: 4 }, ...more });
  const data = [
    history.map((scan) => Date.parse(scan.started_at) / 1000),
    history.map((scan) => scan.deals_received),
    history.map((scan) => scan.deals_written),
    history.map((scan) => scan.seconds),
  ];
  const count = (_, value) => number(value);
  return new uPlot(
    {
      width: element.clientWidth,
      height: HEIGHT_PX,
      scales: { x: { time: true }, deals: { range: fromZero }, s: { range: fromZero } },
      axes: [
        { ...axis, grid: { show: false }, values: dates, space: 80, size: 32 },
        { ...axis, scale: "deals", values: (_, ticks) => ticks.map(rounded), size: 56 },
        { ...axis, scale: "s", side: 1, grid: { show: false }, values: (_, ticks) => ticks.map(shortTime), size: 56 },
      ],
      series: [
        { label: "Started", value: (_, at) => moment(at * 1000) },
        line("Deals received", "chart-1", { scale: "deals", value: count, fill: colour("chart-1-fill") }),
        line("Deals written", "chart-2", { scale: "deals", value: count }),
        line("Time taken", "chart-3", { scale: "s", value: (_, s) => duration(s), dash: [4, 3] }),
      ],
      hooks: { ready: [showNewest], setLegend: [showNewest] },
      cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    },
    data,
    element,
  );
}

/** The legend shows the scan that is pointed at, else the newest one. */
function showNewest(chart) {
  if (chart.legend.idx === null || chart.legend.idx === undefined) {
    chart.setLegend({ idx: chart.data[0].length - 1 }, false);
  }
}

function dates(_, ticks) {
  const format = ticks.at(-1) - ticks[0] < 2 * DAY_S ? hour : day;
  return ticks.map((at) => format.format(at * 1000));
}

const fromZero = (_, low, high) => [0, Math.max(1, (high ?? 1) * 1.08)];

const shortTime = (s) => (s >= 3_600 ? `${Math.round(s / 360) / 10} h` : s >= 120 ? `${Math.round(s / 60)} min` : `${s} s`);
