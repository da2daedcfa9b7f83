// The walker that is shown: figures, program, change from its parent, and the lineage it stands in.

let mainPlayer = null;
const film = {running: false};

function setUpWalker() {
  mainPlayer = controlledPlayer($("stage"), {
    label: "The walker on its terrain",
    captions: (time, distance) => [
      [`${archiveOf(state.shown).terrain}, ${time.toFixed(1)} s`, 13],
      [`distance ${distance}`, 17, 600],
      ...(film.running ? [[filmWords(), 13]] : []),
    ],
    ended: () => { if (film.running) filmNext(); },
  });
  let width = 0;
  new ResizeObserver(() => {
    if (state.view !== "map" || width === $("lineage").clientWidth) return;
    width = $("lineage").clientWidth;
    showLineage();
  }).observe($("lineage"));
}

async function showWalker() {
  const {records} = store, place = state.shown, archive = archiveOf(place), distance = distanceOf(place);
  mainPlayer.repeat = !film.running;
  mainPlayer.hurry = film.running ? 2 : 1;
  const displacement = records.displacement[place];
  mainPlayer.canvas.setAttribute("aria-label",
    `Record ${records.id[place]} of ${archive.name} walking on ${archive.terrain}: distance ${far(distance)}`);
  const playing = mainPlayer.show(records.walk[place], terrainByText(archive.terrain), {
    displacement,
    play: film.running || !calm.matches,
    empty: "This walk is not kept here: the page has room for only so many.\nelm-rl report --megabytes 60 keeps more.",
  });
  showFigures(place);
  showLineage();
  await Promise.all([playing, showTexts(place)]);
}

