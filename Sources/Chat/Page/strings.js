/** What the page says, in the language that the server wrote into it. */

const italian = {
  title: "Chat",
  welcome: "Come posso aiutarti?",
  welcomeMore:
    "Scrivi una domanda qui sotto. Se altri utenti stanno aspettando, vedrai subito " +
    "il tuo posto in coda e il tempo stimato.",
  you: "Tu",
  assistant: "Assistente",
  conversation: "Conversazione",
  question: "La tua domanda",
  placeholder: "Scrivi una domanda…",
  send: "Invia",
  stop: "Interrompi",
  model: "Modello",
  note: "Le risposte possono contenere errori: verifica le informazioni importanti.",
  toEnd: "Vai alla fine",
  toDark: "Passa al tema scuro",
  toLight: "Passa al tema chiaro",
  deleteHistory: "Elimina la conversazione",
  deleteQuestion: "Eliminare la conversazione?",
  deleteMore: "Tutte le domande e le risposte di questa sessione vengono eliminate dal server. Non si può annullare.",
  delete: "Elimina",
  cancel: "Annulla",
  signIn: "Accedi",
  signOut: "Esci",
  signInMore: "Inserisci la chiave che hai ricevuto dall'amministratore.",
  key: "Chiave",
  wrongKey: "Questa chiave non è valida.",
  preparing: "Sto preparando la risposta…",
  yourTurn: "È il tuo turno: sto preparando la risposta…",
  position: (position) => `In coda: posizione ${position}`,
  others: "Ci sono altri utenti in attesa.",
  waiting: "Attesa in coda",
  estimate: (time) => `Tempo stimato: ~${time}`,
  estimateGuess: (time) => `Tempo stimato: ~${time} (prima stima)`,
  atMost: (time) => `di solito entro ${time}`,
  noEstimate: "Tempo stimato: in calcolo…",
  soon: "Tempo stimato: pochi secondi",
  held: "In attesa della risposta precedente",
  remove: "Rimuovi",
  sources: "Fonti:",
  excerpt: (title) => `Estratto da ${title}`,
  restarted: "Il server è stato riavviato: la risposta ricomincia da capo.",
  reconnecting: "Connessione persa. Nuovo tentativo in corso…",
  reconnected: "Connessione ristabilita.",
  stopped: "Risposta interrotta.",
  noAnswer: "Questa domanda non ha avuto risposta.",
  failed: "Qualcosa è andato storto.",
  retry: "Riprova",
  retryIn: (time) => `Riprova tra ${time}`,
  reconnect: "Riconnetti",
  copy: "Copia",
  copied: "Copiato",
  table: "Tabella",
  answered: (text) => `Risposta completata. ${text}`,
  errors: {
    unreachable: "Il server non è raggiungibile. Controlla la connessione e riprova.",
    forgotten: "Il server non conosce più questa domanda.",
    unexpected_answer: "Il server ha risposto in modo inatteso.",
    body_too_large: "La domanda è troppo lunga.",
    memory_full: "Il server è molto occupato. Riprova tra poco.",
    too_many_connections: "Il server è molto occupato. Riprova tra poco.",
  },
};

const english = {
  title: "Chat",
  welcome: "How can I help you?",
  welcomeMore:
    "Type a question below. If other users are waiting, you will see at once your place in the queue " +
    "and the estimated time.",
  you: "You",
  assistant: "Assistant",
  conversation: "Conversation",
  question: "Your question",
  placeholder: "Type a question…",
  send: "Send",
  stop: "Stop",
  model: "Model",
  note: "Answers may contain mistakes: check what matters.",
  toEnd: "Go to the end",
  toDark: "Switch to the dark theme",
  toLight: "Switch to the light theme",
  deleteHistory: "Delete the conversation",
  deleteQuestion: "Delete the conversation?",
  deleteMore: "All questions and answers of this session are deleted from the server. This can't be undone.",
  delete: "Delete",
  cancel: "Cancel",
  signIn: "Sign in",
  signOut: "Sign out",
  signInMore: "Enter the key that your administrator gave you.",
  key: "Key",
  wrongKey: "This key is not valid.",
  preparing: "Preparing the answer…",
  yourTurn: "It's your turn: preparing the answer…",
  position: (position) => `In the queue: position ${position}`,
  others: "Other users are waiting.",
  waiting: "Waiting in the queue",
  estimate: (time) => `Estimated time: ~${time}`,
  estimateGuess: (time) => `Estimated time: ~${time} (first guess)`,
  atMost: (time) => `usually within ${time}`,
  noEstimate: "Estimated time: being worked out…",
  soon: "Estimated time: a few seconds",
  held: "Waiting for the previous answer",
  remove: "Remove",
  sources: "Sources:",
  excerpt: (title) => `Excerpt from ${title}`,
  restarted: "The server was restarted: the answer begins anew.",
  reconnecting: "Connection lost. Trying again…",
  reconnected: "Connected again.",
  stopped: "Answer stopped.",
  noAnswer: "This question got no answer.",
  failed: "Something went wrong.",
  retry: "Try again",
  retryIn: (time) => `Try again in ${time}`,
  reconnect: "Reconnect",
  copy: "Copy",
  copied: "Copied",
  table: "Table",
  answered: (text) => `Answer complete. ${text}`,
  errors: {
    unreachable: "The server can't be reached. Check the connection and try again.",
    forgotten: "The server no longer knows this question.",
    unexpected_answer: "The server answered in an unexpected way.",
    body_too_large: "The question is too long.",
    memory_full: "The server is very busy. Try again in a little while.",
    too_many_connections: "The server is very busy. Try again in a little while.",
  },
};

export const language = document.documentElement.lang.startsWith("en") ? "en" : "it";
export const strings = language === "en" ? english : italian;

/** Seconds as people say them: 35s, 1 min 30s, 12 min, 2 h 5 min. */
export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  const minutes = whole < 300 ? Math.floor(whole / 60) : Math.round(whole / 60);
  const rest = whole < 300 ? Math.floor((whole % 60) / 10) * 10 : 0;
  if (minutes < 60) return `${minutes} min${rest ? ` ${rest}s` : ""}`;
  return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
}

/** A model's name; Ollama's default tag says nothing to people. */
export function shownName(model) {
  return model.replace(/:latest$/, "");
}

/** Why the server didn't do what it was asked for, of an error that client.js throws. */
export function reason({ code, status, message }) {
  if (code) return strings.errors[code] ?? message;
  // What stands before the server says that it is away, or there was no answer at all.
  const isAway = !status || [502, 503, 504].includes(status);
  return isAway ? strings.errors.unreachable : strings.errors.unexpected_answer;
}

/** Fills in what page.html leaves to the language: texts, labels and placeholders, by the names of `strings`. */
export function fill(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = strings[element.dataset.text];
  for (const element of root.querySelectorAll("[data-label]")) label(element, strings[element.dataset.label]);
  for (const element of root.querySelectorAll("[data-placeholder]")) {
    element.placeholder = strings[element.dataset.placeholder];
  }
}

/** Names a control that shows no text. */
export function label(element, text) {
  element.setAttribute("aria-label", text);
  if (element.localName === "button") element.title = text;
}
