// Numbers, times and durations as text, in the reader's language. Unknown values are a dash.
export const NOTHING = "–";

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const smallPercentage = new Intl.NumberFormat(undefined, { style: "percent", maximumSignificantDigits: 2 });
const percentage = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });
/** The time zone selected in Airflow, which Airflow keeps in localStorage; else the browser's. */
const timeZone = validZone(localStorage.getItem("timezone")?.replaceAll('"', ""));
const clock = { hour: "2-digit", minute: "2-digit", timeZone };
const day = { month: "short", day: "numeric" };
const thisYear = new Intl.DateTimeFormat(undefined, { ...day, ...clock });
const anyYear = new Intl.DateTimeFormat(undefined, { year: "numeric", ...day, ...clock });
const thisYearToSeconds = new Intl.DateTimeFormat(undefined, { ...day, ...clock, second: "2-digit" });
const anyYearToSeconds = new Intl.DateTimeFormat(undefined, { year: "numeric", ...day, ...clock, second: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  ...clock,
  second: "2-digit",
  timeZoneName: "short",
});

function validZone(name) {
  try {
    return new Intl.DateTimeFormat(undefined, { timeZone: name || undefined }).resolvedOptions().timeZone;
  } catch {
    return undefined; // a name that this browser does not know
  }
}

export const known = (value) => value !== null && value !== undefined;

export const number = (value) => (known(value) ? whole.format(value) : NOTHING);
export const decimal = (value) => (known(value) ? short.format(value) : NOTHING);
export const rounded = (value) => (known(value) ? compact.format(value) : NOTHING);
export function percent(value) {
  if (!known(value)) return NOTHING;
  return (value > 0 && value < 0.01 ? smallPercentage : percentage).format(value);
}

/** With seconds and the zone. */
export const exactMoment = (iso) => exact.format(new Date(iso));

/** With seconds if one of the times *beside* it would look the same. */
export function moment(iso, beside = []) {
  const date = new Date(iso);
  const isThisYear = date.getFullYear() === new Date().getFullYear();
  const format = isThisYear ? thisYear : anyYear;
  const text = format.format(date);
  const isAmbiguous = beside.some((other) => other && other !== iso && format.format(new Date(other)) === text);
  if (!isAmbiguous) return text;
  return (isThisYear ? thisYearToSeconds : anyYearToSeconds).format(date);
}

/** The time zone of all times on the page. */
export const zoneName = new Intl.DateTimeFormat(undefined, { timeZone }).resolvedOptions().timeZone;

/** "8 s", "3 min 05 s", "2 h 10 min", "4 d 6 h". */
export function duration(seconds) {
  if (!known(seconds)) return NOTHING;
  const s = Math.max(0, Math.round(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  const min = Math.floor(s / 60);
  if (min < 48 * 60) return `${Math.floor(min / 60)} h ${two(min % 60)} min`;
  const h = Math.floor(min / 60);
  return `${Math.floor(h / 24)} d ${h % 24} h`;
}

export const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
