// What is shown, where it stands in the address, and the start.

const VIEWS = {map: "Map", race: "Race", terrains: "Terrains", learning: "Learning", failures: "Failures", tables: "Tables"};
const state = {view: "map", map: 0, x: "", y: "", cuts: {}, elite: 0, shown: 0, ground: "", racers: [], cell: null, kind: null};

// The state as a fragment, so that a link shows the same again.
function fragmentOf() {
  const words = new URLSearchParams({view: state.view});
  if (state.view === "map") {
    words.set("map", state.map); words.set("x", state.x); words.set("y", state.y);
    for (const [name, bin] of Object.entries(state.cuts)) words.append("cut", `${name}.${bin}`);
    words.set("elite", nameOf(state.elite));
    if (state.shown !== state.elite) words.set("shown", nameOf(state.shown));
  } else if (state.view === "race") {
    words.set("on", state.ground);
    words.set("walkers", state.racers.map(racer => racer >= 0 ? nameOf(racer) : `row.${-1 - racer}`).join(" "));
  } else if (state.view === "terrains" && state.cell) words.set("cell", state.cell.join("."));
  else if (state.view === "failures" && state.kind) words.set("kind", state.kind);
  return `#${words}`;
}

function readFragment() {
  const words = new URLSearchParams(location.hash.slice(1)), {data} = store, found = {};
  if (Object.hasOwn(VIEWS, words.get("view"))) found.view = words.get("view");
  const number = Number(words.get("map"));
  if (words.has("map") && Number.isInteger(number) && number >= 0 && number < map.choices.length) found.map = number;
  const run = data.runs[map.choices[found.map ?? state.map].run];
  for (const axis of ["x", "y"]) if (run.measures.includes(words.get(axis))) found[axis] = words.get(axis);
  const cuts = words.getAll("cut").map(text => text.split(".")).filter(([name, bin]) => run.measures.includes(name) && bin >= 0);
  if (words.has("map")) found.cuts = Object.fromEntries(cuts.map(([name, bin]) => [name, Number(bin)]));
  const elite = words.has("elite") ? placeOf(words.get("elite")) : found.map === undefined ? -1 : bestElite(map.choices[found.map].archives);
  if (elite >= 0) found.elite = found.shown = elite;
  const shown = placeOf(words.get("shown") || "");
  if (shown >= 0 && lineageOf(found.elite ?? state.elite).includes(shown)) found.shown = shown;
  if (data.matrix.terrains.includes(words.get("on"))) found.ground = words.get("on");
  if (found.ground && !words.has("walkers")) found.racers = usualField(found.ground);
  if (words.has("walkers"))
    found.racers = words.get("walkers").split(" ").map(name => name.startsWith("row.") ? -1 - Number(name.slice(4)) : placeOf(name, null))
      .filter(racer => racer !== null && (racer >= 0 || data.matrix.rows[-1 - racer]) && walkOn(racer, found.ground ?? state.ground));
  const cell = (words.get("cell") || "").split(".").map(Number);
  if (cell.length === 2 && data.matrix.cells[cell[0]]?.[cell[1]]) found.cell = cell;
  if (words.has("kind")) found.kind = words.get("kind");
  return found;
}

let ready = false;

function setState(changed) {
  const before = {...state};
  Object.assign(state, changed);
  if ("elite" in changed || "view" in changed && changed.view !== before.view) filmStop();
  show(before);
  const fragment = fragmentOf();
  if (ready && fragment !== location.hash) {
    if (state.view !== before.view) history.pushState(null, "", fragment); else history.replaceState(null, "", fragment);
  }
}

function show(before) {
  for (const name of Object.keys(VIEWS)) {
    $(`view-${name}`).hidden = name !== state.view;
    const tab = $("tabs").querySelector(`[data-view="${name}"]`);
    if (tab) name === state.view ? tab.setAttribute("aria-current", "page") : tab.removeAttribute("aria-current");
  }
  const all = before.view !== state.view || !ready;
  if (state.view === "map") {
    showMap();
    if (all || before.shown !== state.shown || before.elite !== state.elite) showWalker();
  } else if (state.view === "race") showRace();
  else if (state.view === "terrains") showMatrix();
  else if (state.view === "failures") showFailures();
  if (state.view !== "race" && race.playing) raceTo(false);
  wake();
}

