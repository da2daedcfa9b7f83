// Elements and texts. Whatever comes from programs, messages or files is put on the screen as text, and in no other way.

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const $ = id => document.getElementById(id);
const far = value => value.toFixed(2);
const counted = value => value.toLocaleString("en-US");
const short = value => Math.abs(value) >= 1e6 ? `${+(value / 1e6).toPrecision(3)}M`
  : Math.abs(value) >= 1e3 ? `${+(value / 1e3).toPrecision(3)}k` : `${+value.toPrecision(3)}`;
const plural = (count, word) => `${counted(count)} ${word}${count === 1 ? "" : "s"}`;
const titled = words => words.charAt(0).toUpperCase() + words.slice(1);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, words]) => el("option", {value, selected: value === chosen}, words)));
  select.value = chosen;
}

const LONGEST_DIFF = 1500; // lines of both texts together; longer ones are not compared

// Lines of a diff with two lines of context: pairs of a kind (add, del, same, at) and a text.
function diffLines(before, after) {
  const [a, b] = [before, after].map(text => text.replace(/\n$/, "").split("\n"));
  if (a.length + b.length > LONGEST_DIFF) return null;
  const common = Array.from({length: a.length + 1}, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i][j] = a[i] === b[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
  const lines = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) { lines.push(["same", a[i++], ++j]); }
    else if (i < a.length && (j === b.length || common[i + 1][j] >= common[i][j + 1])) lines.push(["del", a[i++], j + 1]);
    else lines.push(["add", b[j++], j]);
  }
  const near = lines.map((_, k) => lines.slice(Math.max(0, k - 2), k + 3).some(([kind]) => kind !== "same"));
  const shown = [];
  lines.forEach(([kind, text, number], k) => {
    if (!near[k]) return;
    if (k > 0 && !near[k - 1] || k === 0) shown.push(["at", `line ${number}`]);
    shown.push([kind, text]);
  });
  return shown;
}

function diffBlock(before, after) {
  const lines = diffLines(before, after);
  if (lines === null) return el("p", {class: "hint"}, "The texts are too long to compare here.");
  if (!lines.length) return el("p", {class: "hint"}, "The same lines.");
  const marks = {add: "+ ", del: "- ", same: "  ", at: ""};
  return el("pre", {tabindex: "0", "aria-label": "Changed lines"},
    ...lines.map(([kind, text]) => el("span", {class: kind}, marks[kind] + text + "\n")));
}

async function copied(button, text) {
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy it from the address bar";
  }
  setTimeout(() => { button.textContent = words; }, 1600);
}
