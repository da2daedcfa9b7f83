// The terrain x program matrix: every cell plays, and a chosen one is shown large.

const matrix = {players: [], large: null, built: false};

function setUpMatrix() {
  const {rows, terrains, cells} = store.data.matrix;
  matrix.large = controlledPlayer($("matrix-stage"), {
    low: true,
    label: "The chosen walk",
    captions: (time, distance) => {
      const [row, column] = state.cell;
      return [[`${rows[row].name}, ${time.toFixed(1)} s`, 13], [`on ${terrains[column]}: ${distance}`, 17, 600]];
    },
  });
  const best = terrains.map((_, column) => Math.max(...cells.map(line => line[column].distance)));
  const head = el("tr", {}, el("td"), ...terrains.map(text => el("th", {scope: "col"}, text)));
  const body = rows.map((row, r) => el("tr", {}, el("th", {scope: "row"}, titled(row.name)), ...cells[r].map((cell, column) => {
    const canvas = el("canvas", {"aria-hidden": "true"});
    const words = cell.error === null ? far(cell.distance) : cell.error.replaceAll("_", " ");
    const first = cell.error === null && cell.distance === best[column] && cell.distance > 0;
    const button = el("button", {type: "button", class: first ? "cell best" : "cell", "aria-pressed": "false",
      "aria-label": `${row.name} on ${terrains[column]}: ${words}${first ? ", the best here" : ""}`,
      onclick: () => setState({cell: [r, column]})}, canvas, el("span", {}, el("b", {}, words)));
    const player = new Player(canvas, {small: true});
    player.button = button;
    player.place = [r, column];
    matrix.players.push(player);
    return el("td", {}, button);
  })));
  $("matrix").replaceChildren(el("table", {class: "matrix"}, el("thead", {}, head), el("tbody", {}, ...body)));
}

async function showMatrix() {
  const {rows, terrains, cells} = store.data.matrix;
  if (!matrix.built) {
    matrix.built = true;
    setUpMatrix();
    for (const player of matrix.players) {
      const [row, column] = player.place, cell = cells[row][column];
      player.show(cell.walk, terrainByText(terrains[column]), {displacement: cell.displacement, empty: ""});
    }
  }
  for (const player of matrix.players) player.button.setAttribute("aria-pressed", String(state.cell && player.place.join() === state.cell.join()));
  $("matrix-large").hidden = !state.cell;
  if (!state.cell) return;
  const [row, column] = state.cell, cell = cells[row][column], {record, program, name} = rows[row];
  const copies = cell.error === null ? `Least of the walker and its copies: ${far(Math.min(cell.distance, ...cell.copies))}.` : `Stopped: ${cell.error.replaceAll("_", " ")}.`;
  $("matrix-who").replaceChildren(
    el("div", {class: "who-head"}, el("div", {}, el("h2", {}, `${titled(name)}, on ${terrains[column]}`), el("span", {class: "soft"}, copies)),
      el("div", {class: "far"}, far(cell.distance), " ", el("small", {}, "units"))),
    el("div", {class: "row"},
      el("button", {type: "button", onclick: () => setState({view: "race", ground: terrains[column], racers: usualField(terrains[column])})}, "Race on this terrain"),
      record === null ? null : el("button", {type: "button", class: "quiet", onclick: () => showOnMap(record)}, "Show on the map")),
    el("details", {}, el("summary", {}, "Program"), el("pre", {tabindex: "0"}, program)));
  await matrix.large.show(cell.walk, terrainByText(terrains[column]), {displacement: cell.displacement});
}
