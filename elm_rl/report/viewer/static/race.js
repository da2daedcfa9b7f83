// The race: several walkers on one terrain, each in a lane of its own, all of one scale and one clock.

const race = {lanes: [], playing: false, time: 0};

// A walker's walk on a terrain: an elite's on its own, and those of the matrix on all of its terrains.
function walkOn(racer, terrain) {
  const {records, data} = store;
  if (racer >= 0 && archiveOf(racer).terrain === terrain && records.walk[racer] >= 0)
    return {walk: records.walk[racer], distance: distanceOf(racer), displacement: records.displacement[racer]};
  const row = racer >= 0 ? data.matrix.rows.findIndex(each => each.record === racer) : -1 - racer;
  const column = data.matrix.terrains.indexOf(terrain);
  if (row < 0 || row >= data.matrix.rows.length || column < 0) return null;
  const cell = data.matrix.cells[row][column];
  return cell.walk >= 0 && cell.error === null ? cell : null;
}

// Racers are places of records, or -1 less a row of the matrix for programs that are no records.
const racerOfRow = row => store.data.matrix.rows[row].record ?? -1 - row;

function racerName(racer) {
  const {data, records} = store;
  const row = racer >= 0 ? data.matrix.rows.findIndex(each => each.record === racer) : -1 - racer;
  return row >= 0 ? titled(data.matrix.rows[row].name) : `Record ${counted(records.id[racer])}, ${archiveOf(racer).name}`;
}

function usualField(terrain) {
  const all = store.data.matrix.rows.map((_, row) => racerOfRow(row));
  return all.map(racer => [racer, walkOn(racer, terrain)]).filter(([, walk]) => walk)
    .sort(([, p], [, q]) => q.distance - p.distance).slice(0, 6).map(([racer]) => racer);
}

function addRacer(racer) {
  const terrain = walkOn(racer, state.ground) ? state.ground : racer >= 0 ? archiveOf(racer).terrain : state.ground;
  const there = state.racers.filter(each => walkOn(each, terrain));
  const racers = [...there.filter(each => each !== racer), racer].slice(-8);
  setState({view: "race", ground: terrain, racers});
}

function setUpRace() {
  const {matrix} = store.data;
  options($("race-terrain"), matrix.terrains.map(text => [text, text]), state.ground);
  $("race-terrain").addEventListener("change", event => {
    const ground = event.target.value, racers = state.racers.filter(racer => walkOn(racer, ground));
    setState({ground, racers: racers.length > 1 ? racers : usualField(ground)});
  });
  $("race-fill").addEventListener("click", () => setState({racers: usualField(state.ground)}));
  $("race-add").addEventListener("change", event => { if (event.target.value !== "") addRacer(Number(event.target.value)); });
  race.button = el("button", {type: "button", class: "main play", onclick: () => raceTo(!race.playing)}, "Play");
  race.slider = el("input", {type: "range", min: 0, max: 10, step: 0.05, value: 0, "aria-label": "Time of the race"});
  race.slider.addEventListener("input", () => { raceTo(false); raceSeek(Number(race.slider.value)); });
  race.clock = el("span", {class: "time"});
  $("race-bar").append(el("div", {class: "bar"}, race.button, race.slider, race.clock));
  clock.players.add({visible: true, advance: raceAdvance});
}

function raceTo(playing) {
  race.playing = playing && race.lanes.length > 0;
  if (race.playing && race.time >= raceSeconds()) raceSeek(0);
  race.button.textContent = race.playing ? "Pause" : "Play";
  wake();
}

const raceSeconds = () => Math.max(0, ...race.lanes.map(lane => lane.player.seconds));

function raceAdvance(passed) {
  if (!race.playing || state.view !== "race") return false;
  raceSeek(race.time + passed);
  if (race.time >= raceSeconds()) raceTo(false);
  return true;
}

function raceSeek(time) {
  race.time = Math.min(time, raceSeconds());
  race.slider.max = raceSeconds();
  race.slider.value = race.time;
  race.clock.textContent = `${race.time.toFixed(1)} / ${raceSeconds().toFixed(0)} s`;
  const best = Math.max(1, ...race.lanes.map(lane => lane.score.distance));
  for (const lane of race.lanes) {
    lane.player.seek(race.time);
    if (!lane.player.walk || !lane.player.views) continue;
    lane.now = Math.abs(lane.player.displacementNow);
    lane.far.textContent = lane.player.distanceWords;
    lane.fill.style.width = `${100 * Math.min(1, lane.now / best)}%`;
  }
  const ranked = [...race.lanes].sort((p, q) => q.now - p.now);
  ranked.forEach((lane, k) => {
    const place = String(k + 1);
    if (lane.rank.textContent !== place) lane.rank.textContent = place;
    lane.rank.classList.toggle("first", k === 0 && race.time > 0);
  });
}

async function showRace() {
  const terrain = terrainByText(state.ground);
  $("race-terrain").value = state.ground;
  const {records} = store;
  const fittest = records.id.map((_, place) => place).filter(place => records.elite[place] && archiveOf(place).terrain === state.ground)
    .sort((p, q) => records.fitness[q] - records.fitness[p]).slice(0, 40);
  const field = store.data.matrix.rows.map((_, row) => racerOfRow(row)).concat(state.elite, fittest)
    .filter((racer, k, all) => all.indexOf(racer) === k && !state.racers.includes(racer) && walkOn(racer, state.ground));
  options($("race-add"), [["", field.length ? "Choose…" : "Nobody else has walked here"], ...field.map(racer => [String(racer), `${racerName(racer)}: ${far(walkOn(racer, state.ground).distance)}`])], "");
  const key = `${state.ground}/${state.racers}`;
  if (race.key === key) return;
  race.key = key;
  race.lanes.forEach(lane => lane.player.close());
  race.lanes = state.racers.map(racer => [racer, walkOn(racer, state.ground)]).filter(([, score]) => score).map(([racer, score]) => makeLane(racer, score));
  $("lanes").replaceChildren(...race.lanes.map(lane => lane.card));
  if (!race.lanes.length) $("lanes").append(el("p", {class: "hint"}, "Nobody is in the race. Add a walker above, or choose one on the map and press R."));
  await Promise.all(race.lanes.map(lane => lane.player.show(lane.score.walk, terrain, {play: false, displacement: lane.score.displacement})));
  if (race.key !== key) return;
  const winner = [...race.lanes].sort((p, q) => q.score.distance - p.score.distance)[0];
  $("race-said").textContent = winner ? `${racerName(winner.racer)} gets furthest on ${terrain.name}: ${far(winner.score.distance)} units.` : "";
  raceSeek(0);
  raceTo(!calm.matches);
}

function makeLane(racer, score) {
  const canvas = el("canvas", {role: "img", "aria-label": `${racerName(racer)}: ${far(score.distance)} units`});
  const lane = {racer, score, now: 0, rank: el("span", {class: "rank"}), far: el("span", {class: "now"}, far(score.distance)), fill: el("div")};
  const open = racer >= 0 ? el("button", {type: "button", class: "quiet", onclick: () => showOnMap(racer)}, "Map") : null;
  const out = el("button", {type: "button", class: "quiet", "aria-label": `Take ${racerName(racer)} out of the race`,
    onclick: () => setState({racers: state.racers.filter(each => each !== racer)})}, "×");
  lane.card = el("div", {class: "card lane"},
    el("div", {class: "lane-head"}, lane.rank, el("span", {class: "name", title: racerName(racer)}, racerName(racer)), lane.far, open, out),
    canvas, el("div", {class: "track"}, lane.fill));
  lane.player = new Player(canvas, {});
  return lane;
}
