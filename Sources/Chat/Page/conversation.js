/** The questions and answers on the page: what is under way, what waits for that, and what can be tried again. */

import { announce } from "./announcer.js";
import { newIdempotencyKey } from "./client.js";
import { strings } from "./strings.js";
import { Turn } from "./turn.js";

/** Milliseconds of a frame beyond which drawing leaves the following ones out. */
const SLOW_DRAWING = 8;
/** Milliseconds without a word of the server's after which a screen reader says that the answer is being prepared. */
const SILENCE = 1000;

export class Conversation {
  #chat;
  #list;
  #hooks;
  #turns = [];
  /** Turns whose answers are under way, each with what stops it and its end. */
  #open = new Map();
  /** Turns that are sent once no answer is under way: so each question has the answers before it. */
  #held = [];
  #waits = true;
  #disconnected = new Set();
  #frame;
  /** Before this time of the page's clock, in milliseconds, nothing is drawn. */
  #drawsFrom = 0;

  /**
   * @param hooks `model()`: for the next question; `changed(isQuestion)`: what is shown has changed; `position(place)`:
   *   in the queue, or undefined; `connection(state)`: "lost" or "back"; `ended()`: a question has; `signIn(question)`:
   *   one was refused without a key
   */
  constructor(chat, list, hooks) {
    this.#chat = chat;
    this.#list = list;
    this.#hooks = hooks;
  }

  get isEmpty() {
    return this.#turns.length === 0;
  }

  get isOpen() {
    return this.#open.size > 0;
  }

  /** `[{ question, key }]`: those that the server has not, as far as is known. */
  get unsent() {
    return this.#turns.filter(({ key }) => key).map(({ question, key }) => ({ question, key }));
  }

  /** From now on nothing is sent, as in the beginning. */
  wait() {
    this.#waits = true;
  }

  goOn() {
    this.#waits = false;
    this.#next();
  }

