// A point in time in the reader's time zone; the exact one shows when pointed at.
import { html } from "../html.js";
import { exactMoment, moment, NOTHING } from "../format.js";

export function Moment({ at }) {
  return at ? html`<time datetime=${at} title="${exactMoment(at)} (${at})">${moment(at)}</time>` : NOTHING;
}
