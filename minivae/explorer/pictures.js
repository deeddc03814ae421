// What the page shows: the image of z, the map, and the strip between A and B.  state.js comes before.
function paint(context, image, left = 0, top = 0) {
  const data = context.createImageData(width, height), pixels = new Uint32Array(data.data.buffer);
  const level = i => clamp(255 * image[i] + 0.5, 0, 255) | 0;
  if (channels === 1) for (let i = 0; i < pixels.length; i++) pixels[i] = grey[level(i)];
  else for (let i = 0; i < pixels.length; i++) data.data.set([level(3 * i), level(3 * i + 1), level(3 * i + 2), 255], 4 * i);
  context.putImageData(data, left, top);
}
const canvas = (w, h) => Object.assign(document.createElement("canvas"), {width: w, height: h});

// the mosaic: the decoder's images evenly over the plane, a few in every frame, scattered, so that it comes up as one
const columns = Math.round(17 * Math.sqrt(height / width)), rows = Math.round(17 * Math.sqrt(width / height));
const mosaic = canvas(columns * width, rows * height), tiles = mosaic.getContext("2d");
let todo = 0, working = false;
function renewMosaic() {
  todo = columns * rows;
  if (!working) { working = true; requestAnimationFrame(tile); }
}
function tile() {
  for (const begun = performance.now(); todo > 0 && performance.now() - begun < 8;) {
    const k = (--todo * 101) % (columns * rows), c = k % columns, r = Math.floor(k / columns);
    const x = centre[across] + (2 * (c + 0.5) / columns - 1) * R, y = centre[up] + (1 - 2 * (r + 0.5) / rows) * R;
    paint(tiles, decoder.decode(moved(across, x, up, y)),
          c * width, r * height);
  }
  renewGround();
  working = todo > 0;
  if (working) requestAnimationFrame(tile);
}

// the map: its ground (mosaic, test images, axes) is kept, and z, A and B are drawn over it
const map = $("map"), ground = canvas(1, 1), margin = {left: 30, right: 1, top: 1, bottom: 28};
let side = 0, ratio = 1;                                     // CSS pixels; device pixels for each
const X = v => margin.left + ((v - centre[across]) / R + 1) / 2 * (side - margin.left - margin.right);
const Y = v => side - margin.bottom - ((v - centre[up]) / R + 1) / 2 * (side - margin.top - margin.bottom);
const corners = () => [X(centre[across] - R), Y(centre[up] + R), X(centre[across] + R), Y(centre[up] - R)];

