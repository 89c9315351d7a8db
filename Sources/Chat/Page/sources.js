/** The passages that an answer rests on, each with how well it fits; one shows its text at a time. */

import { strings } from "./strings.js";

export class Sources {
  #element;
  #buttons;
  #excerpt;

  constructor(element) {
    this.#element = element;
    this.#buttons = element.querySelector(".sources-buttons");
    this.#excerpt = element.querySelector(".excerpt");
  }

  show(sources) {
    this.#buttons.replaceChildren(...sources.map((source) => this.#button(source)));
    this.#excerpt.hidden = true;
    this.#element.hidden = sources.length === 0;
  }

  hide() {
    this.#element.hidden = true;
  }

  #button({ title, score, excerpt }) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${title} (${Math.round(score * 100)}%)`;
    button.setAttribute("aria-expanded", "false");
    button.disabled = !excerpt;
    button.addEventListener("click", () => {
      const opens = button.getAttribute("aria-expanded") === "false";
      for (const other of this.#buttons.children) other.setAttribute("aria-expanded", "false");
      button.setAttribute("aria-expanded", String(opens));
      this.#excerpt.textContent = excerpt;
      this.#excerpt.setAttribute("aria-label", strings.excerpt(title));
      this.#excerpt.hidden = !opens;
    });
    return button;
  }
}