  /** Shows what the server knows in place of all that is shown, and goes on with what is under way there. */
  show({ messages, open }) {
    this.clear();
    for (const message of messages) {
      if (message.role === "user") this.#add(message.content, message.request_id);
      else this.#answered(this.#unanswered(message.request_id) ?? this.#add("", message.request_id), message);
    }
    for (const { request_id: requestId, message } of open) {
      this.#resume(this.#unanswered(requestId) ?? this.#add(message, requestId), requestId);
    }
    for (const turn of this.#turns) {
      if (turn.text || this.#open.has(turn)) continue;
      turn.failed({ error: strings.noAnswer }, strings.retry);
      turn.onRetry = () => this.#send(turn);
    }
    this.#hooks.changed(true);
    this.goOn();
  }

  /** @param key of one that was asked before, perhaps in vain */
  ask(question, key) {
    const turn = this.#add(question);
    turn.key = key;
    this.#send(turn);
  }

  /** Stops what is under way. What waits for it comes next. */
  stop() {
    for (const { stop } of this.#open.values()) stop.abort();
  }

  /** Stops what is under way, and resolves once it has ended on the server too. */
  async stopped() {
    const ends = [...this.#open.values()].map(({ end }) => end);
    this.stop();
    await Promise.all(ends);
  }

  /** Forgets all that is shown, where nothing is under way. */
  clear() {
    for (const turn of [...this.#turns]) this.#remove(turn);
  }

  /** The last question of this request that has no answer yet. */
  #unanswered(requestId) {
    return this.#turns.findLast((turn) => turn.requestId === requestId && turn.text === "");
  }

  #answered(turn, { content, sources, ...more }) {
    if (sources) turn.sources(sources);
    turn.token(content);
    turn.done(more);
  }

  #add(question, requestId) {
    const turn = new Turn(question, requestId);
    this.#turns.push(turn);
    this.#list.append(turn.element);
    return turn;
  }

  #remove(turn) {
    turn.element.remove();
    this.#turns = this.#turns.filter((other) => other !== turn);
    this.#held = this.#held.filter((other) => other !== turn);
    this.#hooks.changed(false);
  }

  #send(turn) {
    // What the server has, or has refused, is another question when it is asked again.
    turn.key ??= newIdempotencyKey();
    turn.hold(() => this.#remove(turn));
    this.#held.push(turn);
    this.#next();
    if (this.#held.includes(turn)) announce(strings.held);
    this.#hooks.changed(true);
  }

  #next() {
    if (this.#waits || this.isOpen || this.#held.length === 0) return;
    const turn = this.#held.shift();
    const own = { idempotencyKey: turn.key, model: this.#hooks.model() };
    this.#follow(turn, (options) => this.#chat.ask(turn.question, { ...options, ...own }));
  }

  #resume(turn, requestId) {
    this.#follow(turn, (options) => this.#chat.resume(requestId, options));
  }

  #follow(turn, start) {
    const stop = new AbortController();
    turn.begin();
    const silence = setTimeout(() => announce(strings.preparing), SILENCE);
    const ending = start({ ...this.#callbacks(turn, silence), signal: stop.signal });
    const end = this.#untilEnd(turn, ending.finally(() => clearTimeout(silence)));
    this.#open.set(turn, { stop, end });
    this.#hooks.changed(false);
  }

  #callbacks(turn, silence) {
    let announced;
    return {
      onAccepted: () => {
        turn.key = undefined;
        this.#hooks.changed(false);
      },
      onQueue: (event) => {
        clearTimeout(silence);
        turn.queue(event);
        this.#hooks.position(event.position > 1 ? event.position : undefined);
        if (event.position !== announced) announce(turn.waiting);
        announced = event.position;
        this.#hooks.changed(false);
      },
      onSources: (sources) => {
        turn.sources(sources);
        this.#hooks.changed(false);
      },
      onToken: (token) => {
        clearTimeout(silence);
        turn.token(token);
        this.#hooks.position(undefined);
        this.#drawSoon();
      },
      onRestart: () => {
        turn.restart();
        announce(strings.restarted);
        this.#hooks.changed(false);
      },
      onReconnect: ({ connected }) => {
        clearTimeout(silence);
        this.#reconnected(turn, connected);
      },
    };
  }

  /** However fast the tokens come, they are drawn once a frame; where that takes long, more rarely, to stay smooth. */
  #draw() {
    this.#frame = undefined;
    const begin = performance.now();
    if (begin < this.#drawsFrom) return this.#drawSoon();
    for (const turn of this.#open.keys()) turn.draw();
    this.#hooks.changed(false);
    const end = performance.now();
    if (end - begin > SLOW_DRAWING) this.#drawsFrom = end + 4 * (end - begin);
  }

  #drawSoon() {
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #reconnected(turn, connected) {
    const wasEmpty = this.#disconnected.size === 0;
    if (connected) this.#disconnected.delete(turn);
    else this.#disconnected.add(turn);
    const isEmpty = this.#disconnected.size === 0;
    if (wasEmpty !== isEmpty) this.#hooks.connection(isEmpty ? "back" : "lost");
  }

  async #untilEnd(turn, ending) {
    const end = await ending;
    if (end.code !== "unreachable") turn.key = undefined;
    this.#hooks.position(undefined);
    if (end.type === "error") {
      await this.#failed(turn, end);
    } else if (end.stopped || turn.text) {
      turn.done(end);
      if (end.stopped) turn.onRetry = () => this.#send(turn);
      announce(end.stopped ? strings.stopped : strings.answered(turn.spoken));
    } else {
      await this.#failed(turn, { error: strings.noAnswer });
    }
    this.#open.delete(turn);
    if (this.#disconnected.delete(turn) && this.#disconnected.size === 0) this.#hooks.connection();
    this.#hooks.changed(false);
    this.#hooks.ended();
    this.#next();
  }

  async #failed(turn, error) {
    if (error.status === 401) {
      this.#remove(turn);
      return this.#hooks.signIn(turn.question);
    }
    if (error.code === "forgotten" && (await this.#foundInHistory(turn, error.request_id))) return;
    const resumes = error.code === "unreachable" && error.request_id;
    turn.failed(error, resumes ? strings.reconnect : strings.retry);
    turn.onRetry = () => (resumes ? this.#resume(turn, error.request_id) : this.#send(turn));
    announce(turn.outcome);
  }

  /** The answer may have ended while this page slept. */
  async #foundInHistory(turn, requestId) {
    const { messages } = await this.#chat.history().catch(() => ({ messages: [] }));
    const answer = messages.find((message) => message.role === "assistant" && message.request_id === requestId);
    if (!answer) return false;
    turn.begin();
    this.#answered(turn, answer);
    announce(strings.answered(turn.spoken));
    return true;
  }
}
