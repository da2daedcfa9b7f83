// The map of elites: two measures across and up, sliders for the others, the best elite of each cell.

const VIRIDIS = ["#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725"]
  .map(code => [1, 3, 5].map(at => parseInt(code.slice(at, at + 2), 16)));
const shade = share => {
  const at = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1), i = Math.min(VIRIDIS.length - 2, Math.floor(at));
  return mixed(VIRIDIS[i], VIRIDIS[i + 1], at - i);
};

const map = {choices: [], elites: [], cells: new Map(), best: 1, geometry: null};

// The maps to choose from: for each terrain of a run the best over its archives, where there are several, and each archive.
function mapChoices() {
  const {archives, runs} = store.data, choices = [];
  runs.forEach((run, number) => {
    const own = archives.map((archive, place) => ({...archive, place})).filter(each => each.run === number);
    for (const terrain of new Set(own.map(each => each.terrain))) {
      const there = own.filter(each => each.terrain === terrain);
      if (there.length > 1) choices.push({words: `${terrain}: the best of ${there.length} archives`, run: number, archives: there.map(each => each.place)});
      for (const each of there) choices.push({words: `${terrain}: ${each.name.replace(/\/.*/, "").replace(/^all$/, "all seeds")}`, run: number, archives: [each.place]});
    }
  });
  return choices;
}

const mapRun = () => store.data.runs[map.choices[state.map].run];

// In which bin of each measure an elite lies.
function binsOf(place, run) {
  if (run.kind === "grid") {
    let niche = store.records.niche[place];
    const bins = [];
    for (let axis = run.bins.length - 1; axis >= 0; axis--) { bins[axis] = niche % run.bins[axis]; niche = Math.floor(niche / run.bins[axis]); }
    return bins;
  }
  return run.measures.map((name, axis) => {
    const [low, high] = run.ranges[axis], value = store.records.measures[name][place];
    return Math.max(0, Math.min(run.bins[axis] - 1, Math.floor((value - low) / (high - low) * run.bins[axis])));
  });
}

function setUpMap() {
  map.choices = mapChoices();
  options($("map-choice"), map.choices.map((choice, k) => [String(k), choice.words]), "0");
  $("map-choice").addEventListener("change", event => {
    setState({map: Number(event.target.value), cuts: {}});
    chooseBest();
  });
  for (const axis of ["x", "y"])
    $(`map-${axis}`).addEventListener("change", event => {
      const other = axis === "x" ? "y" : "x", changed = {[axis]: event.target.value, cuts: {}};
      if (state[other] === event.target.value) changed[other] = state[axis];
      setState(changed);
    });
  const canvas = $("map");
  canvas.addEventListener("click", event => {
    const found = cellUnder(event);
    if (found) choose(found.place);
    canvas.focus({preventScroll: true});
  });
  canvas.addEventListener("mousemove", event => {
    const found = cellUnder(event);
    canvas.title = found ? `${cellWords(found)}: ${far(store.records.fitness[found.place])}` : "";
  });
  canvas.addEventListener("keydown", mapKeys);
  new ResizeObserver(drawMap).observe(canvas.parentElement);
}

function mapKeys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};
  if (event.key in steps) moveBy(...steps[event.key]);
  else if (event.key === "Home") chooseBest();
  else if (event.key === " ") mainPlayer.play(!mainPlayer.playing);
  else if (event.key === "r" || event.key === "R") addRacer(state.shown);
  else return;
  event.preventDefault();
}

// The nearest filled cell in a direction: first along the row or column, then in the half of the map that lies there.
function moveBy(dx, dy) {
  const at = [...map.cells.values()].find(cell => cell.place === state.elite) || [...map.cells.values()][0];
  if (!at) return;
  let found = null, least = Infinity;
  for (const cell of map.cells.values()) {
    const along = (cell.x - at.x) * dx + (cell.y - at.y) * dy, aside = Math.abs((cell.x - at.x) * dy) + Math.abs((cell.y - at.y) * dx);
    if (along > 0 && along + 3 * aside < least) { least = along + 3 * aside; found = cell; }
  }
  if (found) choose(found.place);
}

