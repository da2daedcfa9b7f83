// Players: a walk on a canvas, and one clock for all of them.

const clock = {players: new Set(), last: 0, running: false};

function tick(now) {
  const passed = Math.min(0.1, (now - clock.last) / 1000);
  clock.last = now;
  let busy = false;
  for (const player of clock.players) if (player.visible) busy = player.advance(passed) || busy;
  clock.running = busy;
  if (busy) requestAnimationFrame(tick);
}

function wake() {
  if (clock.running) return;
  clock.running = true;
  requestAnimationFrame(now => { clock.last = now; tick(now); });
}

const watched = new Map();
const sizes = new ResizeObserver(entries => entries.forEach(entry => watched.get(entry.target)?.resized()));
const sights = new IntersectionObserver(entries => entries.forEach(entry => {
  const player = watched.get(entry.target);
  if (!player) return;
  player.visible = entry.isIntersecting;
  if (player.visible) { player.draw(); wake(); }
}), {rootMargin: "80px"});

// A walk on a canvas. `captions(time, distance)` gives what is written on it; `ended` is called when a walk that does not
// repeat has come to its end.
class Player {
  constructor(canvas, {captions = null, repeat = true, ended = null, moved = null, small = false} = {}) {
    Object.assign(this, {canvas, captions, repeat, ended, moved, small});
    this.time = 0; this.speed = 1; this.hurry = 1; this.playing = false; this.visible = false; this.walk = null; this.token = 0; this.pause = 0;
    watched.set(canvas, this);
    sizes.observe(canvas);
    sights.observe(canvas);
    clock.players.add(this);
  }

  close() {
    sizes.unobserve(this.canvas); sights.unobserve(this.canvas); watched.delete(this.canvas); clock.players.delete(this);
  }

  // Shows a walk; `displacement` is the evaluated one, which the last moment shows.
  async show(number, terrain, {play = !calm.matches, at = 0, displacement = null, empty = "No walk of it is kept here."} = {}) {
    const token = ++this.token;
    const walk = await walkOf(number);
    if (token !== this.token) return;
    Object.assign(this, {walk, terrain, displacement, empty, time: at, pause: 0});
    this.pose = walk && new Float64Array(2 * walk.joints);
    this.playing = play && walk !== null;
    this.views = null;
    this.draw();
    wake();
    this.moved?.(this);
  }

  get seconds() { return this.walk ? this.walk.seconds : 0; }

  play(wanted) {
    this.playing = wanted && this.walk !== null;
    if (this.playing && this.time >= this.seconds) this.time = 0;
    this.pause = 0;
    this.moved?.(this);
    wake();
  }

  seek(time) {
    this.time = Math.max(0, Math.min(this.seconds, time));
    this.draw();
    this.moved?.(this);
  }

  advance(passed) {
    if (!this.playing || !this.walk) return false;
    this.time += passed * this.speed * this.hurry;
    if (this.time >= this.seconds) {
      this.time = this.seconds;
      this.pause += passed;
      if (this.pause > 0.7) {
        this.pause = 0;
        if (this.repeat) this.time = 0;
        else { this.playing = false; this.ended?.(this); }
      }
    }
    this.skip = this.small && !this.skip; // small pictures, of which there are many, change half as often
    if (!this.skip) this.draw();
    this.moved?.(this);
    return true;
  }

  resized() { this.views = null; this.draw(); }

  get displacementNow() {
    if (this.time >= this.seconds && this.displacement !== null) return this.displacement;
    const centre = this.views.centre;
    return between(centre, this.time * store.data.walks.frame_rate) - centre[0];
  }

  // Under way to the digit that rounded positions allow; at the end to two, as it was evaluated.
  get distanceWords() {
    const distance = Math.abs(this.displacementNow);
    return this.time >= this.seconds && this.displacement !== null ? far(distance) : distance.toFixed(1);
  }

  draw() {
    const {canvas, walk, terrain} = this, ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    }
    const c = canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!walk) {
      c.fillStyle = colours.empty; c.fillRect(0, 0, width, height);
      if (this.empty && width > 100) {
        c.fillStyle = colours.soft; c.font = "14px system-ui, sans-serif"; c.textAlign = "center"; c.textBaseline = "middle";
        this.empty.split("\n").forEach((line, k) => c.fillText(line, width / 2, height / 2 + 20 * k, width - 20));
      }
      return;
    }
    const rate = store.data.walks.frame_rate;
    this.views ??= follow(terrain, walk, width, height, rate);
    const frame = this.time * rate;
    const view = {...this.views, left: between(this.views.left, frame), bottom: between(this.views.bottom, frame)};
    drawWorld(c, terrain, view);
    drawStart(c, terrain, view, this.views.centre[0]);
    drawWalker(c, walk, poseAt(walk, frame, this.pose), this.time, view);
    if (this.captions) drawCaption(c, this.captions(this.time, this.distanceWords));
  }
}

// A player with a button, a slider and a choice of speed, put into an element.
function controlledPlayer(host, {low = false, ended = null, captions, label}) {
  const canvas = el("canvas", {role: "img", "aria-label": label, tabindex: "0"});
  const button = el("button", {type: "button", class: "play main", onclick: () => player.play(!player.playing)}, "Play");
  const slider = el("input", {type: "range", min: 0, max: 10, step: 0.05, value: 0, "aria-label": "Time"});
  const time = el("span", {class: "time"});
  const speed = el("select", {"aria-label": "Speed"});
  options(speed, [["0.25", "¼×"], ["0.5", "½×"], ["1", "1×"], ["2", "2×"], ["4", "4×"]], "1");
  const player = new Player(canvas, {
    captions, ended,
    moved: () => {
      const words = player.playing ? "Pause" : "Play";
      if (button.textContent !== words) button.textContent = words;
      button.disabled = slider.disabled = player.walk === null;
      slider.max = player.seconds;
      slider.value = player.time;
      time.textContent = player.walk ? `${player.time.toFixed(1)} / ${player.seconds.toFixed(0)} s` : "";
    },
  });
  slider.addEventListener("input", () => { player.play(false); player.seek(Number(slider.value)); });
  speed.addEventListener("change", () => { player.speed = Number(speed.value); });
  canvas.addEventListener("click", () => player.play(!player.playing));
  host.replaceChildren(el("div", {class: low ? "player low" : "player"}, canvas), el("div", {class: "bar"}, button, slider, time, speed));
  player.button = button;
  return player;
}
