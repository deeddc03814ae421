// What moves z: pointer, keys, sliders, buttons.  All that comes before is used; here the page begins.
const sliders = new Map();
function buildLatents() {
  if (Z < 3) return;
  $("latents").hidden = false;
  const order = [...Array(Z).keys()].sort((a, b) => (spec.kl ? spec.kl[b] - spec.kl[a] : 0) || a - b);
  const said = j => name(j) + (spec.kl ? ` (${spec.kl[j].toFixed(1)} nats)` : "");
  for (const [id, chosen] of [["across", across], ["up", up]]) {
    $(id).replaceChildren(...order.map(j => new Option(said(j), j, j === chosen, j === chosen)));
  }
  sliders.clear();
  const rest = order.filter(j => j !== across && j !== up), first = rest.filter((j, n) => n < 8 && (!spec.kl || spec.kl[j] >= 0.01));
  $("sliders").replaceChildren(...first.map(slider));
  $("more-sliders").replaceChildren(...rest.filter(j => !first.includes(j)).map(slider));
  $("more").hidden = first.length === rest.length;
  $("more").firstChild.textContent = `${rest.length - first.length} more, which say less`;
}
function slider(j) {
  const line = Object.assign(document.createElement("label"), {className: "latent"}), output = document.createElement("output");
  const input = Object.assign(document.createElement("input"), {type: "range", id: `latent-${j}`,
    min: mid(j) - 4 * unit(j), max: mid(j) + 4 * unit(j), step: 0.05 * unit(j)});
  input.setAttribute("aria-label", `latent ${j + 1}`);
  input.addEventListener("input", () => move(moved(j, +input.value)));
  line.append(name(j), input, output);
  sliders.set(j, {input, output});
  return line;
}
function turn() {                                            // another plane through the same z
  const [a, b] = [+$("across").value, +$("up").value];
  [across, up] = a === b ? [up, across] : [a, b];            // the same twice: swap them
  view();
  buildLatents();
  renewMosaic();
  renewGround();
}
function buildStrip() {
  for (let i = 0; i < STEPS; i++) {
    const button = document.createElement("button");
    button.append(canvas(width, height));
    button.setAttribute("aria-label", `image ${i + 1} of ${STEPS} from A to B`);
    button.addEventListener("click", () => { play(false); move(mix(i / (STEPS - 1)), i / (STEPS - 1)); });
    strip.push(button);
  }
  $("strip").append(...strip);
}
function buildLegend() {
  $("points-label").hidden = !spec.points;
  $("legend").append(...spec.classes.map((label, k) => {
    const button = Object.assign(document.createElement("button"), {textContent: label});
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!hidden.delete(k)) hidden.add(k);
      button.setAttribute("aria-pressed", String(!hidden.has(k)));
      renewGround();
    });
    return button;
  }));
}

let playing = 0, direction = 1;
function play(on) {
  cancelAnimationFrame(playing);
  clearTimeout(playing);
  playing = 0;
  $("play").setAttribute("aria-pressed", String(on));
  $("play").textContent = on ? "Pause" : "Play";
  if (!on) return;
  let now = t ?? 0, last = performance.now();
  const turnBack = () => { if (now >= 1 || now <= 0) { now = clamp(now, 0, 1); direction = now > 0.5 ? -1 : 1; } };
  if (still.matches) {                                       // image by image
    const step = () => { now += direction / (STEPS - 1); turnBack(); move(mix(now), now); playing = setTimeout(step, 900); };
    playing = setTimeout(step, 300);
    return;
  }
  const frame = time => { now += direction * Math.max(0, time - last) / 3500; last = time; turnBack(); move(mix(now), now);
    playing = requestAnimationFrame(frame); };
  playing = requestAnimationFrame(frame);
}
function setEnd(end) { end.set(z); t = null; renewStrip(); }
const actions = {
  random: () => move(drawFrom(prior)),
  reset: () => move(Float32Array.from(prior.mean)),
  "set-a": () => setEnd(A), "set-b": () => setEnd(B), play: () => play(!playing),
};
const keys = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};
const letters = {r: "random", Home: "reset", a: "set-a", b: "set-b", " ": "play"};

function listen() {
  const to = event => {
    const box = map.getBoundingClientRect(), w = box.width - margin.left - margin.right;
    const at = (v, low) => clamp(2 * (v - low) / w - 1, -1, 1) * R;
    move(moved(across, centre[across] + at(event.clientX, box.left + margin.left), up,
      centre[up] - at(event.clientY, box.top + margin.top)));
  };
  map.addEventListener("pointerdown", event => { if (event.button === 0) { map.setPointerCapture(event.pointerId); to(event); } });
  map.addEventListener("pointermove", event => { if (map.hasPointerCapture(event.pointerId)) to(event); });
  map.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key, by = (event.shiftKey ? 0.5 : 0.1) * planeUnit();
    if (keys[key]) move(moved(across, inPlane(across, z[across] + by * keys[key][0]), up, inPlane(up, z[up] + by * keys[key][1])));
    else if (letters[key]) actions[letters[key]]();
    else return;
    event.preventDefault();
  });
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
  for (const id of ["show-images", "show-points"]) $(id).addEventListener("change", renewGround);
  for (const id of ["across", "up"]) $(id).addEventListener("change", turn);
  $("t").addEventListener("input", () => { play(false); move(mix(+$("t").value), +$("t").value); });
  new ResizeObserver(resize).observe(map);
  addEventListener("resize", resize);                        // a window on another screen has another ratio
  dark.addEventListener("change", renewAll);
  try {
    if (book) new MutationObserver(renewAll).observe(book, {attributes: true, attributeFilter: ["data-theme"]});
    const frame = window.frameElement;                       // as tall as it needs to be
    if (frame) new ResizeObserver(() => { frame.style.height = `${root.offsetHeight + 4}px`; }).observe(root);
  } catch { /* another site */ }
}
function renewAll() { chooseTheme(); readColours(); renewMosaic(); renewGround(); renewStrip(); }

// ── and go ────────────────────────────────────────────────────────────────────────────────────

Object.assign($("image"), {width, height});
if (Z > 2) $("lede").textContent = `Two of the ${Z} latents span this plane, sliders hold the others, and the decoder makes an ` +
  "image of z. Drag.";
if (spec.prior) {
  $("dashed").textContent = "dashed: 95% of each component of the prior";
  $("reset").title = "to the prior's mean (Home)";
  $("home").textContent = "to the prior's mean";
}
buildLegend();
readColours();
check();
buildLatents();
buildStrip();
z.set(begin);
listen();
resize();
renewStrip();
renewMosaic();