function chooseBest() {
  const cells = [...map.cells.values()].sort((p, q) => store.records.fitness[q.place] - store.records.fitness[p.place]);
  if (cells.length) choose(cells[0].place);
}

function choose(place) { setState({elite: place, shown: place}); }

// Puts the elites into cells anew after the map, an axis or a slider has changed.
function fillMap() {
  const {records} = store, choice = map.choices[state.map], run = mapRun();
  const of = new Set(choice.archives), axes = [run.measures.indexOf(state.x), run.measures.indexOf(state.y)];
  const cuts = Object.entries(state.cuts).map(([name, bin]) => [run.measures.indexOf(name), bin]).filter(([axis]) => axis >= 0);
  map.cells.clear();
  map.best = 0;
  for (let place = 0; place < records.id.length; place++) {
    if (!records.elite[place] || !of.has(records.archive[place])) continue;
    map.best = Math.max(map.best, records.fitness[place]);
    const bins = binsOf(place, run);
    if (cuts.some(([axis, bin]) => bins[axis] !== bin)) continue;
    const [x, y] = axes.map(axis => axis < 0 ? 0 : bins[axis]), key = 1e6 * x + y, held = map.cells.get(key);
    if (!held) map.cells.set(key, {x, y, place, count: 1});
    else { held.count++; if (records.fitness[place] > records.fitness[held.place]) held.place = place; }
  }
  map.columns = axes[0] < 0 ? 1 : run.bins[axes[0]];
  map.rows = axes[1] < 0 ? 1 : run.bins[axes[1]];
}

function showMapFields() {
  const run = mapRun(), names = run.measures.map(name => [name, name.replaceAll("_", " ")]);
  $("map-choice").value = String(state.map);
  options($("map-x"), names, state.x);
  options($("map-y"), names, state.y);
  $("map-y").parentElement.hidden = !state.y;
  const others = run.measures.filter(name => name !== state.x && name !== state.y);
  const have = [...$("map-cuts").children].map(label => label.dataset.measure);
  if (have.join() !== others.join())
    $("map-cuts").replaceChildren(...others.map(name => {
      const bins = run.bins[run.measures.indexOf(name)];
      const slider = el("input", {type: "range", min: -1, max: bins - 1, step: 1, value: -1, "aria-label": `Slice of ${name}`});
      slider.addEventListener("input", () => {
        const cuts = {...state.cuts}, value = Number(slider.value);
        if (value < 0) delete cuts[name]; else cuts[name] = value;
        setState({cuts});
      });
      return el("label", {"data-measure": name}, titled(name.replaceAll("_", " ")), slider, el("output"));
    }));
  for (const label of $("map-cuts").children) {
    const name = label.dataset.measure, cut = state.cuts[name];
    label.querySelector("input").value = cut ?? -1;
    const words = cut === undefined ? "all, the best shown" : spanWords(run, name, cut);
    label.querySelector("output").textContent = words;
    label.querySelector("input").setAttribute("aria-valuetext", words);
  }
}

function spanWords(run, name, bin) {
  const axis = run.measures.indexOf(name), [low, high] = run.ranges[axis], step = (high - low) / run.bins[axis];
  const at = k => `${+(low + step * k).toPrecision(4)}`;
  return `${at(bin)} to ${bin === run.bins[axis] - 1 ? "more" : at(bin + 1)}`;
}

function cellWords(cell) {
  const run = mapRun();
  return [[state.x, cell.x], [state.y, cell.y]].filter(([name]) => name).map(([name, bin]) => `${name.replaceAll("_", " ")} ${spanWords(run, name, bin)}`).join(", ");
}

