/** The chat page: puts its parts together. All that it asks of the server goes through client.js. */

import { Account } from "./account.js";
import { PoolChat } from "./client.js";
import { Conversation } from "./conversation.js";
import { Scrolling } from "./scrolling.js";
import { fill, label, reason, strings } from "./strings.js";
import { unsent } from "./unsent.js";

const element = (id) => document.getElementById(id);
const question = element("question");
const root = document.documentElement;

const chat = new PoolChat();
const scrolling = new Scrolling(element("scroller"), element("to-end"));
const conversation = new Conversation(chat, element("turns"), {
  model: () => account.model,
  changed,
  position: (place) => (document.title = place ? `⏳ ${place} · ${strings.title}` : strings.title),
  connection,
  ended: () => account.findModels(),
  signIn(text) {
    write(question.value ? `${text}\n${question.value}` : text);
    askForKey();
  },
});
const account = new Account(chat, conversation, failed);
/** Questions that the server had not when the page was left, until it is known that they are this user's. */
let left = unsent.questions;

fill(document);
showTheme();
load();

/** Tries until it can. */
async function load() {
  for (let seconds = 0.5; ; seconds = Math.min(seconds * 2, 5)) {
    try {
      const session = await chat.session();
      const history = await chat.history();
      unsent.belongTo(session.user);
      // Whether the server has got it, the page that was left could not know.
      const taken = history.messages.map(({ idempotency_key: key }) => key);
      const unasked = unsent.questions.filter(({ key }) => !taken.includes(key));
      left = [];
      write(question.value || unsent.draft);
      account.show(session);
      conversation.show(history);
      element("scroller").removeAttribute("aria-busy");
      for (const { question, key } of unasked) conversation.ask(question, key);
      connection();
      backToComposer();
      return;
    } catch (error) {
      if (error.status === 401) return askForKey();
      connection("lost");
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }
}

/** @param isQuestion whether the reader asked for it, and wants to see it */
function changed(isQuestion) {
  element("welcome").hidden = !conversation.isEmpty;
  element("delete").hidden = conversation.isEmpty;
  element("stop").hidden = !conversation.isOpen;
  unsent.questions = [...left, ...conversation.unsent];
  if (isQuestion) scrolling.toEnd();
  else scrolling.update();
}

function connection(state) {
  if (state === "lost") notice(strings.reconnecting);
  else if (state === "back") notice(strings.reconnected, 3);
  else notice("");
}

/** What one has asked for could not be done. */
function failed(error) {
  if (error.status === 401) askForKey();
  else notice(reason(error), 10);
}

function askForKey() {
  conversation.wait();
  connection();
  account.ask(true);
}

let noticeTimer;
/** @param seconds for which it is shown; without, until the next one */
function notice(text, seconds) {
  clearTimeout(noticeTimer);
  element("connection").textContent = text;
  if (seconds) noticeTimer = setTimeout(notice, seconds * 1000, "");
}

// The composer

element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (!text) return;
  write("");
  conversation.ask(text);
  backToComposer();
});

question.addEventListener("input", () => write(question.value));

question.addEventListener("keydown", (event) => {
  if (event.key === "PageUp" || event.key === "PageDown") return turnPage(event);
  // On a telephone there is no Shift+Enter, and the button is near.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouch()) return;
  event.preventDefault();
  element("composer").requestSubmit();
});

function write(text) {
  if (question.value !== text) question.value = text;
  unsent.draft = text;
  element("send").disabled = text.trim() === "";
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

/** The keys that one reads with work while one writes. */
function turnPage(event) {
  event.preventDefault();
  const scroller = element("scroller");
  scroller.scrollBy({ top: (event.key === "PageUp" ? -0.9 : 0.9) * scroller.clientHeight });
}

/** After a button that goes away; on a telephone this would bring the keyboard up. */
function backToComposer() {
  if (!isTouch()) question.focus();
}

function isTouch() {
  return matchMedia("(hover: none) and (pointer: coarse)").matches;
}

element("stop").addEventListener("click", () => {
  conversation.stop();
  backToComposer();
});

element("turns").addEventListener("click", ({ target }) => {
  if (target.closest(".retry")) backToComposer();
});

element("to-end").addEventListener("click", backToComposer);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || !conversation.isOpen) return;
  if (document.querySelector("dialog[open]")) return;
  event.preventDefault();
  conversation.stop();
});

// Deleting the history

const deletion = element("deletion");
element("delete").addEventListener("click", () => deletion.showModal());
deletion.querySelector(".cancel").addEventListener("click", () => deletion.close());
deletion.querySelector(".danger").addEventListener("click", async () => {
  deletion.close();
  conversation.wait();
  await conversation.stopped();
  try {
    await chat.deleteHistory();
    conversation.clear();
    conversation.goOn();
  } catch (error) {
    conversation.goOn();
    failed(error);
  }
  backToComposer();
});

// Light and dark: as the system has it, unless the reader chose otherwise

function showTheme() {
  const chosen = localStorage.getItem("theme");
  const shown = chosen ?? systemTheme();
  if (chosen) root.dataset.theme = chosen;
  else delete root.dataset.theme;
  root.dataset.shown = shown;
  label(element("theme"), shown === "dark" ? strings.toLight : strings.toDark);
}

function systemTheme() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
element("theme").addEventListener("click", () => {
  const next = root.dataset.shown === "dark" ? "light" : "dark";
  if (next === systemTheme()) localStorage.removeItem("theme");
  else localStorage.setItem("theme", next);
  showTheme();
});

// A telephone's keyboard covers the page where it doesn't make it smaller

visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale === 1) root.style.setProperty("--visible-height", `${visualViewport.height}px`);
  else root.style.removeProperty("--visible-height");
  scrollTo(0, 0);
});
