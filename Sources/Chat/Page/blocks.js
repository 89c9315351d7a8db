/**
 * The blocks of Markdown: headings, paragraphs, lists, tables, quotes, rules and fenced code. Whatever has not ended yet
 * ends with the last line.
 *
 * Otherwise than in CommonMark a line break is one, `---` below a line is a rule, and indented text is no code: that is
 * how models write.
 */

/** Lists and quotes within one another; what is deeper is text. */
const NESTING_LIMIT = 8;
/** Columns of a table; a line with more of them is text. */
const COLUMN_LIMIT = 100;
// One way alone to match each: a line takes a time that grows with its length.
const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})[ \t]*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/s;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?(.*)$/s;
const MARKER = /^([ \t]*)([-*+]|\d{1,9}[.)])(?:([ \t]+)(.*))?$/s;
const TASK = /^\[([ xX])\][ \t]+/;

const isBlank = (line) => line.trim() === "";
const indentOf = (line) => line.length - line.trimStart().length;

/**
 * @param open whether more lines may follow; the last block is taken for what it then most likely becomes
 * @returns blocks, each with the number of its first line
 */
export function parse(lines, open, depth = 0) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const block = parseBlock(lines, at, open, depth);
    blocks.push({ ...block, line: at });
    at = block.end;
  }
  return blocks;
}

function parseBlock(lines, at, open, depth) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return parseCode(lines, at, fence, open);
  const heading = HEADING.exec(line);
  if (heading) {
    const text = (heading[2] ?? "").replace(/ #{1,6} *$/, "");
    return { type: "heading", level: heading[1].length, text, end: at + 1 };
  }
  if (RULE.test(line)) return { type: "rule", end: at + 1 };
  if (depth < NESTING_LIMIT) {
    if (QUOTE.test(line)) return parseQuote(lines, at, open, depth);
    if (MARKER.test(line)) return parseList(lines, at, open, depth);
  }
  if (startsTable(lines, at, open)) return parseTable(lines, at);
  return parseParagraph(lines, at, depth);
}

function parseCode(lines, at, [, fence, language], open) {
  const indent = indentOf(lines[at]);
  const isEnd = (line) => line.trim().length >= fence.length && line.trim() === fence[0].repeat(line.trim().length);
  let end = at + 1;
  while (end < lines.length && !isEnd(lines[end])) end += 1;
  const content = lines.slice(at + 1, end);
  // The fence that ends it comes in pieces too.
  const last = content.at(-1);
  if (open && end === lines.length && last && fence.startsWith(last.trim())) content.pop();
  const text = content.map((line) => line.slice(Math.min(indent, indentOf(line)))).join("\n");
  return { type: "code", language, text, end: end + 1 };
}

function parseQuote(lines, at, open, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => QUOTE.exec(line)[1]);
  return { type: "quote", blocks: parse(inner, open && end === lines.length, depth + 1), end };
}

function parseParagraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !interrupts(lines, end, depth)) end += 1;
  const text = lines.slice(at, end).map((line) => line.trim()).join("\n");
  return { type: "paragraph", text, end };
}

function interrupts(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || startsTable(lines, at, false)) return true;
  if (depth >= NESTING_LIMIT) return false;
  const marker = MARKER.exec(line);
  // A year at the start of a line is no list.
  return QUOTE.test(line) || (marker !== null && marker[4] !== undefined && /^(?:[-*+]|1[.)])$/.test(marker[2]));
}

function markerOf(line) {
  const match = MARKER.exec(line);
  if (!match || RULE.test(line)) return undefined;
  const [, space, sign, gap = " ", text = ""] = match;
  const ordered = /\d/.test(sign);
  const content = space.length + sign.length + Math.min(gap.length, 4);
  return { indent: space.length, ordered, number: parseInt(sign, 10), content, text };
}

function parseList(lines, at, open, depth) {
  const first = markerOf(lines[at]);
  const items = [];
  let loose = false;
  let end = at;
  for (let marker = first; marker && marker.ordered === first.ordered; marker = markerOf(lines[end] ?? "")) {
    const item = itemBody(lines, end, marker);
    end = item.end;
    loose ||= item.blankAfter && markerOf(lines[end] ?? "")?.ordered === first.ordered;
    item.lines[0] = item.lines[0].replace(TASK, (_, mark) => (mark === " " ? "☐ " : "☑ "));
    items.push(parse(item.lines, open && end >= lines.length, depth + 1));
  }
  return { type: "list", ordered: first.ordered, start: first.number, loose, items, end };
}

/** The lines of one item without their indent: what is indented by two or more, and what goes on with a paragraph. */
function itemBody(lines, at, marker) {
  const body = [marker.text];
  let end = at + 1;
  while (end < lines.length) {
    let next = end;
    while (next < lines.length && isBlank(lines[next])) next += 1;
    if (next === lines.length) return { lines: body, end: next, blankAfter: false };
    const line = lines[next];
    const indent = indentOf(line);
    if (indent >= marker.indent + 2) {
      for (; end < next; end += 1) body.push("");
      body.push(line.slice(Math.min(indent, marker.content)));
    } else if (next > end || markerOf(line) || interrupts(lines, next, 0)) {
      return { lines: body, end: next, blankAfter: next > end };
    } else {
      body.push(line.trim());
    }
    end = next + 1;
  }
  return { lines: body, end, blankAfter: false };
}

const isDelimiterRow = (line) => /^[\s:|-]*$/.test(line) && line.includes("-") && line.includes("|");

/** While more may follow, a line that begins like a table is taken for one. */
function startsTable(lines, at, open) {
  const [head, next] = [lines[at], lines[at + 1]];
  if (!head.includes("|")) return false;
  const mayStart = open && head.trimStart().startsWith("|") && (next === undefined || at + 2 === lines.length);
  const starts = next === undefined ? mayStart : isDelimiterRow(next) || (mayStart && /^[\s:|-]*$/.test(next));
  return starts && cellsOf(head).length <= COLUMN_LIMIT;
}

function parseTable(lines, at) {
  const head = cellsOf(lines[at]);
  const delimiters = cellsOf(lines[at + 1] ?? "");
  const alignments = head.map((_, column) => {
    const delimiter = delimiters[column] ?? "";
    const [left, right] = [delimiter.startsWith(":"), delimiter.endsWith(":")];
    return right ? (left ? "center" : "right") : undefined;
  });
  let end = Math.min(at + 2, lines.length);
  while (end < lines.length && lines[end].includes("|")) end += 1;
  return { type: "table", head, alignments, rows: lines.slice(at + 2, end).map(cellsOf), end };
}

function cellsOf(line) {
  const row = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return row.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}
