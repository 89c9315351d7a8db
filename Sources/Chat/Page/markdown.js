/** Markdown that grows, as DOM nodes. Only its last block is made anew when text comes. */

import { parse } from "./blocks.js";
import { copy } from "./copying.js";
import { inline } from "./inline.js";
import { strings } from "./strings.js";

export class MarkdownView {
  #element;
  /** The text from the start of the first block on that may still change. */
  #tail = "";
  /** What is shown of it. */
  #nodes = [];
  #lastBlock;

  /** @param element what it is shown in */
  constructor(element) {
    this.#element = element;
  }

  append(text) {
    this.#tail += text.replaceAll("\r", "");
  }

  clear() {
    this.#tail = "";
    this.#nodes = [];
    this.#lastBlock = undefined;
    this.#element.replaceChildren();
  }

  /** @param open whether more may follow */
  render(open) {
    const lines = this.#tail.split("\n");
    const blocks = parse(lines, open);
    const last = blocks.at(-1);
    if (!last) return;
    if (blocks.length === 1 && this.#extendCode(last)) return;
    for (const node of this.#nodes) node.remove();
    const nodes = this.#buildAll(blocks, open);
    this.#element.append(...nodes);
    // Two lines decide what a block is. Until they are there, what goes before it may turn out to go on.
    const before = blocks.at(-2);
    const isDecided = !before || last.line < lines.length - 2 || ["code", "heading", "rule"].includes(before.type);
    const kept = isDecided ? 1 : 2;
    this.#lastBlock = isDecided ? last : undefined;
    this.#nodes = nodes.slice(-kept);
    this.#tail = lines.slice(blocks.at(-kept).line).join("\n");
  }

  /** A long listing only gets what is new: what is there stays selected, and costs nothing. */
  #extendCode(block) {
    const before = this.#lastBlock;
    if (block.type !== "code" || before?.type !== "code" || before.language !== block.language) return false;
    if (!block.text.startsWith(before.text)) return false;
    this.#nodes[0].querySelector("code").append(block.text.slice(before.text.length));
    this.#lastBlock = block;
    return true;
  }

  #build(block, open) {
    switch (block.type) {
      case "heading": return element(`h${Math.min(block.level + 2, 6)}`, inline(block.text, open));
      case "paragraph": return element("p", inline(block.text, open));
      case "rule": return element("hr");
      case "quote": return element("blockquote", ...this.#buildAll(block.blocks, open));
      case "list": return this.#buildList(block, open);
      case "table": return this.#buildTable(block, open);
      case "code": return this.#buildCode(block);
    }
  }

  #buildAll(blocks, open) {
    return blocks.map((block) => this.#build(block, open && block === blocks.at(-1)));
  }

  #buildList({ ordered, start, loose, items }, open) {
    const list = element(ordered ? "ol" : "ul");
    if (ordered && start !== 1) list.start = start;
    for (const blocks of items) {
      const isOpen = open && blocks === items.at(-1);
      const item = element("li");
      const isTight = !loose && blocks.filter(({ type }) => type === "paragraph").length === 1;
      for (const block of blocks) {
        const ends = isOpen && block === blocks.at(-1);
        const bare = block.type === "paragraph" && isTight;
        item.append(bare ? inline(block.text, ends) : this.#build(block, ends));
      }
      list.append(item);
    }
    return list;
  }

  #buildTable({ alignments, head, rows }, open) {
    const row = (cells, kind, isLast) =>
      element("tr", ...cells.slice(0, alignments.length).map((text, column) => {
        const cell = element(kind, inline(text, isLast && column === cells.length - 1));
        if (kind === "th") cell.scope = "col";
        if (alignments[column]) cell.className = `align-${alignments[column]}`;
        return cell;
      }));
    const body = rows.map((cells) => row(cells, "td", open && cells === rows.at(-1)));
    const table = element("table", element("thead", row(head, "th", false)), element("tbody", ...body));
    const frame = element("div", table);
    frame.className = "table";
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", strings.table);
    return frame;
  }

  #buildCode({ language, text }) {
    const code = element("code", text);
    const pre = element("pre", code);
    pre.tabIndex = 0;
    const label = element("span", language);
    label.className = "code-language";
    const button = element("button", strings.copy);
    button.type = "button";
    button.className = "code-copy";
    button.addEventListener("click", () => copy(code.textContent, button));
    const head = element("div", label, button);
    head.className = "code-head";
    const frame = element("div", head, pre);
    frame.className = "code";
    return frame;
  }
}

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}
