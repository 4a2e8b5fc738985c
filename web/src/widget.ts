// `widget.js`: everything `<glow-chat>` needs, in one classic script.

import { GlowChat } from "./element.ts";

if (!customElements.get("glow-chat")) customElements.define("glow-chat", GlowChat);
