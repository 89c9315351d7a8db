/** What one has written and not sent yet. The tab keeps it over a reload, for whoever wrote it and nobody else. */

const stored = { user: "user", draft: "draft", questions: "questions" };

/** What the browser has no room for would be lost with the page; it must not keep the page from sending it. */
function keep(key, text) {
  try {
    sessionStorage.setItem(key, text);
  } catch {
    sessionStorage.removeItem(key);
  }
}

export const unsent = {
  /** The text in the composer. */
  get draft() {
    return sessionStorage.getItem(stored.draft) ?? "";
  },
  set draft(text) {
    keep(stored.draft, text);
  },

  /** `[{ question, key }]`, each with its idempotency key. */
  get questions() {
    return JSON.parse(sessionStorage.getItem(stored.questions) ?? "[]");
  },
  set questions(questions) {
    keep(stored.questions, JSON.stringify(questions));
  },

  /** From now on it is this user's: what another one has left is gone. @param user a name; null for the anonymous */
  belongTo(user) {
    const before = sessionStorage.getItem(stored.user);
    if (before !== null && before !== (user ?? "")) this.clear();
    keep(stored.user, user ?? "");
  },

  clear() {
    for (const key of Object.values(stored)) sessionStorage.removeItem(key);
  },
};
