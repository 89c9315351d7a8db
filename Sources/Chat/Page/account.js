/** Who asks: signing in with a key, signing out, and the choice of a model. */

import { label, reason, shownName, strings } from "./strings.js";
import { unsent } from "./unsent.js";

const element = (id) => document.getElementById(id);

export class Account {
  #chat;
  #conversation;
  #failed;
  #session;

  /** @param failed is told why one could not sign out */
  constructor(chat, conversation, failed) {
    this.#chat = chat;
    this.#conversation = conversation;
    this.#failed = failed;
    const dialog = element("sign-in");
    element("account").addEventListener("click", () => (this.#session?.signed_in ? this.#signOut() : this.ask()));
    dialog.querySelector("form").addEventListener("submit", (event) => this.#signIn(event));
    dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
    // Where nobody anonymous may ask there is nothing behind the form.
    dialog.addEventListener("cancel", (event) => {
      if (!this.#session) event.preventDefault();
    });
    // A second Escape can't be prevented.
    dialog.addEventListener("close", () => {
      if (!this.#session) this.ask(true);
    });
    element("model").addEventListener("change", ({ target }) => localStorage.setItem("model", target.value));
    addEventListener("storage", ({ key }) => {
      if (key === "signed") this.#reload();
    });
  }

  /** The model for the next question; undefined leaves it to the server. */
  get model() {
    return element("model").hidden ? undefined : element("model").value;
  }

  show(session) {
    this.#session = session;
    const { user, role, signed_in: signedIn, sign_out: maySignOut, models, default_model: defaultModel } = session;
    element("user").textContent = user ?? "";
    element("user").hidden = !signedIn || !user;
    // Where everyone is administrator there are no keys; whom a proxy has signed in, it signs out.
    element("account").hidden = signedIn ? !maySignOut : role === "administrator";
    element("account").textContent = signedIn ? strings.signOut : strings.signIn;
    if (signedIn && user) label(element("account"), `${strings.signOut} (${user})`);
    const select = element("model");
    select.replaceChildren(...models.map((name) => new Option(shownName(name), name)));
    const wanted = [localStorage.getItem("model"), defaultModel, `${defaultModel}:latest`];
    select.value = wanted.find((name) => models.includes(name)) ?? models[0] ?? "";
    select.hidden = models.length < 2;
  }

  /** The models are known once an instance has run; until then one asks without a choice. */
  async findModels() {
    if (this.#session?.models.length === 0) this.show(await this.#chat.session().catch(() => this.#session));
  }

  /** @param required whether nothing can be done without */
  ask(required = false) {
    const dialog = element("sign-in");
    if (required) this.#session = undefined;
    dialog.querySelector(".cancel").hidden = required;
    element("sign-in-error").textContent = "";
    element("key").value = "";
    if (!dialog.open) dialog.showModal();
    element("key").focus();
  }

  // While it is open who asks, nothing is sent.

  async #signIn(event) {
    event.preventDefault();
    this.#conversation.wait();
    try {
      await this.#chat.signIn(element("key").value.trim());
      this.#signed();
    } catch (error) {
      if (this.#session) this.#conversation.goOn();
      element("sign-in-error").textContent = error.status === 401 ? strings.wrongKey : reason(error);
      element("key").select();
    }
  }

  async #signOut() {
    this.#conversation.wait();
    await this.#conversation.stopped();
    try {
      await this.#chat.signOut();
      unsent.clear();
      this.#signed();
    } catch (error) {
      this.#conversation.goOn();
      this.#failed(error);
    }
  }

  /** Other tabs of this browser are another user's now, too. */
  #signed() {
    localStorage.setItem("signed", String(Date.now()));
    this.#reload();
  }

  #reload() {
    this.#conversation.wait();
    location.reload();
  }
}
