/**
 * What stands within a paragraph of Markdown, as DOM nodes: emphasis, code, links, line breaks. Whatever is none of
 * these, HTML above all, is text. Its time grows with the length of the text alone, whatever stands in it.
 */

/** Openers of emphasis and links that wait for their end; where there are more, the first are text. Bounds depth. */
const NESTING_LIMIT = 32;
/** Delimiters in a row; more are text. */
const LONGEST_RUN = 8;
const PLAIN = /[^\\`*_~[\]!<&\nh]+/y;
const BARE_LINK = /https?:\/\/[^\s<>"`|]{1,2048}/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>/y;
const LINE_BREAK = /<br ?\/?>/iy;
/** Bounded in all its parts: where a link doesn't end, the search for its end does. */
const TITLE = /"[^"]{0,999}"|'[^']{0,999}'/.source;
const ADDRESS = /(?:[^\s()<>\\]|\\.|\([^\s()<>]{0,2048}\)){0,2048}/.source;
const DESTINATION = new RegExp(`\\(\\s{0,9}<?(${ADDRESS})>?(?:\\s{1,9}(?:${TITLE}))?\\s{0,9}\\)`, "y");
const ENTITY = /&(amp|lt|gt|quot|apos|nbsp|#39);/y;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", "#39": "'" };
const SPACE = /^\s?$/u;
const WORD_END = /[\s)]/;
const PUNCTUATION = /^[\p{P}\p{S}]$/u;

/**
 * @param open whether more may follow: then emphasis, code and links that have not ended yet are shown as if they had.
 * @returns a DocumentFragment
 */
export function inline(text, open = false) {
  return build(new Scanner(text, open).items);
}

/** Turns text into items: `{ text }`, `{ element, items, … }`, or a run of delimiters that are matched afterwards. */
class Scanner {
  items = [];
  #text;
  #open;
  #at = 0;
  /** Where the last word begins: an address that has not ended yet stands there. */
  #lastWord;
  #brackets = [];
  /** Lengths of back-quote runs that no later run ends. */
  #endless = new Set();

