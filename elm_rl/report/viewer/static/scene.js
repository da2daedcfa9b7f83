// Terrains and walkers on a canvas: the camera, the colours and the shapes of sodarace_gym.rendering.

const COLOUR_NAMES = ["sky-high", "sky-low", "solid", "surface", "hatch", "joint", "core", "plain", "strained", "neutral",
  "shortens", "lengthens", "start", "veil", "ink", "soft", "card", "empty", "accent", "line"];
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = Object.fromEntries(COLOUR_NAMES.map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
  for (const name of ["neutral", "shortens", "lengthens", "plain", "strained"]) {
    const code = parseInt(colours[name].slice(1), 16);
    colours[`${name}-rgb`] = [code >> 16, code >> 8 & 255, code & 255];
  }
}

const mixed = (a, b, share) => `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * share)).join(" ")})`;

// Height of a polyline at x.
function heightAt(line, x) {
  let low = 0, high = line.length - 1;
  if (x <= line[0][0]) return line[0][1];
  if (x >= line[high][0]) return line[high][1];
  while (high - low > 1) {
    const middle = low + high >> 1;
    if (line[middle][0] <= x) low = middle; else high = middle;
  }
  const [[x0, y0], [x1, y1]] = [line[low], line[high]];
  return x1 > x0 ? y0 + (y1 - y0) * (x - x0) / (x1 - x0) : y1;
}

// A view for each frame of a walk, all of one scale: as rendering/camera.py follows it, a little nearer.
function follow(terrain, walk, width, height, rate) {
  const {frames, joints, positions} = walk;
  const bounds = [0, 1].map(() => ({low: new Float64Array(frames), high: new Float64Array(frames)}));
  const centre = new Float64Array(frames);
  for (let f = 0; f < frames; f++) {
    for (const axis of [0, 1]) {
      let low = Infinity, high = -Infinity, sum = 0;
      for (let j = 0; j < joints; j++) {
        const value = positions[2 * (f * joints + j) + axis];
        low = Math.min(low, value); high = Math.max(high, value); sum += value;
      }
      bounds[axis].low[f] = low; bounds[axis].high[f] = high;
      if (axis === 0) centre[f] = sum / joints;
    }
  }
  const extents = bounds.map(({low, high}) => Float64Array.from(low, (value, f) => high[f] - value).sort());
  const usual = extents.map(each => each[Math.min(frames - 1, Math.round(0.98 * (frames - 1)))]);
  const margin = Math.min(16, 0.06 * height);
  const scale = Math.min(width / (1.35 * usual[0] + 7), height / (1.3 * usual[1] + 4),
    ...[width, height].map((size, axis) => (size - 2 * margin) / Math.max(extents[axis][frames - 1], 1)));
  const [w, h, m] = [width / scale, height / scale, margin / scale];
  const below = Math.min(0.2 * h, Math.min(48, 0.2 * height) / scale);
  const ground = centre.map(x => {
    const around = Array.from({length: 13}, (_, k) => heightAt(terrain.floor, x + k - 6)).sort((p, q) => p - q);
    return around[6];
  });
  const [{low: left0, high: right0}, {low: bottom0, high: top0}] = bounds;
  const clipped = (values, low, high) => values.map((value, f) => Math.min(Math.max(value, low(f)), high(f)));
  const half = Math.round(0.6 * rate);
  let bottom = clipped(ground.map(y => y - below), f => top0[f] + m - h, f => bottom0[f] - below);
  bottom = clipped(smoothed(bottom, half), f => top0[f] + m - h, f => bottom0[f] - m);
  let left = clipped(centre.map(x => x - 0.5 * w), f => right0[f] + m - w, f => left0[f] - m);
  left = clipped(smoothed(left, half), f => right0[f] + m - w, f => left0[f] - m);
  return {left, bottom, scale, width, height, centre};
}

// A moving average; beyond the ends the motion is taken to go on as it came.
function smoothed(values, half) {
  const n = values.length, at = k => {
    if (n === 1) return values[0];
    if (k < 0) return 2 * values[0] - values[Math.min(n - 1, -k)];
    if (k >= n) return 2 * values[n - 1] - values[Math.max(0, 2 * (n - 1) - k)];
    return values[k];
  };
  let sum = 0;
  for (let k = -half; k <= half; k++) sum += at(k);
  return values.map((_, f) => {
    if (f > 0) sum += at(f + half) - at(f - half - 1);
    return sum / (2 * half + 1);
  });
}

