// Markup: `html` escapes whatever is put into it, so no text of a tenant ever becomes markup.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