  constructor(text, open) {
    this.#text = text;
    this.#open = open;
    this.#lastWord = text.length;
    while (this.#lastWord > 0 && !WORD_END.test(text[this.#lastWord - 1])) this.#lastWord -= 1;
    while (this.#at < text.length) this.#next();
    this.items = emphasize(this.items, open);
  }

  #next() {
    const plain = this.#match(PLAIN);
    if (plain) return this.#push(plain[0]);
    const character = this.#text[this.#at];
    switch (character) {
      case "\n": this.#at += 1; return this.items.push({ element: "br", items: [] });
      case "\\": return this.#escape();
      case "`": return this.#code();
      case "*": case "_": case "~": return this.#delimiters(character);
      case "[": return this.#bracket(false);
      case "!": if (this.#text[this.#at + 1] === "[") return this.#bracket(true); break;
      case "]": return this.#closeBracket();
      case "<": if (this.#autolink()) return; break;
      case "&": if (this.#entity()) return; break;
      case "h": if (this.#bareLink()) return; break;
    }
    this.#at += 1;
    this.#push(character);
  }

  #match(pattern) {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match) this.#at = pattern.lastIndex;
    return match;
  }

  #push(text) {
    const last = this.items.at(-1);
    if (last?.text !== undefined) last.text += text;
    else this.items.push({ text });
  }

  #escape() {
    const next = this.#text[this.#at + 1] ?? "";
    this.#at += 1;
    if (next === "\n" || !PUNCTUATION.test(next)) return next === "\n" ? undefined : this.#push("\\");
    this.#at += 1;
    this.#push(next);
  }

  #code() {
    const run = /`+/y;
    run.lastIndex = this.#at;
    const length = run.exec(this.#text)[0].length;
    const from = this.#at + length;
    const end = this.#endless.has(length) ? -1 : this.#runEnd(from, length);
    if (end >= 0) {
      this.#at = end + length;
      const code = this.#text.slice(from, end).replaceAll("\n", " ");
      const padded = code.startsWith(" ") && code.endsWith(" ") && code.trim() !== "";
      return this.items.push({ element: "code", items: [{ text: padded ? code.slice(1, -1) : code }] });
    }
    this.#endless.add(length);
    this.#at = from;
    const rest = this.#text.slice(from);
    if (!this.#open || rest.includes("\n")) return this.#push("`".repeat(length));
    this.#at = this.#text.length;
    this.items.push({ element: "code", items: [{ text: rest }] });
  }

  #runEnd(from, length) {
    const runs = /`+/g;
    runs.lastIndex = from;
    for (let run = runs.exec(this.#text); run; run = runs.exec(this.#text)) {
      if (run[0].length === length) return run.index;
    }
    return -1;
  }

  #delimiters(character) {
    let end = this.#at;
    while (this.#text[end] === character) end += 1;
    const before = this.#text[this.#at - 1] ?? "";
    const after = this.#text[end] ?? "";
    const count = end - this.#at;
    this.#at = end;
    const [spaceBefore, spaceAfter] = [SPACE.test(before), SPACE.test(after)];
    const [markBefore, markAfter] = [PUNCTUATION.test(before), PUNCTUATION.test(after)];
    let opens = !spaceAfter && (!markAfter || spaceBefore || markBefore);
    let closes = !spaceBefore && (!markBefore || spaceAfter || markAfter);
    if (character === "_") [opens, closes] = [opens && (!closes || markBefore), closes && (!opens || markAfter)];
    if (count > LONGEST_RUN || (character === "~" && count !== 2)) return this.#push(character.repeat(count));
    this.items.push({ character, count, opens, closes });
  }

  #bracket(image) {
    const text = image ? "![" : "[";
    this.#at += text.length;
    if (this.#brackets.length === NESTING_LIMIT) this.#brackets.shift();
    this.#brackets.push({ index: this.items.length, image });
    this.items.push({ bracket: text });
  }

  #closeBracket() {
    this.#at += 1;
    const bracket = this.#brackets.pop();
    if (!bracket) return this.#push("]");
    const destination = this.#match(DESTINATION);
    const address = destination && safeAddress(destination[1].replace(/\\(.)/g, "$1"));
    const unfinished = !destination && this.#open && this.#text[this.#at] === "(" && this.#at >= this.#lastWord;
    if (!address && !unfinished) {
      if (destination) this.#at -= destination[0].length;
      return this.#push("]");
    }
    if (unfinished) this.#at = this.#text.length;
    const items = emphasize(this.items.splice(bracket.index + 1), false);
    this.items[bracket.index] = address ? { element: "a", address, items } : { element: "span", items };
    // A link has no link in it. An image is shown as a link to it: pages of others are asked for nothing.
    if (!bracket.image) this.#brackets = this.#brackets.filter(({ image }) => image);
  }

  #autolink() {
    if (this.#match(LINE_BREAK)) return this.items.push({ element: "br", items: [] });
    const match = this.#match(AUTOLINK);
    if (!match) return false;
    const address = safeAddress(/^\w+:/.test(match[1]) ? match[1] : `mailto:${match[1]}`);
    return this.items.push(address ? { element: "a", address, items: [{ text: match[1] }] } : { text: match[0] });
  }

  #entity() {
    const match = this.#match(ENTITY);
    if (match) this.#push(ENTITIES[match[1]]);
    return match !== null;
  }

  #bareLink() {
    if (/\w/.test(this.#text[this.#at - 1] ?? "")) return false;
    const match = this.#match(BARE_LINK);
    if (!match) return false;
    const link = withoutSentenceEnd(match[0]);
    this.#at -= match[0].length - link.length;
    const address = safeAddress(link);
    this.items.push(address ? { element: "a", address, items: [{ text: link }] } : { text: link });
    return true;
  }
}

/** Matches delimiters in one pass: each closer takes the nearest opener of its kind. */
function emphasize(items, open) {
  const result = [];
  const openers = [];
  const close = (position, count, character) => {
    const inner = result.splice(position + 1);
    const element = character === "~" ? "del" : count === 2 ? "strong" : "em";
    result[position].count -= count;
    if (result[position].count === 0) result.pop();
    result.push({ element, items: inner });
  };
  for (const item of items) {
    if (!item.character) {
      result.push(item);
      continue;
    }
    while (item.closes && item.count > 0) {
      const place = openers.findLastIndex((position) => matches(result[position], item));
      if (place < 0) break;
      const position = openers[place];
      const count = result[position].count >= 2 && item.count >= 2 ? 2 : 1;
      openers.length = place + (result[position].count > count ? 1 : 0);
      item.count -= count;
      close(position, count, item.character);
    }
    if (item.count === 0) continue;
    if (item.opens && openers.length === NESTING_LIMIT) openers.shift();
    if (item.opens) openers.push(result.length);
    result.push(item);
  }
  while (open && openers.length > 0) {
    const position = openers.pop();
    const rest = result.slice(position + 1);
    if (rest.some(({ element }) => element === "br")) break;
    const { count, character } = result[position];
    if (rest.length === 0) result.pop();
    else close(position, Math.min(count, 2), character);
    if (result[position]?.count > 0) openers.push(position);
  }
  return result;
}

/** As CommonMark has it: of runs that could do both, the lengths' sum is no multiple of three. */
function matches(opener, closer) {
  if (opener.character !== closer.character) return false;
  const both = opener.closes || closer.opens;
  return !both || (opener.count + closer.count) % 3 !== 0 || (opener.count % 3 === 0 && closer.count % 3 === 0);
}

function build(items) {
  const fragment = document.createDocumentFragment();
  for (const item of items) {
    if (!item.element) {
      fragment.append(item.text ?? item.bracket ?? item.character.repeat(item.count));
      continue;
    }
    const element = document.createElement(item.element);
    if (item.address) {
      element.href = item.address;
      element.target = "_blank";
      element.rel = "noopener noreferrer";
    }
    element.append(build(item.items));
    fragment.append(element);
  }
  return fragment;
}

/** Nothing that runs, and no path of this server's: whole addresses of the web and of mail. */
function safeAddress(text) {
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** An address as it stands in a sentence: marks at its end, and a bracket that it doesn't open, are the sentence's. */
function withoutSentenceEnd(address) {
  const surplus = (opening, closing) => address.split(closing).length - address.split(opening).length;
  const unopened = { ")": surplus("(", ")"), "]": surplus("[", "]") };
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address[end - 1];
    if (last in unopened) {
      if (unopened[last] <= 0) break;
      unopened[last] -= 1;
    } else if (!".,;:!?*_~'".includes(last)) {
      break;
    }
  }
  return address.slice(0, end);
}