// Between frames positions follow a cubic through the four nearest frames.
function poseAt(walk, frame, out) {
  const {joints, frames, positions} = walk;
  const f = Math.max(0, Math.min(frames - 1, frame)), i = Math.min(Math.floor(f), Math.max(0, frames - 2)), s = f - i;
  const row = k => 2 * joints * Math.max(0, Math.min(frames - 1, k));
  const [r0, r1, r2, r3] = [row(i - 1), row(i), row(i + 1), row(i + 2)];
  const [c0, c1, c2, c3] = [((2 - s) * s - 1) * s / 2, ((3 * s - 5) * s * s + 2) / 2, ((4 - 3 * s) * s + 1) * s / 2, (s - 1) * s * s / 2];
  for (let k = 0; k < 2 * joints; k++)
    out[k] = c0 * positions[r0 + k] + c1 * positions[r1 + k] + c2 * positions[r2 + k] + c3 * positions[r3 + k];
  return out;
}

function between(values, frame) {
  const f = Math.max(0, Math.min(values.length - 1, frame)), i = Math.floor(f);
  return i + 1 < values.length ? values[i] + (values[i + 1] - values[i]) * (f - i) : values[i];
}

const roundStep = least => {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map(factor => factor * power).find(step => step >= least * 0.999);
};

// A view: left and bottom in the world, pixels a unit, size in pixels.
function drawWorld(c, terrain, view) {
  const {width, height, scale, left, bottom} = view;
  const sky = c.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, colours["sky-high"]);
  sky.addColorStop(1, colours["sky-low"]);
  c.fillStyle = sky;
  c.fillRect(0, 0, width, height);
  const X = x => (x - left) * scale, Y = y => height - (y - bottom) * scale;
  drawSolid(c, terrain.floor, 1, view, X, Y);
  if (terrain.ceiling) drawSolid(c, terrain.ceiling, -1, view, X, Y);
  const step = roundStep(64 / scale), right = left + width / scale;
  c.strokeStyle = c.fillStyle = colours.surface;
  c.lineWidth = 1.5;
  c.font = "11px system-ui, sans-serif";
  c.textAlign = "center";
  c.textBaseline = "top";
  for (let k = Math.ceil(left / step); k <= right / step; k++) {
    const x = X(k * step), y = Y(heightAt(terrain.floor, k * step));
    c.beginPath(); c.moveTo(x, y); c.lineTo(x, y + 8); c.stroke();
    c.fillText(`${+(k * step).toPrecision(6)}`, x, y + 12);
  }
}

function drawSolid(c, line, inwards, view, X, Y) {
  const {width, height, scale, left, bottom} = view, right = left + width / scale, top = bottom + height / scale;
  const shown = [[left, heightAt(line, left + 1e-9)], ...line.filter(([x]) => x > left && x < right), [right, heightAt(line, right - 1e-9)]];
  const edge = inwards > 0 ? height + 4 : -4;
  c.beginPath();
  c.moveTo(X(left) - 2, edge);
  for (const [x, y] of shown) c.lineTo(X(x), Math.max(-1e5, Math.min(1e5, Y(y))));
  c.lineTo(X(right) + 2, edge);
  c.closePath();
  c.fillStyle = colours.solid;
  c.fill();
  // Strokes at fixed places of the line, clipped to what is solid, so that they stand still while the camera moves.
  c.save();
  c.clip();
  c.strokeStyle = colours.hatch;
  c.lineWidth = 1.3;
  c.beginPath();
  const step = roundStep(9 / scale), reach = 9 / scale;
  for (let i = 0, travelled = 0; i + 1 < line.length; i++) {
    const [[x0, y0], [x1, y1]] = [line[i], line[i + 1]], length = Math.hypot(x1 - x0, y1 - y0);
    const begun = travelled;
    travelled += length;
    if (length === 0 || x1 < left - 2 || x0 > right + 2) continue;
    let [from, to] = [0, length];
    for (const [p0, p1, low, high] of [[x0, x1, left - 2, right + 2], [y0, y1, bottom - 2, top + 2]]) {
      if (p0 === p1) continue;
      const [s, e] = [(low - p0) / (p1 - p0) * length, (high - p0) / (p1 - p0) * length];
      from = Math.max(from, Math.min(s, e)); to = Math.min(to, Math.max(s, e));
    }
    const [tx, ty] = [(x1 - x0) / length, (y1 - y0) / length];
    const [dx, dy] = [inwards * ty - 0.8 * tx, -inwards * tx - 0.8 * ty];
    for (let k = Math.ceil((begun + from) / step); k * step <= begun + to; k++) {
      const s = k * step - begun, x = x0 + tx * s, y = y0 + ty * s;
      c.moveTo(X(x), Y(y)); c.lineTo(X(x + dx * reach), Y(y + dy * reach));
    }
  }
  c.stroke();
  c.restore();
  c.beginPath();
  shown.forEach(([x, y], k) => c[k ? "lineTo" : "moveTo"](X(x), Math.max(-1e5, Math.min(1e5, Y(y)))));
  c.strokeStyle = colours.surface;
  c.lineWidth = 2.4;
  c.lineJoin = "round";
  c.stroke();
}

