// Numbers and durations as text, in the reader's language. What is not known is a dash.
export const NOTHING = "–";

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const percentage = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });
const thisYear = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});
const anyYear = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

const known = (value) => value !== null && value !== undefined;

export const number = (value) => (known(value) ? whole.format(value) : NOTHING);
export const decimal = (value) => (known(value) ? short.format(value) : NOTHING);
export const rounded = (value) => (known(value) ? compact.format(value) : NOTHING);
export const percent = (value) => (known(value) ? percentage.format(value) : NOTHING);

export function moment(iso) {
  const date = new Date(iso);
  return (date.getFullYear() === new Date().getFullYear() ? thisYear : anyYear).format(date);
}

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
