/** One question with its answer, as the conversation shows it. */

import { copy } from "./copying.js";
import { MarkdownView } from "./markdown.js";
import { Place } from "./place.js";
import { Sources } from "./sources.js";
import { duration, fill, language, shownName, strings } from "./strings.js";

// English has several ways to write them: the reader's.
const locale = navigator.languages.find((tag) => tag.startsWith(language)) ?? language;
const time = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const dayAndTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

/** Characters of an answer that a screen reader says by itself. */
const SPOKEN = 2000;

export class Turn {
  question;
  requestId;
  /** The question's idempotency key, as long as the server has not said what becomes of it. */
  key;
  element;
  /** What the button beside the outcome does. */
  onRetry = () => {};
  #place;
  #sources;
  #view;
  #text = "";
  #drawn = 0;
  #countdown;

  constructor(question, requestId) {
    this.question = question;
    this.requestId = requestId;
    this.element = document.getElementById("turn").content.cloneNode(true).firstElementChild;
    fill(this.element);
    this.#find(".question-text").textContent = question;
    // Of an old one the server may have the answer alone.
    this.#find(".question").hidden = !question;
    this.#place = new Place(this.#find(".place"));
    this.#sources = new Sources(this.#find(".sources"));
    this.#view = new MarkdownView(this.#find(".text"));
    this.#find(".retry").addEventListener("click", () => this.onRetry());
    this.#find(".copy").addEventListener("click", ({ currentTarget }) => copy(this.#text, currentTarget));
  }

  get text() {
    return this.#text;
  }

  /** What a screen reader says of the place in the queue. */
  get waiting() {
    if (this.#find(".place").hidden) return this.#find(".preparing-text").textContent;
    return [".place-position", ".place-time"].map((part) => this.#find(part).textContent).join(". ");
  }

  /** What it says of the finished answer. */
  get spoken() {
    const text = this.#find(".text").innerText;
    return text.length > SPOKEN ? `${text.slice(0, SPOKEN)}…` : text;
  }

  /** What is said of an answer that failed. */
  get outcome() {
    return this.#find(".outcome-text").textContent;
  }

  // What comes of the question

  /** It is not sent yet. */
  hold(onRemove) {
    this.onRetry = onRemove;
    this.#outcome(strings.held, strings.remove);
  }

  /** It is sent, for the first time or again. What came of it before is gone. */
  begin() {
    clearInterval(this.#countdown);
    this.#text = "";
    this.#drawn = 0;
    this.#view.clear();
    this.#sources.hide();
    for (const part of [".restarted", ".outcome", ".meta"]) this.#find(part).hidden = true;
    this.#prepare(strings.preparing);
  }

  /** The server answers it anew. */
  restart() {
    this.begin();
    this.#find(".restarted").hidden = false;
  }

  /** Position 1 is the start. */
  queue(event) {
    if (event.position === 1) return this.#prepare(strings.yourTurn);
    this.#find(".preparing").hidden = true;
    this.#place.show(event);
  }

  sources(sources) {
    this.#sources.show(sources);
  }

  token(token) {
    this.#text += token;
  }

  /** Shows what came since the last time. */
  draw(open = true) {
    if (open && this.#drawn === this.#text.length) return;
    if (this.#text) this.#settle();
    this.#view.append(this.#text.slice(this.#drawn));
    this.#drawn = this.#text.length;
    this.#view.render(open);
  }

  done({ model, timestamp, stopped }) {
    this.draw(false);
    this.#settle();
    if (stopped) this.#outcome(strings.stopped, strings.retry);
    this.#meta(model, timestamp);
  }

  failed({ error, code, retry_after: retryAfter }, action) {
    this.draw(false);
    this.#settle();
    this.#outcome(strings.errors[code] ?? error ?? strings.failed, action, true);
    this.#meta();
    if (retryAfter > 0) this.#countDown(retryAfter, action);
  }

  // Its parts

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #prepare(text) {
    this.#place.hide();
    this.#find(".preparing-text").textContent = text;
    this.#find(".preparing").hidden = false;
  }

  #settle() {
    this.#place.hide();
    this.#find(".preparing").hidden = true;
  }

  #outcome(text, action, isError = false) {
    const outcome = this.#find(".outcome");
    outcome.classList.toggle("is-error", isError);
    this.#find(".outcome-text").textContent = text;
    this.#find(".retry").textContent = action;
    this.#find(".retry").disabled = false;
    outcome.hidden = false;
  }

  /** The button waits as long as the server asks for, also while the computer sleeps. */
  #countDown(seconds, action) {
    const button = this.#find(".retry");
    const end = Date.now() + seconds * 1000;
    const update = () => {
      const left = (end - Date.now()) / 1000;
      button.disabled = left > 0;
      button.textContent = left > 0 ? strings.retryIn(duration(left)) : action;
      if (left <= 0) clearInterval(this.#countdown);
    };
    this.#countdown = setInterval(update, 1000);
    update();
  }

  #meta(model, timestamp) {
    const date = timestamp && new Date(timestamp);
    const isToday = date && date.toDateString() === new Date().toDateString();
    const when = date && (isToday ? time : dayAndTime).format(date);
    this.#find(".meta-text").textContent = [model && shownName(model), when].filter(Boolean).join(" · ");
    this.#find(".meta").hidden = this.#text === "";
  }
}
