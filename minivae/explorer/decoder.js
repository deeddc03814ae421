// The decoder: p(x|z) of a trained VAE, as minivae computes it.  Nothing here knows of the page.

// z (Z) -> h₁ -> … -> outputs: each layer is h W + b, with an activation after all but the last.
const ACTIVATIONS = {
  relu: () => a => (a > 0 ? a : 0),
  leaky_relu: ({slope = 0.01}) => a => (a > 0 ? a : slope * a),
  elu: ({alpha = 1}) => a => (a > 0 ? a : alpha * Math.expm1(a)),
  gelu: () => a => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a * a * a))),
  tanh: () => Math.tanh,
  sigmoid: () => a => 1 / (1 + Math.exp(-a)),
  softplus: () => softplus,
};

const softplus = a => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));

// What the outputs say of a pixel: E[x|z].
const MEANS = {
  bernoulli: () => (outputs, i) => 1 / (1 + Math.exp(-outputs[i])),
  gaussian: () => (outputs, i) => outputs[i],
  logistic: ({logscale}, pixels) => (outputs, i) => {          // s (softplus(μ/s) − softplus((μ − 1)/s))
    const s = Math.exp(logscale ?? outputs[pixels + i]), m = outputs[i];
    return s * (softplus(m / s) - softplus((m - 1) / s));
  },
};

// The parts of the page's data, by name: whole numbers (zigzag, low bytes first) as Int32Array, others as Float32Array.
async function unpack(text, parts) {
  const packed = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer()), found = {};
  for (const {name, kind, count, at} of parts) {
    if (kind === "float32") { found[name] = new Float32Array(bytes.slice(at, at + 4 * count).buffer); continue; }
    const whole = found[name] = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      const folded = bytes[at + i] | (bytes[at + count + i] << 8);
      whole[i] = (folded >> 1) ^ -(folded & 1);
    }
  }
  return found;
}

class Decoder {
  constructor(spec, found) {
    this.pixels = spec.shape[0] * spec.shape[1];
    this.layers = spec.layers.map(({inputs, outputs, step}, i) => ({
      inputs, outputs, W: Float32Array.from(found[`W${i}`], q => q * step), b: found[`b${i}`],
      h: new Float32Array(outputs),                            // what comes out, in the same memory each time
      f: i < spec.activations.length ? ACTIVATIONS[spec.activations[i].name](spec.activations[i]) : null,
    }));
    this.mean = MEANS[spec.mean.name](spec.mean, this.pixels);
    this.image = new Float32Array(this.pixels);
    this.times = [];                                           // ms of the last decodes
  }

  // E[x|z], (X): the same array at every call
  decode(z) {
    const begun = performance.now();
    let x = z;
    for (const {inputs, outputs, W, b, h, f} of this.layers) {
      h.set(b);
      for (let i = 0, row = 0; i < inputs; i++, row += outputs) {
        const xi = x[i];
        if (xi !== 0) for (let j = 0; j < outputs; j++) h[j] += xi * W[row + j];         // a relu's zeros cost nothing
      }
      if (f) for (let j = 0; j < outputs; j++) h[j] = f(h[j]);
      x = h;
    }
    for (let i = 0; i < this.pixels; i++) this.image[i] = this.mean(x, i);
    this.times.push(performance.now() - begun);
    if (this.times.length > 64) this.times.shift();
    return this.image;
  }

  get milliseconds() { return [...this.times].sort((a, b) => a - b)[this.times.length >> 1]; }

  // The largest difference from the library's images for the same latents.
  largestDifference(z, images) {
    const Z = this.layers[0].inputs;
    let largest = 0;
    for (let n = 0; n * Z < z.length; n++) {
      const image = this.decode(z.subarray(n * Z, (n + 1) * Z));
      image.forEach((pixel, i) => { largest = Math.max(largest, Math.abs(pixel - images[n * this.pixels + i])); });   // or NaN
    }
    return largest;
  }
}