function drawMap() {
  if (!store.data || !map.choices.length || state.view !== "map") return;
  const canvas = $("map"), width = canvas.clientWidth, ratio = Math.min(2, devicePixelRatio || 1);
  if (!width) return;
  const inset = {left: 46, bottom: 40, top: 6, right: 10};
  const side = (width - inset.left - inset.right) / map.columns;
  const tall = Math.min(side * 1.15, Math.max(side * 0.9, 460 / map.rows));
  const height = Math.round(tall * map.rows + inset.top + inset.bottom);
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  const c = canvas.getContext("2d"), run = mapRun();
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  const X = x => inset.left + side * x, Y = y => inset.top + tall * (map.rows - 1 - y);
  map.geometry = {X, Y, side, tall};
  const box = (x, y, grow) => { c.beginPath(); c.roundRect(X(x) + 1 - grow, Y(y) + 1 - grow, side - 2 + 2 * grow, tall - 2 + 2 * grow, Math.min(4, side / 6)); };
  c.fillStyle = colours.empty;
  for (let x = 0; x < map.columns; x++) for (let y = 0; y < map.rows; y++) if (!map.cells.has(1e6 * x + y)) { box(x, y, 0); c.fill(); }
  for (const cell of map.cells.values()) {
    c.fillStyle = shade(store.records.fitness[cell.place] / (map.best || 1));
    box(cell.x, cell.y, 0); c.fill();
  }
  const at = chosenCell();
  if (at) {
    for (const [colour, thick, grow] of [[colours.card, 5, 1.5], [colours.ink, 2.4, 1.5]]) {
      c.strokeStyle = colour; c.lineWidth = thick; box(at.x, at.y, grow); c.stroke();
    }
  }
  c.fillStyle = colours.soft;
  c.font = "11.5px system-ui, sans-serif";
  const tick = (name, k) => {
    const axis = run.measures.indexOf(name), [low, high] = run.ranges[axis];
    return `${+(low + (high - low) * k / run.bins[axis]).toPrecision(3)}`;
  };
  c.textAlign = "center"; c.textBaseline = "top";
  const every = Math.max(1, Math.round(map.columns / 6)), each = Math.max(1, Math.round(map.rows / 6));
  for (let k = 0; k <= map.columns; k += every) c.fillText(tick(state.x, k), X(k), height - inset.bottom + 6);
  c.fillText(state.x.replaceAll("_", " "), X(map.columns / 2), height - 16);
  if (!state.y) return drawScale();
  c.textAlign = "right"; c.textBaseline = "middle";
  for (let k = 0; k <= map.rows; k += each) c.fillText(tick(state.y, k), inset.left - 6, Math.max(8, inset.top + tall * (map.rows - k)));
  c.save();
  c.translate(10, inset.top + tall * map.rows / 2); c.rotate(-Math.PI / 2); c.textAlign = "center";
  c.fillText(state.y.replaceAll("_", " "), 0, 0);
  c.restore();
  drawScale();
}

function drawScale() {
  const canvas = $("scale");
  canvas.width = 240;
  const c = canvas.getContext("2d");
  for (let k = 0; k < 240; k++) { c.fillStyle = shade(k / 239); c.fillRect(k, 0, 1.5, 10); }
  $("scale-high").textContent = `${far(map.best)} units`;
}

const chosenCell = () => [...map.cells.values()].find(cell => cell.place === state.elite);

function cellUnder(event) {
  const {X, Y, side, tall} = map.geometry, bounds = $("map").getBoundingClientRect();
  const [px, py] = [event.clientX - bounds.left, event.clientY - bounds.top];
  const [x, y] = [Math.floor((px - X(0)) / side), map.rows - 1 - Math.floor((py - Y(map.rows - 1)) / tall)];
  return map.cells.get(1e6 * x + y) && x >= 0 && y >= 0 ? map.cells.get(1e6 * x + y) : null;
}

function showMap() {
  showMapFields();
  fillMap();
  drawMap();
  const filled = map.cells.size, cell = chosenCell(), words = map.choices[state.map].words;
  $("map").setAttribute("aria-label", `Map of elites, ${words}: ${filled} of ${map.columns * map.rows} cells filled, ${state.x} across${state.y ? `, ${state.y} up` : ""}`);
  const chosen = cell ? `${titled(cellWords(cell))}: ${far(store.records.fitness[cell.place])}${cell.count > 1 ? `, the best of ${cell.count}` : ""}.`
    : "The walker shown lies in no cell of this slice.";
  $("map-said").textContent = filled ? chosen : "No elite in this slice.";
}