function figuresList(entries) {
  return el("dl", {class: "figures"}, ...entries.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function showFigures(place) {
  const {records} = store, archive = archiveOf(place), run = runOf(place), distance = distanceOf(place);
  const name = store.data.runs.length > 1 ? `${archive.name}, ${run.name.replaceAll("_", " ")}` : archive.name;
  const measures = Object.entries(records.measures).filter(([, values]) => values[place] !== null)
    .map(([measure, values]) => [titled(measure.replaceAll("_", " ")), `${+values[place].toPrecision(5)}`]);
  const copies = records.copies[place];
  const entries = [...measures];
  if (records.joints[place] !== null) entries.push(["Joints, muscles", `${records.joints[place]}, ${records.muscles[place]}`]);
  if (copies) entries.push(["Least with copies", far(Math.min(distance, ...copies))], ["Copies", copies.map(far).join(", ")]);
  entries.push(["Niche", counted(records.niche[place])], ["Iteration", counted(records.iteration[place])],
    ["Made by", makerOf(place)], ["Elites descending", counted(records.heirs[place])]);
  const expected = run.robustness && copies ? Math.min(distance, ...copies.slice(0, run.robustness)) : distance;
  const parts = [
    el("div", {class: "who-head"},
      el("div", {}, el("h2", {}, `Record ${counted(records.id[place])}`), el("span", {class: "soft"}, name)),
      el("div", {class: "far", id: "distance"}, far(distance), " ", el("small", {}, `units on ${archive.terrain}`))),
    figuresList(entries),
  ];
  if (expected !== records.fitness[place] && records.displacement[place] !== null && (copies || !run.robustness))
    parts.push(el("p", {class: "warn"}, `The run recorded a fitness of ${far(records.fitness[place])}; this version measures ${far(expected)}.`));
  else if (run.robustness)
    parts.push(el("p", {class: "hint"}, `Fitness ${far(records.fitness[place])}: the least distance of the walker and ${plural(run.robustness, "copy").replace("copys", "copies")}.`));
  if (copies) parts.push(el("p", {class: "hint"}, robustWords(distance, copies)));
  parts.push(el("div", {class: "row"},
    el("button", {type: "button", onclick: () => addRacer(place)}, "To the race"),
    el("button", {type: "button", class: "quiet", onclick: event => copyProgram(event.target)}, "Copy program")));
  $("who").replaceChildren(...parts);
}

function robustWords(distance, copies) {
  const least = Math.min(distance, ...copies), share = distance > 0 ? Math.round(100 * least / distance) : 0;
  return `Robustness: of the walker and ${plural(copies.length, "copy").replace("copys", "copies")} with joints moved by thousandths of a unit the least distance is ${far(least)}, ${share}% of its own.`;
}

async function copyProgram(button) { await copied(button, await programOf(state.shown)); }

async function showTexts(place) {
  const parent = store.records.parent[place];
  const [program, before] = await Promise.all([programOf(place), parent >= 0 ? programOf(parent) : null]);
  if (place !== state.shown) return;
  $("program").replaceChildren(el("pre", {tabindex: "0", "aria-label": "Program"}, program));
  const message = store.records.messages[store.records.message[place]];
  const parts = [];
  if (before === null) parts.push(el("p", {class: "hint"}, "A seed: it has no parent."));
  else {
    const change = store.records.fitness[place] - store.records.fitness[parent];
    const sign = el("span", {class: change > 0 ? "better" : "worse"}, `${change > 0 ? "+" : "−"}${far(Math.abs(change))}`);
    parts.push(store.planted.has(place)
      ? el("p", {class: "hint"}, `The same program: an elite of ${runOf(parent).name.replaceAll("_", " ")}, record ${counted(store.records.id[parent])}, put on ${archiveOf(place).terrain}.`)
      : el("p", {class: "hint"}, `By ${makerOf(place)} from record ${counted(store.records.id[parent])}: fitness ${far(store.records.fitness[parent])} to ${far(store.records.fitness[place])} (`, sign, ")."));
    if (store.records.crossed[place]) parts.push(el("p", {class: "hint"}, `Crossed with ${store.records.crossed[place].join(", ")}.`));
    if (message) parts.push(el("p", {class: "hint"}, message));
    if (!store.planted.has(place)) parts.push(el("div", {class: "row"}), diffBlock(before, program));
  }
  $("diff").replaceChildren(...parts);
}

// The lineage as a curve of fitness over generations; each generation can be chosen, and the film shows one after the other.
function showLineage() {
  const line = lineageOf(state.elite), at = line.indexOf(state.shown), {records} = store;
  const kept = line.filter(place => records.walk[place] >= 0).length;
  const button = (words, act, disabled = false, more = {}) => el("button", {type: "button", onclick: act, disabled, ...more}, words);
  const known = $("lineage").querySelector(".lineage-head button.film");
  const head = el("div", {class: "lineage-head"},
    el("div", {}, el("h2", {}, line.length > 1 ? "From the seed to this walker" : "A seed"),
      el("span", {class: "soft", id: "generation", "aria-live": "polite"}, generationWords(line, at))),
    el("div", {class: "row"},
      button(film.running ? "Stop the film" : "Play as a film", () => film.running ? filmStop() : filmStart(), kept < 2, {class: "film main"}),
      button("Earlier", () => step(-1), at <= 0, {"aria-label": "Earlier generation"}),
      button("Later", () => step(1), at >= line.length - 1, {"aria-label": "Later generation"})));
  const focused = document.activeElement && $("lineage").contains(document.activeElement) ? document.activeElement.textContent : null;
  $("lineage").replaceChildren(head, lineageCurve(line, at));
  if (focused && known) [...$("lineage").querySelectorAll("button")].find(each => each.textContent === focused && !each.disabled)?.focus();
}

function generationWords(line, at) {
  const {records} = store, place = line[at];
  const kept = line.filter(each => records.walk[each] >= 0).length;
  const missing = kept < line.length ? ` ${kept} of ${line.length} walks are kept here.` : "";
  return `Generation ${at} of ${line.length - 1}, iteration ${counted(records.iteration[place])}, fitness ${far(records.fitness[place])}.${missing}`;
}

function lineageCurve(line, at) {
  const {records} = store, width = Math.max(280, $("lineage").clientWidth - 36), height = 150, inset = {left: 46, right: 16, top: 12, bottom: 24};
  const best = Math.max(...line.map(place => records.fitness[place]), 1);
  const X = k => inset.left + (width - inset.left - inset.right) * (line.length > 1 ? k / (line.length - 1) : 0.5);
  const Y = value => height - inset.bottom - (height - inset.top - inset.bottom) * value / best;
  const parts = [0, 0.5, 1].flatMap(share => [
    svg("line", {x1: inset.left, x2: width - inset.right, y1: Y(share * best), y2: Y(share * best), stroke: "var(--line)"}),
    svgText(inset.left - 8, Y(share * best) + 4, short(share * best), "end"),
  ]);
  parts.push(svg("polyline", {points: line.map((place, k) => `${X(k)},${Y(records.fitness[place])}`).join(" "), fill: "none",
    stroke: "var(--accent)", "stroke-width": 2, "stroke-linejoin": "round"}));
  const every = Math.max(1, Math.ceil(line.length / Math.max(4, width / 45)));
  line.forEach((place, k) => {
    const held = records.walk[place] >= 0, chosen = k === at;
    const dot = svg("circle", {cx: X(k), cy: Y(records.fitness[place]), r: chosen ? 8 : 5.5, stroke: "var(--accent)", "stroke-width": 2,
      fill: chosen ? "var(--accent)" : held ? "var(--card)" : "var(--well)", "stroke-dasharray": held ? "none" : "2 2",
      onclick: () => { filmStop(); setState({shown: place}); }});
    const title = svg("title");
    title.textContent = `Generation ${k}: record ${records.id[place]}, fitness ${far(records.fitness[place])}${held ? "" : ", walk not kept"}`;
    dot.append(title);
    parts.push(dot);
    if (k % every === 0 || k === line.length - 1) parts.push(svgText(X(k), height - 6, String(k), "middle"));
  });
  return svg("svg", {class: "steps", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Fitness over ${line.length} generations, from ${far(records.fitness[line[0]])} to ${far(records.fitness[line[line.length - 1]])}`}, ...parts);
}

function svgText(x, y, words, anchor) {
  const made = svg("text", {x, y, "text-anchor": anchor});
  made.textContent = words;
  return made;
}

function step(by) {
  const line = lineageOf(state.elite), at = line.indexOf(state.shown) + by;
  filmStop();
  if (at >= 0 && at < line.length) setState({shown: line[at]});
}

const filmLine = () => lineageOf(state.elite).filter(place => store.records.walk[place] >= 0);
const filmWords = () => `generation ${lineageOf(state.elite).indexOf(state.shown)}, ${makerOf(state.shown)}`;

function filmStart() {
  film.running = true;
  const first = filmLine()[0];
  if (state.shown === first) showWalker(); else setState({shown: first});
  mainPlayer.canvas.scrollIntoView({block: "nearest", behavior: calm.matches ? "auto" : "smooth"});
}

function filmNext() {
  const line = filmLine(), next = line[line.indexOf(state.shown) + 1];
  if (next === undefined) filmStop(); else setState({shown: next});
}

function filmStop() {
  if (!film.running) return;
  film.running = false;
  mainPlayer.repeat = true;
  mainPlayer.hurry = 1;
  showLineage();
}
