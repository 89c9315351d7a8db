/** Buttons that copy. */

import { announce } from "./announcer.js";
import { strings } from "./strings.js";

/** Milliseconds for which a button says that it has copied. */
const SAID = 2000;

/** Copies, and says so on the button and to a screen reader. */
export async function copy(text, button) {
  try {
    await write(text);
  } catch {
    // Where the browser forbids it, the button stays as it is.
    return;
  }
  button.textContent = strings.copied;
  announce(strings.copied);
  setTimeout(() => (button.textContent = strings.copy), SAID);
}

/** Also where a page came over plain HTTP, where browsers have no clipboard for it. */
async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  focused?.focus();
}
