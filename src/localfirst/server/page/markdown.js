// Markdown as models write it, into elements. Text becomes text nodes and nothing else: no markup of it is ever parsed.

const DEEPEST = 8; // nested quotes, lists and emphasis; what is deeper is shown as it is
const LONGEST = 8000; // characters of a paragraph whose emphasis is looked for

const FENCE = /^ {0,3}(`{3,}|~{3,}) *([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6}) +(.*?)(?: +#+)? *$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const DIVIDER = /^\|?(?: *:?-+:? *\|)* *:?-+:? *\|?$/;
const BEGINS = [FENCE, HEADING, RULE, QUOTE, ITEM];

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true || value === false) element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Show `text` in `place`, leaving the blocks alone that are as they were. Returns how many blocks there are. */
export function show(place, text) {
  const blocks = split(text.split("\n"));
  const shown = place.blocks ?? [];
  let same = 0;
  while (same < shown.length && same < blocks.length && shown[same] === blocks[same].source) same++;
  while (place.childNodes.length > same) place.lastChild.remove();
  place.append(...blocks.slice(same).map((block) => render(block, 0)));
  place.blocks = blocks.map((block) => block.source);
  return blocks.length;
}

/** The blocks of some lines: what kind each is, its lines, and what it was made of. */
function split(lines) {
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) {
      at++;
      continue;
    }
    const kind = KINDS.find((one) => one.begins(lines, at));
    const end = kind.end(lines, at);
    const own = lines.slice(at, end);
    blocks.push({ kind, lines: own, source: own.join("\n") });
    at = end;
  }
  return blocks;
}

const render = (block, depth) => block.kind.render(block.lines, depth);
const renderAll = (lines, depth) =>
  depth < DEEPEST ? split(lines).map((block) => render(block, depth)) : [make("p", { dir: "auto" }, lines.join("\n"))];

const KINDS = [
  {
    begins: (lines, at) => FENCE.test(lines[at]),
    end(lines, at) {
      const [, fence] = FENCE.exec(lines[at]);
      const close = lines.findIndex((line, index) => index > at && isClosing(line, fence));
      return close < 0 ? lines.length : close + 1;
    },
    render(lines) {
      const [, fence, info] = FENCE.exec(lines[0]);
      const whole = lines.length > 1 && isClosing(lines.at(-1), fence);
      return renderCode(lines.slice(1, whole ? -1 : undefined).join("\n"), info.trim().split(/\s/)[0]);
    },
  },
  {
    begins: (lines, at) => HEADING.test(lines[at]),
    end: (lines, at) => at + 1,
    render(lines, depth) {
      const [, marks, text] = HEADING.exec(lines[0]);
      return make(`h${Math.min(6, marks.length + 2)}`, { dir: "auto" }, ...inline(text, depth)); // below the page's own
    },
  },
  {
    begins: (lines, at) => RULE.test(lines[at]),
    end: (lines, at) => at + 1,
    render: () => make("hr"),
  },
  {
    begins: (lines, at) => QUOTE.test(lines[at]),
    end: (lines, at) => takeWhile(lines, at, (line) => QUOTE.test(line)),
    render: (lines, depth) =>
      make("blockquote", { dir: "auto" }, ...renderAll(lines.map((line) => line.replace(QUOTE, "")), depth + 1)),
  },
  {
    begins: (lines, at) => ITEM.test(lines[at]),
    end: endList,
    render: renderList,
  },
  {
    begins: (lines, at) => lines[at].includes("|") && at + 1 < lines.length && isTable(lines[at], lines[at + 1]),
    end: (lines, at) => takeWhile(lines, at + 1, (line) => line.includes("|")),
    render: renderTable,
  },
  {
    begins: () => true,
    end: (lines, at) =>
      takeWhile(lines, at, (line, index) => line.trim() && !BEGINS.some((one) => one.test(line)) && !isTable(line, lines[index + 1])),
    render: (lines, depth) => make("p", { dir: "auto" }, ...inline(lines.map((line) => line.trim()).join("\n"), depth)),
  },
];

function takeWhile(lines, at, isOne) {
  let end = at + 1;
  while (end < lines.length && isOne(lines[end], end)) end++;
  return end;
}

const isClosing = (line, fence) => {
  const text = line.trim();
  return text.length >= fence.length && text === fence[0].repeat(text.length);
};
const indent = (line) => line.length - line.trimStart().length;

function renderCode(text, language) {
  const copy = make("button", { type: "button", class: "quiet copy", "aria-label": "Copy code" }, "Copy");
  copy.addEventListener("click", () => copyText(text, copy));
  return make(
    "figure",
    { class: "code", dir: "ltr" },
    make("figcaption", {}, make("span", {}, language), copy),
    make("pre", { tabindex: "0", "aria-label": language ? `Code, ${language}` : "Code", role: "region" }, make("code", {}, text)),
  );
}

/** Put a text on the clipboard, and say so on the button. */
export async function copyText(text, button) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyByHand(text); // beyond this machine, pages without TLS have no clipboard
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = said), 1500);
}

function copyByHand(text) {
  const area = make("textarea", { class: "hidden", "aria-hidden": "true" });
  const focused = document.activeElement;
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  focused?.focus();
}

const isNumbered = (line) => /^ *\d/.test(line);

/** A list goes on over blank lines as long as items of its kind or what is indented below them follow. */
function endList(lines, at) {
  const base = indent(lines[at]);
  let end = at + 1;
  for (let index = at + 1; index < lines.length; index++) {
    if (!lines[index].trim()) continue;
    const goesOn = ITEM.test(lines[index]) && !RULE.test(lines[index]) && isNumbered(lines[index]) === isNumbered(lines[at]);
    const lazy = index === end && !BEGINS.some((one) => one.test(lines[index]));
    if (!goesOn && !lazy && indent(lines[index]) <= base) break;
    end = index + 1;
  }
  return end;
}

function renderList(lines, depth) {
  const [, , mark] = ITEM.exec(lines[0]);
  const base = indent(lines[0]);
  const ordered = isNumbered(mark);
  const list = make(ordered ? "ol" : "ul", { dir: "auto" });
  if (ordered && parseInt(mark, 10) !== 1) list.setAttribute("start", parseInt(mark, 10));
  const items = [];
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (match && match[1].length < base + 2) items.push([line.slice(match[0].length)]);
    else items.at(-1).push(line.slice(Math.min(indent(line), base + (ordered ? 3 : 2))));
  }
  const loose = items.some((item, index) => item.some((line, at) => !line.trim() && (at < item.length - 1 || index < items.length - 1)));
  for (const item of items) {
    const parts = renderAll(item, depth + 1);
    if (!loose && parts[0]?.tagName === "P") parts.splice(0, 1, ...parts[0].childNodes);
    list.append(make("li", { dir: "auto" }, ...parts));
  }
  return list;
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
const isTable = (line, next) => next !== undefined && next.includes("-") && next.includes("|") && DIVIDER.test(next.trim()) && cells(line).length === cells(next).length;

function renderTable(lines, depth) {
  const row = (line, tag) => make("tr", {}, ...cells(line).map((cell) => make(tag, { dir: "auto" }, ...inline(cell, depth))));
  const table = make("table", {}, make("thead", {}, row(lines[0], "th")), make("tbody", {}, ...lines.slice(2).map((line) => row(line, "td"))));
  return make("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, table);
}

const MARKS = { "**": "strong", __: "strong", "~~": "del", "*": "em", _: "em" };
const SPECIAL = /\\[!-/:-@[-`{-~]|`+|!?\[|https?:\/\/[^\s<>"']+|\*\*|__|~~|\*|_|\n/g;

/** The nodes of a line of text: code, emphasis, links, and text. */
export function inline(text, depth = 0) {
  if (depth >= DEEPEST || text.length > LONGEST) return [text];
  const nodes = [];
  let plain = "";
  let at = 0;
  const add = (node, end) => {
    if (plain) nodes.push(plain);
    plain = "";
    nodes.push(node);
    at = end;
  };
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const match = SPECIAL.exec(text);
    if (!match) break;
    plain += text.slice(at, match.index);
    at = match.index;
    const [found, end] = read(text, at, match[0], depth) ?? [];
    if (found !== undefined) add(found, end);
    else {
      plain += match[0];
      at += match[0].length;
    }
  }
  plain += text.slice(at);
  if (plain) nodes.push(plain);
  return nodes;
}

/** What begins with `mark` at a place: its node and where it ends; nothing where the mark means itself. */
function read(text, at, mark, depth) {
  if (mark === "\n") return [make("br"), at + 1];
  if (mark[0] === "\\") return [mark[1], at + 2];
  if (mark[0] === "`") return readCode(text, at, mark);
  if (mark.endsWith("[")) return readLink(text, at, mark, depth);
  if (mark.startsWith("http")) {
    const address = mark.replace(/[.,;:!?*_~)\]]+$/, "");
    const link = makeLink(address, [address]);
    return link && [link, at + address.length];
  }
  const close = findClose(text, at, mark);
  if (close < 0) return undefined;
  return [make(MARKS[mark], {}, ...inline(text.slice(at + mark.length, close), depth + 1)), close + mark.length];
}

