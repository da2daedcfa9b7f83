// What the page holds. Programs and walks are unpacked when they are first asked for.

const store = {data: null, records: null, programBlocks: new Map(), walks: new Map(), walkStarts: null, blockStarts: null};

const textOf = id => document.getElementById(id).textContent;

function startsOf(sizes) {
  const starts = [0];
  for (const size of sizes) starts.push(starts[starts.length - 1] + size);
  return starts;
}

// The script stands before what it unpacks, so that the page has its colours before all of it is read.
const allParsed = document.readyState === "loading"
  ? new Promise(done => document.addEventListener("DOMContentLoaded", done, {once: true})) : Promise.resolve();
let walkText = null;

async function loadStore() {
  await allParsed;
  store.data = await unpackJson(textOf("data"));
  store.records = store.data.records;
  store.walkStarts = startsOf(store.data.walks.sizes);
  store.blockStarts = startsOf(store.data.blocks);
  store.planted = new Set(store.records.planted);
}

async function programOf(place) {
  const block = Math.floor(place / store.data.block);
  if (!store.programBlocks.has(block)) {
    const [start, end] = [store.blockStarts[block], store.blockStarts[block + 1]];
    store.programBlocks.set(block, unpackJson(textOf("programs").slice(start, end)));
  }
  return (await store.programBlocks.get(block))[place % store.data.block];
}

// A walk by its number, or null where the page has none. The last few hundred stay decoded.
async function walkOf(number) {
  if (number < 0) return null;
  if (!store.walks.has(number)) {
    walkText ??= textOf("walks");
    store.walks.set(number, decodeWalk(walkText.slice(store.walkStarts[number], store.walkStarts[number + 1]), store.data.walks));
    if (store.walks.size > 300) store.walks.delete(store.walks.keys().next().value);
  }
  return store.walks.get(number);
}

const archiveOf = place => store.data.archives[store.records.archive[place]];
const runOf = place => store.data.runs[archiveOf(place).run];
const terrainByText = text => store.data.terrains.find(each => each.text === text);

const makerOf = place => store.planted.has(place) ? "planted" : store.records.operators[store.records.operator[place]];

// The distance that this version measured where it measured one; what the run recorded otherwise.
function distanceOf(place) {
  const displacement = store.records.displacement[place];
  return displacement === null ? store.records.fitness[place] : Math.abs(displacement);
}

function lineageOf(place) {
  const line = [];
  for (let at = place; at >= 0; at = store.records.parent[at]) line.push(at);
  return line.reverse();
}

// What links name a record by: its run and its number there, which stay the same while a run goes on.
const nameOf = place => `${archiveOf(place).run}.${store.records.id[place]}`;
let placesByName = null;
function placeOf(name, unknown = -1) {
  if (!placesByName) placesByName = new Map(store.records.id.map((_, place) => [nameOf(place), place]));
  return placesByName.has(name) ? placesByName.get(name) : unknown;
}
