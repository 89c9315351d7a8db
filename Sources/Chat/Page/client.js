/**
 * The pool's chat for web pages: questions, places in the queue, answers as they grow, without loss over cut
 * connections and restarts of the server. One file, no dependency; the pool's own page at /chat uses nothing else.
 *
 *   import { PoolChat } from "https://pool.example.org/chat/client.js";
 *
 *   const chat = new PoolChat({
 *     base: "https://pool.example.org",                // default: where this file came from
 *     headers: { Authorization: "Bearer YOUR-KEY" },   // not needed where a cookie or a proxy says who asks
 *   });
 *   const stop = new AbortController();
 *   await chat.ask("Why is the sky blue?", {
 *     onQueue: ({ position, eta_seconds }) => console.log(`place ${position}, about ${eta_seconds} s`),
 *     onSources: (sources) => console.log(sources.map(({ title, score }) => `${title} ${score}`)),
 *     onToken: (token) => output.append(token),
 *     onRestart: () => output.replaceChildren(),
 *     onDone: ({ model, stopped }) => console.log("done", model, stopped),
 *     onError: ({ error, code, retry_after }) => console.error(code, error, retry_after),
 *     signal: stop.signal,                             // stop.abort() stops the question, also on the server
 *   });
 *
 * A page of another origin needs that origin among the pool's `origins`.
 *
 * Options of `ask` and `resume`, each of which may be left out:
 *   model, priority      of `ask` only: the model's name, and the priority class, where one may choose it
 *   idempotencyKey       of `ask` only: what the question is called, see below; without one it gets a new one
 *   onAccepted(event)    of `ask` only: { request_id }: the server has the question, and `resume` can go on with it
 *   onQueue(event)       { position, message, eta_seconds, eta_p90_seconds, eta_is_guess }, at each change; position 1
 *                        is the start
 *   onSources(sources)   [{ title, score, excerpt }], score from 0 to 1
 *   onToken(token)       the next piece of the answer
 *   onRestart()          what came of this answer is void: it is answered anew
 *   onReconnect(state)   { connected: false, attempt } at each failure, { connected: true } once it goes on
 *   onDone(event)        { request_id, model, timestamp, stopped }
 *   onError(event)       { error, code, retry_after, request_id }: a text for people, a word, seconds
 *   signal               an AbortSignal that stops the question
 * Exactly one of onDone and onError is called, once, at the end. The promise is then fulfilled with the same event,
 * whose `type` is "done" or "error"; it is never rejected. Beside the server's codes there are `unreachable` (a minute
 * of failures in a row: `resume` can go on with its request_id, if it has one), `forgotten` (the server no longer knows
 * the request: the history may have the answer) and `unexpected_answer` (no pool answered).
 *
 * A question is sent again where the beginning of its answer was lost, but it is asked once: the server knows it by its
 * idempotency key. So a page that wants to outlive its own reload, or `unreachable` without a request_id, keeps the key
 * and calls `ask` with it again. The server knows it until a minute after the question's end, and the history shows it
 * after that. It is the session's, or the user's whose API key comes in a header: call `session` before the first
 * question, which gives a visitor the cookie. A page of another origin that has no API key may be asked twice.
 *
 * The other methods throw a PoolChatError { message, code, status, retryAfter }, or what `fetch` throws without a
 * connection.
 */

/** Seconds before each try; the last one repeats. Each is varied by a quarter, so that clients don't come in step. */
const BACK_OFF = [0.5, 1, 2, 4, 5];
/** Seconds of failures in a row after which it is given up. */
const GIVE_UP_AFTER = 60;
/** Seconds without a byte after which a connection counts as cut; the server sends something every 15 at the latest. */
const SILENCE = 45;
/** Seconds that a stopped question may take to end on the server's side. */
const STOP_LIMIT = 5;

