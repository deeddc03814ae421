// The decoder: p(x|z) of a trained VAE, as minivae computes it.  steps.js comes before; nothing here knows of the page.

// What the outputs say of a pixel: E[x|z].
const MEANS = {
  bernoulli: () => (outputs, i) => 1 / (1 + Math.exp(-outputs[i])),
  gaussian: () => (outputs, i) => outputs[i],
  logistic: ({logscale}, pixels) => (outputs, i) => {          // s (softplus(μ/s) − softplus((μ − 1)/s))
    const s = Math.exp(logscale ?? outputs[pixels + i]), m = outputs[i];
    return s * (softplus(m / s) - softplus((m - 1) / s));
  },
};

// The parts of the page's data, by name: whole numbers as Int32Array, others as Float32Array.
async function unpack(text, parts) {
  const packed = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer()), found = {};
  for (const {name, kind, count, at} of parts) {
    if (kind === "float32") { found[name] = new Float32Array(bytes.slice(at, at + 4 * count).buffer); continue; }
    const whole = found[name] = new Int32Array(count), rest = at + (kind === "pairs" ? (count + 1) >> 1 : count);
    for (let i = 0; i < count; i++) {
      const folded = kind === "pairs" ? ((bytes[at + (i >> 1)] >> (i & 1 ? 4 : 0)) & 15) | (bytes[rest + i] << 4)
        : bytes[at + i] | (bytes[rest + i] << 8);
      whole[i] = (folded >> 1) ^ -(folded & 1);                // zigzag: 0, −1, 1, −2, … are 0, 1, 2, 3, …
    }
  }
  return found;
}

class Decoder {
  constructor(spec, found) {
    this.latents = spec.latents;
    this.pixels = count(spec.shape);
    this.steps = spec.steps.map((said, i) => {
      const arrays = {b: found[`b${i}`], scale: found[`scale${i}`], shift: found[`shift${i}`]};
      if (found[`W${i}`]) arrays.W = weights(found[`W${i}`], said, found[`octaves${i}`], spec.rounding.per_octave);
      return KINDS[said.kind](said, arrays);
    });
    this.mean = MEANS[spec.mean.name](spec.mean, this.pixels);
    this.scale = spec.mean.scale;                              // from the data's units to ink
    this.shift = spec.mean.shift;
    this.image = new Float32Array(this.pixels);
    this.times = [];                                           // ms of the last decodes
  }

  // E[x|z] as ink, (X), 0 … 1: the same array at every call
  decode(z) {
    const begun = performance.now();
    let x = z;
    for (const step of this.steps) x = step(x);
    for (let i = 0; i < this.pixels; i++) this.image[i] = this.shift + this.scale * this.mean(x, i);
    this.times.push(performance.now() - begun);
    if (this.times.length > 64) this.times.shift();
    return this.image;
  }

  get milliseconds() { return [...this.times].sort((a, b) => a - b)[this.times.length >> 1]; }

  // The largest difference from the library's images for the same latents.
  largestDifference(z, images) {
    let largest = 0;
    for (let n = 0; n * this.latents < z.length; n++) {
      const image = this.decode(z.subarray(n * this.latents, (n + 1) * this.latents));
      image.forEach((pixel, i) => { largest = Math.max(largest, Math.abs(pixel - images[n * this.pixels + i])); });   // or NaN
    }
    return largest;
  }
}