// Shows a record on the map: its archive's map, no slices, and the record itself where it is an elite.
function showOnMap(place) {
  const archive = store.records.archive[place];
  const number = map.choices.findIndex(choice => choice.archives.length === 1 && choice.archives[0] === archive);
  const run = store.data.runs[map.choices[number].run];
  const fits = run.measures.includes(state.x) && run.measures.includes(state.y);
  setState({view: "map", map: number, cuts: {}, elite: place, shown: place, ...(fits ? {} : firstAxes(run))});
  scrollTo({top: 0});
}

// The second measure across and the first up, as in the paper; an archive of one measure has one row.
const firstAxes = ({measures}) => measures.length > 1 ? {x: measures[1], y: measures[0]} : {x: measures[0], y: ""};

function bestElite(archives) {
  const {records} = store, of = new Set(archives);
  let best = -1;
  records.fitness.forEach((fitness, place) => {
    if (records.elite[place] && of.has(records.archive[place]) && (best < 0 || fitness > records.fitness[best])) best = place;
  });
  return best;
}

const THEMES = ["auto", "light", "dark"];
function setUpTheme() {
  let wanted = "auto";
  try { wanted = localStorage.getItem("walkers-theme") || "auto"; } catch { /* files may have no storage */ }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const now = wanted === "auto" ? (dark.matches ? "dark" : "light") : wanted;
    document.documentElement.dataset.theme = now;
    $("theme").textContent = wanted === "auto" ? "Theme: system" : `Theme: ${wanted}`;
    readColours();
    drawMap();
    for (const player of clock.players) player.draw?.();
  };
  $("theme").addEventListener("click", () => {
    wanted = THEMES[(THEMES.indexOf(wanted) + 1) % THEMES.length];
    try { localStorage.setItem("walkers-theme", wanted); } catch { /* the choice then lasts as long as the page */ }
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
}

// A page of a run that goes on loads itself again, unless somebody is at work in it.
function setUpRefresh(seconds) {
  const pause = el("input", {type: "checkbox"});
  $("facts").after(el("label", {class: "live"}, pause, ` This run goes on. Hold this page still (it loads itself again every ${seconds} s).`));
  setInterval(() => { if (!pause.checked && !document.hidden) location.reload(); }, 1000 * seconds);
}

async function start() {
  setUpTheme();
  await loadStore();
  const {data, records} = store;
  $("facts").replaceChildren(...data.facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const there = {map: true, race: true, terrains: true, learning: data.charts.length, failures: data.failures.kinds.length, tables: data.tables.length + data.benchmarks.length};
  $("tabs").replaceChildren(...Object.entries(VIEWS).filter(([name]) => there[name]).map(([name, words]) =>
    el("a", {href: `#view=${name}`, "data-view": name, onclick: event => { event.preventDefault(); setState({view: name}); }}, words)));
  setUpMap();
  setUpWalker();
  const best = bestElite(data.archives.map((_, place) => place));
  Object.assign(state, firstAxes(mapRun()), {elite: best, shown: best, ground: data.matrix.terrains[0]});
  const home = map.choices.findIndex(choice => choice.archives.includes(records.archive[best]));
  Object.assign(state, {map: home}, firstAxes(store.data.runs[map.choices[home].run]));
  state.racers = usualField(state.ground);
  setUpRace();
  setUpLists();
  Object.assign(state, readFragment());
  $("loading").hidden = true;
  show({...state, view: null});
  ready = true;
  history.replaceState(null, "", fragmentOf());
  addEventListener("hashchange", () => { ready = false; const found = readFragment(); ready = true; const before = {...state}; Object.assign(state, found); show({...before, view: null}); });
  $("link").addEventListener("click", event => copied(event.target, location.href));
  $("skip").addEventListener("click", event => { event.preventDefault(); $("main").focus(); });
  addEventListener("keydown", keys);
  if (data.refresh) setUpRefresh(data.refresh);
  document.documentElement.dataset.ready = "yes";
}

// Keys that work wherever no field has the focus: numbers choose a view, comma and point step through the lineage.
function keys(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const names = [...$("tabs").children].map(tab => tab.dataset.view), number = Number(event.key);
  if (event.key !== " " && number >= 1 && number <= names.length) setState({view: names[number - 1]});
  else if (state.view === "map" && event.key === ",") step(-1);
  else if (state.view === "map" && event.key === ".") step(1);
  else if (event.key === " " && !event.target.closest("button, a, summary, pre")) {
    if (state.view === "race") raceTo(!race.playing);
    else { const player = state.view === "map" ? mainPlayer : matrix.large; player?.play(!player.playing); }
  } else return;
  event.preventDefault();
}

start().catch(error => {
  $("loading").hidden = false;
  $("loading").textContent = `This page could not be unpacked: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
});
