// `html` escapes all values, so a tenant's text never becomes markup.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);

/** Text with `code` in backticks. */
export const marked = (text) => text.split("`").map((part, n) => (n % 2 ? html`<code>${part}</code>` : part));