function resize() {
  side = map.clientWidth;
  ratio = window.devicePixelRatio || 1;
  for (const c of [map, ground]) c.width = c.height = Math.round(side * ratio);
  renewGround();
}
function renewGround() {
  const g = ground.getContext("2d"), points = spec.points > 0 && $("show-points").checked;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, side, side);
  g.save();
  g.beginPath();
  const [left, top, right, bottom] = corners();
  g.rect(left, top, right - left, bottom - top);
  g.clip();
  if ($("show-images").checked) {
    g.globalAlpha = points ? (photo ? 0.45 : 0.3) : 1;
    g.imageSmoothingQuality = "high";
    g.drawImage(mosaic, left, top, right - left, bottom - top);
    g.globalAlpha = 1;
  }
  drawPrior(g);
  if (points) drawPoints(g);
  g.restore();
  drawAxes(g);
  draw();
}
function drawPrior(g) {                                      // in a plane P(|z − m|/σ < r) = 1 − exp(−r²/2): 95% of a component
  const r = Math.sqrt(-2 * Math.log(0.05)) * (X(centre[across] + R) - X(centre[across])) / R;
  const largest = prior.pi.reduce((a, b) => Math.max(a, b)), together = Math.min(1, 40 / prior.components);
  g.strokeStyle = colours.quiet;
  g.setLineDash([4, 4]);
  for (let k = 0; k < prior.components; k++) {
    const [x, y] = [across, up].map(j => prior.means[k * Z + j]), [s, t] = [across, up].map(j => prior.stds[k * Z + j]);
    g.globalAlpha = together * (0.15 + 0.85 * Math.min(1, 2 * prior.pi[k] / largest));      // rare: faint; many: a haze
    g.beginPath();
    g.ellipse(X(x), Y(y), r * s, r * t, 0, 0, 7);
    g.stroke();
  }
  g.setLineDash([]);
  g.globalAlpha = 1;
}
function drawPoints(g) {
  const radius = clamp(side / 260, 1.6, 2.4);
  g.globalAlpha = 0.8;
  for (let n = 0; n < spec.points; n++) {
    if (hidden.has(found.labels[n])) continue;
    g.fillStyle = classColours[found.labels[n]];
    g.beginPath();
    g.arc(X(code(n, across)), Y(code(n, up)), radius, 0, 7);
    g.fill();
  }
  g.globalAlpha = 1;
  g.font = `650 ${side < 400 ? 14 : 16}px system-ui, sans-serif`;
  g.textAlign = "center"; g.textBaseline = "middle"; g.lineWidth = 5; g.lineJoin = "round"; g.strokeStyle = colours.paper;
  for (const {label, k, x, y} of spec.classes.length <= 20 ? medians(across, up) : []) {
    if (hidden.has(k)) continue;
    g.fillStyle = classColours[k];
    g.strokeText(label, X(x), Y(y));
    g.fillText(label, X(x), Y(y));
  }
}
function drawAxes(g) {
  g.strokeStyle = colours.line; g.lineWidth = 1;
  const [left, top, right, bottom] = corners();
  g.strokeRect(left, top, right - left, bottom - top);
  g.fillStyle = colours.quiet; g.font = "12px system-ui, sans-serif";
  const step = tick(2 * R / 10.5), digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  g.textAlign = "center"; g.textBaseline = "top";
  for (const v of ticks(across, step)) if (X(v) < right - 24) g.fillText(number(v, digits), X(v), bottom + 6);     // there z₁ is
  g.textAlign = "right"; g.textBaseline = "middle";
  for (const v of ticks(up, step)) if (Y(v) > top + 18) g.fillText(number(v, digits), left - 6, Y(v));
  g.font = "italic 14px system-ui, sans-serif"; g.fillStyle = colours.ink;
  g.textAlign = "right"; g.textBaseline = "alphabetic"; g.fillText(name(across), right, bottom + 17);
  g.textBaseline = "top"; g.fillText(name(up), left - 6, top);
}
const tick = least => {                                      // 1, 2 or 5 times a power of ten, the next from `least` up
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find(n => n * power >= least - 1e-9);
};
const ticks = (j, step) => {
  const first = Math.ceil((centre[j] - R) / step - 1e-9), last = Math.ceil((centre[j] + R) / step - 1e-9);
  return Array.from({length: last - first}, (_, n) => (first + n) * step);
};
function drawOver(g) {
  g.setTransform(1, 0, 0, 1, 0, 0);
  g.clearRect(0, 0, map.width, map.height);
  g.drawImage(ground, 0, 0);
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  const at = v => [X(inPlane(across, v[across])), Y(inPlane(up, v[up]))];
  const halo = (colour, wide) => { g.lineWidth = wide + 3; g.strokeStyle = colours.paper; g.stroke();
    g.lineWidth = wide; g.strokeStyle = colour; g.stroke(); };
  g.beginPath(); g.moveTo(...at(A)); g.lineTo(...at(B)); halo(colours.accent, 1.5);
  g.font = "650 12px system-ui, sans-serif"; g.textAlign = "center"; g.textBaseline = "middle";
  for (const [end, letter] of [[A, "A"], [B, "B"]]) {
    g.beginPath(); g.arc(...at(end), 9, 0, 7); g.fillStyle = colours.paper; g.fill(); halo(colours.accent, 1.5);
    g.fillStyle = colours.accent; g.fillText(letter, at(end)[0], at(end)[1] + 0.5);
  }
  const onEnd = [A, B].some(end => Math.hypot(at(end)[0] - at(z)[0], at(end)[1] - at(z)[1]) < 4);
  g.beginPath(); g.arc(...at(z), onEnd ? 12.5 : 8, 0, 7); halo(colours.ink, 2.5);
  if (onEnd) return;                                         // its letter is the middle
  g.beginPath(); g.arc(...at(z), 2.5, 0, 7); g.fillStyle = colours.paper; g.fill(); g.lineWidth = 1.5; g.strokeStyle = colours.ink; g.stroke();
}

// the strip between A and B
const STEPS = 9, strip = [];
function renewStrip() {
  strip.forEach((button, i) => paint(button.firstChild.getContext("2d"), decoder.decode(mix(i / (STEPS - 1)))));
  draw();
}

// everything that shows z, once in a frame
let asked = false, spoken = 0;
function draw() {
  if (!asked) { asked = true; requestAnimationFrame(show); }
}
function show() {
  asked = false;
  paint($("image").getContext("2d"), decoder.decode(z));
  root.dataset.decodeMs = decoder.milliseconds.toFixed(2);
  drawOver(map.getContext("2d"));
  const said = [across, up].map(j => `${name(j)} = ${number(z[j])}`);
  $("readout").replaceChildren(...said.map(text => Object.assign(document.createElement("span"), {textContent: text})));
  $("time").textContent = `decoded in ${number(decoder.milliseconds, 1)} ms`;
  sliders.forEach(({input, output}, j) => { input.value = z[j]; output.textContent = number(z[j]); });
  if (t !== null) $("t").value = t;
  strip.forEach((button, i) => button.setAttribute("aria-current", t !== null && Math.round(t * (STEPS - 1)) === i));
  clearTimeout(spoken);
  spoken = setTimeout(() => { $("status").textContent = said.join(", "); }, 400);       // a screen reader hears where z came to rest
}
