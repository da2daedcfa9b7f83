// Packed data: base64, DEFLATE, and walks as elm_rl/report/viewer/walks.py writes them.

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflated(bytes, format) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpackJson(base64) {
  return JSON.parse(new TextDecoder().decode(await inflated(bytesOf(base64), "gzip")));
}

// Returns joints, frames, muscles (a, b, active, phase), rest lengths, and positions: x and y of all joints, frame by frame.
async function decodeWalk(base64, format) {
  const raw = await inflated(bytesOf(base64), "deflate-raw");
  const view = new DataView(raw.buffer);
  const joints = view.getUint16(0, true), muscles = view.getUint16(2, true), frames = view.getUint16(4, true);
  let at = 6;
  const column = () => raw.subarray(at, at += muscles);
  const [a, b, active, turns] = [column(), column(), column(), column()];
  const placed = new Float64Array(2 * joints);
  for (let i = 0; i < 2 * joints; i++, at += 2) placed[i] = view.getInt16(at, true);
  const first = new Int32Array(2 * joints);
  for (let i = 0; i < 2 * joints; i++, at += 2) first[i] = view.getInt16(at, true);
  const positions = new Float32Array(frames * joints * 2);
  let large = at + 2 * joints * (frames - 1);
  for (let row = 0; row < 2 * joints; row++) {
    const axis = row < joints ? 0 : 1, joint = row % joints;
    let value = first[row], change = 0;
    positions[2 * joint + axis] = value * format.step;
    for (let frame = 1; frame < frames; frame++) {
      let code = raw[at++];
      if (code === 255) { code += view.getUint32(large, true); large += 4; }
      change += code & 1 ? -(code + 1) / 2 : code / 2;
      value += change;
      positions[2 * (frame * joints + joint) + axis] = value * format.step;
    }
  }
  const rest = new Float64Array(muscles), phase = new Float64Array(muscles);
  for (let m = 0; m < muscles; m++) {
    rest[m] = format.step * Math.hypot(placed[a[m]] - placed[b[m]], placed[joints + a[m]] - placed[joints + b[m]]);
    phase[m] = 2 * Math.PI * turns[m] / 256;
  }
  return {joints, frames, muscles, a, b, active, phase, rest, positions, seconds: (frames - 1) / format.frame_rate};
}
