// A point in time in the reader's time zone; the exact one shows when pointed at.
import { html } from "../html.js";
import { exactMoment, moment, NOTHING } from "../format.js";

/** @param beside times that must not read the same */
export function Moment({ at, beside }) {
  return at ? html`<time datetime=${at} title="${exactMoment(at)} (${at})">${moment(at, beside)}</time>` : NOTHING;
}
