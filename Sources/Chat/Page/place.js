/** The place in the queue and the time left, with a progress bar that goes on between the server's events. */

import { duration, strings } from "./strings.js";

export class Place {
  #element;
  #bar;
  #event;
  #timer;
  #startedAt;
  #heardAt;
  #done = 0;

  constructor(element) {
    this.#element = element;
    this.#bar = element.querySelector(".progress");
  }

  /** @param event a `queue` event of one that has to wait */
  show(event) {
    this.#event = event;
    this.#heardAt = performance.now();
    this.#startedAt ??= this.#heardAt;
    this.#timer ??= setInterval(() => this.#update(), 1000);
    this.#element.querySelector(".place-position").textContent = strings.position(event.position);
    this.#element.hidden = false;
    this.#update();
  }

  hide() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#startedAt = undefined;
    this.#done = 0;
    this.#element.hidden = true;
  }

  #update() {
    const { eta_seconds: eta, eta_p90_seconds: high, eta_is_guess: isGuess } = this.#event;
    const now = performance.now();
    const since = (now - this.#heardAt) / 1000;
    const left = eta - since;
    const time = this.#element.querySelector(".place-time");
    if (!Number.isFinite(eta)) {
      time.textContent = strings.noEstimate;
    } else if (left < 1) {
      time.textContent = strings.soon;
    } else {
      const estimate = (isGuess ? strings.estimateGuess : strings.estimate)(duration(left));
      const limit = !isGuess && high > eta ? ` · ${strings.atMost(duration(high - since))}` : "";
      time.textContent = estimate + limit;
    }
    this.#progress((now - this.#startedAt) / 1000, left, time.textContent);
  }

  /** Never goes back, and is never full before its time. */
  #progress(waited, left, text) {
    if (!Number.isFinite(left)) {
      this.#bar.removeAttribute("aria-valuenow");
    } else {
      this.#done = Math.max(this.#done, Math.min(0.97, waited / (waited + Math.max(left, 0.5))));
      this.#bar.setAttribute("aria-valuenow", String(Math.round(this.#done * 100)));
      this.#bar.firstElementChild.style.setProperty("--done", `${this.#done * 100}%`);
    }
    this.#bar.setAttribute("aria-valuetext", text);
  }
}
