/** What a screen reader is to say. */

/** Seconds after which it is no longer found by who reads through the page. */
const KEPT = 10;

/** Each time it is a line of its own, since the same text twice would be no change. */
export function announce(text) {
  const line = document.createElement("p");
  line.textContent = text;
  document.getElementById("announcer").append(line);
  setTimeout(() => line.remove(), KEPT * 1000);
}