function readCode(text, at, mark) {
  for (let close = at + mark.length; (close = text.indexOf(mark, close)) >= 0; ) {
    let end = close;
    while (text[end] === "`") end++;
    if (end - close === mark.length) {
      return [make("code", { dir: "ltr" }, text.slice(at + mark.length, close).replace(/^ (.*[^ ].*) $/s, "$1")), end];
    }
    close = end;
  }
  return undefined;
}

function readLink(text, at, mark, depth) {
  const middle = text.indexOf("](", at + mark.length);
  const end = middle < 0 ? -1 : closeParenthesis(text, middle + 2);
  if (end < 0) return undefined;
  const said = text.slice(at + mark.length, middle);
  if (said.includes("[")) return undefined;
  const address = text.slice(middle + 2, end).trim().replace(/\s+["'(].*$/s, "").replace(/^<(.*)>$/, "$1");
  const link = makeLink(address, said ? inline(said, depth + 1) : [address]);
  return link && [link, end + 1];
}

function closeParenthesis(text, at) {
  let open = 1;
  for (let end = at; end < text.length && text[end] !== "\n"; end++) {
    if (text[end] === "(") open++;
    if (text[end] === ")" && --open === 0) return end;
  }
  return -1;
}

/** A link to a page of the web; to anything else there is none. Pictures are links too: nothing is fetched unasked. */
function makeLink(address, children) {
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address)) return undefined;
  const { href } = new URL(address);
  return make("a", { href, title: href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

/** Where emphasis ends: at marks of the same kind that follow a word, `_` only where none goes on. */
function findClose(text, at, mark) {
  const char = mark[0];
  const from = at + mark.length;
  if (!text[from] || /\s/.test(text[from]) || (char === "_" && /\w/.test(text[at - 1] ?? ""))) return -1;
  for (let index = from; index < text.length; index++) {
    if (text[index] === "\\") index++;
    else if (text[index] === "`") index = (readCode(text, index, /^`+/.exec(text.slice(index, index + 99))[0])?.[1] ?? index + 1) - 1;
    else if (text[index] === char) {
      let end = index;
      while (text[end] === char) end++;
      const length = end - index;
      const fits = mark.length === 1 ? length % 2 === 1 : length >= 2;
      const ends = index > from && !/\s/.test(text[index - 1]) && !(char === "_" && /\w/.test(text[end] ?? ""));
      if (fits && ends) return end - mark.length;
      index = end - 1;
    }
  }
  return -1;
}
