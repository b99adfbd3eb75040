// A time in the reader's time zone; the tooltip shows it with seconds and zone.
import { html } from "../html.js";
import { exactMoment, moment, NOTHING } from "../format.js";

/** @param beside other times on the page; seconds are shown if one of them would look the same */
export function Moment({ at, beside }) {
  return at ? html`<time datetime=${at} title="${exactMoment(at)} (${at})">${moment(at, beside)}</time>` : NOTHING;
}