/** Of a question: a name that nobody else chooses. */
export function newIdempotencyKey() {
  // Browsers have `randomUUID` on pages that came by HTTPS alone.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class PoolChatError extends Error {
  constructor(message, { code, status, retryAfter } = {}) {
    super(message);
    this.name = "PoolChatError";
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export class PoolChat {
  #base;
  #headers;

  constructor({ base = new URL("..", import.meta.url), headers = {} } = {}) {
    this.#base = String(base).replace(/\/*$/, "/");
    this.#headers = headers;
  }

  /** Asks `message`. See the head of this file. */
  ask(message, options = {}) {
    const { model, priority, idempotencyKey = newIdempotencyKey() } = options;
    const body = JSON.stringify({ message, model, priority, resumable: true, idempotency_key: idempotencyKey });
    const headers = { "Content-Type": "application/json" };
    const post = (signal) => this.#fetch("chat/stream", { method: "POST", body, headers, signal });
    return this.#exchange(options, { post }).run();
  }

  /** Goes on with a question that was asked before: from its beginning, or after the event `lastEventId`. */
  resume(requestId, options = {}) {
    return this.#exchange(options, { requestId, lastEventId: options.lastEventId ?? 0 }).run();
  }

  /** Stops a waiting or running question, and tells whether the server knows it. One that is over is no error. */
  async cancel(requestId) {
    const path = `chat/requests/${encodeURIComponent(requestId)}`;
    const response = await this.#fetch(path, { method: "DELETE", keepalive: true });
    if (!response.ok && response.status !== 404) throw await errorOf(response);
    return response.ok;
  }

  /**
   * `{ messages: [{ role, content, timestamp, model, sources, request_id, idempotency_key }],
   *    open: [{ request_id, message }] }`
   */
  history() {
    return this.#json("chat/history");
  }

  deleteHistory() {
    return this.#json("chat/history", { method: "DELETE" });
  }

  /** `{ user, role, signed_in, sign_out, models, default_model }` */
  session() {
    return this.#json("chat/session");
  }

  /** Exchanges an API key for the session's cookie. */
  signIn(key) {
    const headers = { "Content-Type": "application/json" };
    return this.#json("chat/session", { method: "POST", body: JSON.stringify({ key }), headers });
  }

  signOut() {
    return this.#json("chat/session", { method: "DELETE" });
  }

  #exchange(options, start) {
    return new Exchange(options, {
      ...start,
      get: (path, init) => this.#fetch(path, init),
      cancel: (requestId) => this.cancel(requestId),
    });
  }

  #fetch(path, init = {}) {
    const headers = { ...this.#headers, ...init.headers };
    return fetch(new URL(path, this.#base), { cache: "no-store", ...init, headers });
  }

  async #json(path, init) {
    const response = await this.#fetch(path, { signal: AbortSignal.timeout(SILENCE * 1000), ...init });
    if (!response.ok) throw await errorOf(response);
    return response.status === 204 ? undefined : response.json();
  }
}

/** One question from its asking to its end, over as many connections as it takes. */
class Exchange {
  #options;
  #start;
  #requestId;
  #lastEventId;
  #end;
  #stopping = false;
  /** Whether the server may have the question. */
  #wasAsked = false;
  #connection;
  /** Of the failures in a row. */
  #attempt = 0;
  #failedSeconds = 0;
  /** Seconds that the server asked for before the next try. */
  #retryAfter = 0;
  /** Ends the pause before the next try. */
  #wake = () => {};

  constructor(options, start) {
    this.#options = options;
    this.#start = start;
    this.#requestId = start.requestId;
    this.#lastEventId = start.lastEventId ?? 0;
  }

  async run() {
    const { signal } = this.#options;
    const stop = () => this.#stop();
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop);
    try {
      while (!this.#end) await this.#connect();
    } finally {
      signal?.removeEventListener("abort", stop);
    }
    return this.#end;
  }

  async #connect() {
    const startedAt = Date.now();
    const connection = (this.#connection = new AbortController());
    const watchdog = new Watchdog(SILENCE, () => connection.abort());
    try {
      const response = await this.#open(connection.signal);
      if (response.ok) await this.#read(response, watchdog);
      else await this.#refused(response);
    } catch {
      // A connection that failed or was cut: what follows is the same.
    } finally {
      watchdog.end();
      connection.abort();
    }
    if (this.#end) return;
    if (this.#stopping) return this.#stopped();
    await this.#pause((Date.now() - startedAt) / 1000);
  }

  async #open(signal) {
    if (this.#requestId) {
      const headers = { "Last-Event-ID": String(this.#lastEventId) };
      return this.#start.get(`chat/stream/${encodeURIComponent(this.#requestId)}`, { headers, signal });
    }
    // Stopping doesn't break the asking off: what the server may have is stopped by its id, which comes with the head.
    if (this.#stopping && !this.#wasAsked) throw new PoolChatError("Stopped before it was asked.");
    this.#wasAsked = true;
    const response = await this.#start.post(signal);
    if (response.ok) this.#see(response.headers.get("X-Request-Id"));
    return response;
  }

  #see(requestId) {
    if (!requestId) return;
    this.#requestId = requestId;
    this.#call("onAccepted", { request_id: requestId });
    if (this.#stopping) this.#cancel();
  }

  async #read(response, watchdog) {
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      return this.#fail("unexpected_answer", "The server's answer is no event stream.");
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser((id, data) => this.#receive(id, data));
    const abandon = () => reader.cancel().catch(() => {});
    this.#connection.signal.addEventListener("abort", abandon);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      watchdog.feed();
      if (this.#attempt > 0) {
        this.#attempt = 0;
        this.#failedSeconds = 0;
        this.#call("onReconnect", { connected: true });
      }
      parser.push(value);
      if (this.#end) return;
    }
  }

  #receive(id, data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      return this.#fail("unexpected_answer", "The server sent an event that is no JSON.");
    }
    const number = Number(id);
    // A server that begins again knows nothing of what it said before: that doesn't count any more.
    if (number <= this.#lastEventId && event.type !== "restart") this.#call("onRestart");
    if (number) this.#lastEventId = number;
    if (event.request_id && !this.#requestId) this.#see(event.request_id);
    switch (event.type) {
      case "queue": return this.#call("onQueue", event);
      case "sources": return this.#call("onSources", event.sources);
      case "token": return this.#call("onToken", event.token);
      case "restart": return this.#call("onRestart");
      case "done": case "error": return this.#finish(event);
    }
  }

  /** An answer without a stream: for good, unless a proxy says that the server is away. */
  async #refused(response) {
    const error = await errorOf(response);
    const resuming = this.#requestId !== undefined;
    if (this.#stopping && response.status === 404) return;
    const away = [502, 503, 504].includes(response.status) && (resuming || !error.code);
    if (away || (resuming && response.status === 429)) {
      this.#retryAfter = error.retryAfter ?? 0;
      return;
    }
    if (resuming && response.status === 404) return this.#fail("forgotten", error.message, error);
    this.#fail(error.code ?? "unexpected_answer", error.message, error);
  }

  async #pause(spentSeconds) {
    this.#attempt += 1;
    this.#failedSeconds += Math.min(spentSeconds, SILENCE);
    // Not by the clock alone: a computer that slept tries anew when it wakes.
    if (this.#failedSeconds >= GIVE_UP_AFTER) return this.#fail("unreachable", "The server can't be reached.");
    this.#call("onReconnect", { connected: false, attempt: this.#attempt });
    const backOff = BACK_OFF[Math.min(this.#attempt, BACK_OFF.length) - 1] * (0.75 + Math.random() / 2);
    const seconds = Math.max(backOff, Math.min(this.#retryAfter, GIVE_UP_AFTER / 2));
    this.#retryAfter = 0;
    this.#failedSeconds += seconds;
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, seconds * 1000);
      globalThis.addEventListener?.("online", resolve);
    });
    globalThis.removeEventListener?.("online", this.#wake);
  }

  #stop() {
    this.#stopping = true;
    this.#wake();
    setTimeout(() => this.#connection?.abort(), STOP_LIMIT * 1000);
    if (this.#requestId) this.#cancel();
  }

  /** The stream then ends by itself, with what came last. It is left where the server doesn't stop it. */
  #cancel() {
    const leave = () => this.#connection?.abort();
    this.#start.cancel(this.#requestId).then((isKnown) => isKnown || leave(), leave);
  }

  /** Without a word of the server's that it ended. */
  #stopped() {
    this.#finish({ type: "done", request_id: this.#requestId, stopped: true });
  }

  #fail(code, error, { retryAfter: retry_after, status } = {}) {
    this.#finish({ type: "error", error, code, retry_after, status, request_id: this.#requestId });
  }

  #finish(event) {
    this.#end = event;
    this.#call(event.type === "done" ? "onDone" : "onError", event);
  }

  /** A callback that throws is its page's affair, and cuts no connection. */
  #call(name, ...values) {
    try {
      this.#options[name]?.(...values);
    } catch (error) {
      (globalThis.reportError ?? console.error)(error);
    }
  }
}

/** Server-sent events out of text that comes in pieces. */
class EventParser {
  #onEvent;
  #rest = "";
  #data = [];
  #id = "";

  constructor(onEvent) {
    this.#onEvent = onEvent;
  }

  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length > 0) this.#onEvent(this.#id, this.#data.join("\n"));
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    if (field === "id") this.#id = value;
  }
}

/** Calls `onSilence` unless it is fed in time. */
class Watchdog {
  #seconds;
  #onSilence;
  #timer;

  constructor(seconds, onSilence) {
    this.#seconds = seconds;
    this.#onSilence = onSilence;
    this.feed();
  }

  feed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#onSilence, this.#seconds * 1000);
  }

  end() {
    clearTimeout(this.#timer);
  }
}

/** What a refusal says, in the pool's forms and in those of whatever stands before it. */
async function errorOf(response) {
  const body = await response.json().catch(() => undefined);
  const error = body?.error;
  const message = error?.message ?? (typeof error === "string" ? error : undefined);
  return new PoolChatError(message ?? `The server answered ${response.status}.`, {
    code: error?.code ?? body?.code ?? (message && `http_${response.status}`),
    status: response.status,
    retryAfter: secondsUntil(response.headers.get("Retry-After")) ?? body?.retry_after,
  });
}

/** Of a Retry-After header: seconds, or a date. */
function secondsUntil(text) {
  if (!text) return undefined;
  const seconds = Number.isNaN(Number(text)) ? (Date.parse(text) - Date.now()) / 1000 : Number(text);
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : undefined;
}
