// What the page knows: its colours, the decoder, and where z is.  decoder.js comes before.
const $ = id => document.getElementById(id);
const spec = JSON.parse($("spec").textContent), [height, width, channels = 1] = spec.shape, Z = spec.latents;
const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
const number = (v, digits = 2) => v.toFixed(digits).replace("-", "−").replace(/^−(0\.0+)$/, "$1");
const power = v => v.toExponential(0).replace(/e([-+])(\d+)/, (_, sign, n) =>
  ` × 10${sign === "-" ? "⁻" : ""}${n.replace(/\d/g, d => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d])}`);
const name = j => "z" + String(j + 1).replace(/\d/g, d => "₀₁₂₃₄₅₆₇₈₉"[d]);
const still = matchMedia("(prefers-reduced-motion: reduce)");

// ── colours, of the theme that theme.js chose ──────────────────────────────────────────────────────

const colours = {}, grey = new Uint32Array(256);
let classColours = [];
function readColours() {
  const style = getComputedStyle(root);
  for (const key of ["paper", "ink", "quiet", "line", "accent"]) colours[key] = style.getPropertyValue(`--${key}`).trim();
  const night = root.dataset.theme === "dark";
  const rgb = c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16));
  const [from, to] = photo ? [[0, 0, 0], [255, 255, 255]] : [rgb(colours.paper), rgb(night ? colours.ink : "#000000")];
  const bytes = new Uint8ClampedArray(grey.buffer);          // pixel 0 … 1: paper … ink, or for photographs black … white
  for (let i = 0; i < 256; i++) bytes.set([...from.map((a, k) => a + (to[k] - a) * i / 255), 255], 4 * i);
  classColours = spec.colours.map(c => c === "#000000" ? colours.ink : night ? lighter(rgb(c)) : c);
  [...$("legend").children].forEach((button, k) => button.style.setProperty("--class", classColours[k]));
}
const lighter = c => `rgb(${c.map(v => Math.round(v + 0.3 * (255 - v))).join(" ")})`;

// ── the decoder, and whether it says what minivae says ──────────────────────────────────────────

const found = await unpack($("data").textContent, spec.parts).catch(error => {
  root.dataset.check = "failed";
  $("check").textContent = `This browser cannot unpack the decoder (${error.message}); one from 2023 or later can.`;
  throw error;
});
const decoder = new Decoder(spec, found);
const photo = found.images.slice().sort()[found.images.length >> 1] > 0.25;      // mostly empty images are ink on paper

function check() {
  const largest = decoder.largestDifference(found.z, found.images), passed = largest <= spec.agree, r = spec.rounding;
  root.dataset.check = passed ? "passed" : "failed";
  const sizes = [Z, ...spec.steps.filter(step => step.step).map(step => step.to.join("×"))].join("→");
  $("check").textContent = `Check ${passed ? "passed" : "FAILED"}: ${found.z.length / Z} images decoded here and by minivae ` +
    `differ by at most ${power(largest)} (${spec.agree} is allowed). The decoder, ${sizes}, has its ` +
    `${r.weights.toLocaleString("en")} weights rounded to ${r.bits.toFixed(1)} bits each, which moves a pixel by ${r.mean.toPrecision(1)} on average, ` +
    `by ${r.largest.toPrecision(1)} at most.`;
}

// ── where z is ────────────────────────────────────────────────────────────────────────────────

const z = new Float32Array(Z);
let [across, up] = spec.plane, t = null;                     // t: how far from A to B, if z is between them
const scale = 1 / (spec.per_unit ?? 1), code = (n, j) => found.codes[n * Z + j] * scale;
const hidden = new Set();                                    // classes that are not shown
const prior = priorOf(spec, found), mid = j => middleOf(prior, j), unit = j => unitOf(prior, j);

// The plane is a square about the middle of the prior, of ±R; R in units of the wider of its two latents.
let centre, R, reach = 3;
function view() {
  centre = {[across]: mid(across), [up]: mid(up)};
  R = reach * planeUnit();
}
const planeUnit = () => Math.max(unit(across), unit(up));
for (let n = 0, far = []; n < spec.points; n++) {
  far.push(Math.max(...[across, up].map(j => Math.abs(code(n, j) - mid(j)))) / planeUnit());
  if (n === spec.points - 1) reach = clamp(Math.ceil(2 * far.sort((a, b) => a - b)[Math.floor(0.995 * n)]) / 2, 3, 5);
}
view();
const [A, B, begin] = places();

// A, B and z before anybody chooses them: test images in the middle of two classes far apart, and of one far from both.
function places() {
  const [i, j] = spec.plane, centres = medians(i, j), apart = (p, q) => Math.hypot(p.x - q.x, p.y - q.y);
  const last = (list, key) => list.reduce((p, q) => (key(q) > key(p) ? q : p));
  if (centres.length < 2) return [[-1.5, -0.5], [1.5, 0.5], [0, 0]].map(([x, y]) =>
    Float32Array.from({length: Z}, (_, l) => mid(l) + (l === i ? x * unit(l) : l === j ? y * unit(l) : 0)));
  const [a, b] = last(centres.flatMap(p => centres.map(q => [p, q])), pair => apart(...pair));
  return [a, b, last(centres, c => Math.min(apart(a, c), apart(b, c)))].map(c => middle(c, i, j));
}
function medians(i, j) {
  if (!spec.points || !spec.classes.length) return [];
  const median = v => v.sort((a, b) => a - b)[v.length >> 1], s = 1 / spec.per_unit;
  return spec.classes.map((label, k) => {
    const of = [...found.labels.keys()].filter(n => found.labels[n] === k);
    return {label, k, x: median(of.map(n => found.codes[n * Z + i] * s)), y: median(of.map(n => found.codes[n * Z + j] * s))};
  });
}
function middle({x, y, k}, i, j) {                           // the test image of class k nearest to its median
  let best = Infinity, at = 0;
  const s = 1 / spec.per_unit;
  found.labels.forEach((label, n) => {
    const d = Math.hypot(found.codes[n * Z + i] * s - x, found.codes[n * Z + j] * s - y);
    if (label === k && d < best) { best = d; at = n; }
  });
  return Float32Array.from({length: Z}, (_, l) => found.codes[at * Z + l] * s);
}

function move(to, along = null) {
  const others = to.some((v, j) => j !== across && j !== up && v !== z[j]);
  z.set(to);
  t = along;
  if (along === null) play(false);
  if (others) renewMosaic();
  draw();
}
const moved = (j, v, other, w) => { const to = z.slice(); to[j] = v; if (other !== undefined) to[other] = w; return to; };
const mix = s => A.map((a, j) => a + (B[j] - a) * s);
const inPlane = (j, v) => clamp(v, centre[j] - R, centre[j] + R);
