// `html` escapes all values, so a tenant's text never becomes markup.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