function drawStart(c, terrain, view, x) {
  const X = (x - view.left) * view.scale, Y = y => view.height - (y - view.bottom) * view.scale;
  const top = terrain.ceiling ? Math.max(0, Y(heightAt(terrain.ceiling, x))) : 0;
  c.save();
  c.setLineDash([7, 7]);
  c.strokeStyle = colours.start;
  c.lineWidth = 1.3;
  c.beginPath(); c.moveTo(X, Y(heightAt(terrain.floor, x))); c.lineTo(X, top); c.stroke();
  c.restore();
}

const JOINT_RADIUS = 0.3;

function drawWalker(c, walk, pose, time, view) {
  const {a, b, active, phase, rest, muscles, joints} = walk, {scale} = view;
  const X = j => (pose[2 * j] - view.left) * scale, Y = j => view.height - (pose[2 * j + 1] - view.bottom) * scale;
  const thickness = scale * 0.42 / (1 + muscles / 70);
  c.lineCap = "round";
  for (const wanted of [0, 1]) // plain ones first: active ones are drawn over them
    for (let m = 0; m < muscles; m++) {
      if (active[m] !== wanted) continue;
      let width = 0.55, colour;
      if (wanted) {
        const drive = Math.sin(store.data.walks.drive_rate * time + phase[m]);
        colour = mixed(colours["neutral-rgb"], colours[drive > 0 ? "lengthens-rgb" : "shortens-rgb"], Math.abs(drive));
        width = 1 - 0.35 * drive;
      } else {
        const length = Math.hypot(pose[2 * a[m]] - pose[2 * b[m]], pose[2 * a[m] + 1] - pose[2 * b[m] + 1]);
        colour = mixed(colours["plain-rgb"], colours["strained-rgb"], Math.min(1, 5 * Math.abs(length / Math.max(rest[m], 1e-6) - 1)));
      }
      c.strokeStyle = colour;
      c.lineWidth = Math.max(1.2, thickness * width);
      c.beginPath(); c.moveTo(X(a[m]), Y(a[m])); c.lineTo(X(b[m]), Y(b[m])); c.stroke();
    }
  const radius = Math.max(1.8, JOINT_RADIUS * scale);
  for (const [size, colour] of [[radius, colours.joint], [0.45 * radius, colours.core]]) {
    c.fillStyle = colour;
    c.beginPath();
    for (let j = 0; j < joints; j++) { c.moveTo(X(j) + size, Y(j)); c.arc(X(j), Y(j), size, 0, 2 * Math.PI); }
    c.fill();
  }
}

// Lines on a translucent sheet in the upper left corner.
function drawCaption(c, lines) {
  c.textAlign = "left";
  c.textBaseline = "top";
  const fonts = lines.map(([, size, weight]) => `${weight || 400} ${size}px system-ui, sans-serif`);
  const width = Math.max(...lines.map(([words], k) => { c.font = fonts[k]; return c.measureText(words).width; }));
  const height = lines.reduce((sum, [, size]) => sum + size + 5, 0);
  c.fillStyle = colours.veil;
  c.beginPath(); c.roundRect(8, 8, width + 18, height + 9, 6); c.fill();
  let y = 14;
  lines.forEach(([words, size], k) => {
    c.font = fonts[k];
    c.fillStyle = colours.ink;
    c.fillText(words, 17, y);
    y += size + 5;
  });
}
