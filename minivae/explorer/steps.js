// One function for each kind of step of a decoder: from what the page says of it and its arrays to a function x -> y,
// whose y lies in the same memory each time.  An image is a row of numbers, pixel by pixel, its channels side by side.

const softplus = a => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));
const ACTIVATIONS = {
  relu: () => a => (a > 0 ? a : 0),
  leaky_relu: ({slope = 0.01}) => a => (a > 0 ? a : slope * a),
  elu: ({alpha = 1}) => a => (a > 0 ? a : alpha * Math.expm1(a)),
  gelu: () => a => 0.5 * a * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (a + 0.044715 * a * a * a))),
  tanh: () => Math.tanh,
  sigmoid: () => a => 1 / (1 + Math.exp(-a)),
  softplus: () => softplus,
};
const count = shape => shape.reduce((n, side) => n * side, 1);

// y[at + j] += Σₘ values[m] W[rows[m] + j] for j < length: four m at a time, for y is read and written but once for them.
function add(y, at, length, W, rows, values, count) {
  let m = 0;
  for (; m + 4 <= count; m += 4) {
    const p = rows[m], q = rows[m + 1], r = rows[m + 2], s = rows[m + 3];
    const a = values[m], b = values[m + 1], c = values[m + 2], d = values[m + 3];
    for (let j = 0; j < length; j++) y[at + j] += a * W[p + j] + b * W[q + j] + c * W[r + j] + d * W[s + j];
  }
  for (; m < count; m++) for (let j = 0, p = rows[m], a = values[m]; j < length; j++) y[at + j] += a * W[p + j];
}

const KINDS = {
  reshape: () => x => x,                                       // the same numbers, in the same order
  planes: ({from: [height, width, channels], n}) => {           // each pixel's first C channels, then the next C, …
    const y = new Float32Array(height * width * channels), C = channels / n;
    return x => {
      for (let m = 0, at = 0; m < n; m++) for (let p = 0; p < height * width; p++) for (let c = 0; c < C; c++) {
        y[at++] = x[p * channels + m * C + c];
      }
      return y;
    };
  },
  activation: said => {
    const y = new Float32Array(count(said.to)), f = ACTIVATIONS[said.name](said);
    return x => { for (let i = 0; i < y.length; i++) y[i] = f(x[i]); return y; };
  },
  normalise: ({to}, {scale, shift}) => {                       // each channel by itself
    const y = new Float32Array(count(to)), C = scale.length;
    return x => { for (let i = 0; i < y.length; i++) y[i] = x[i] * scale[i % C] + shift[i % C]; return y; };
  },
  linear: ({from: [inputs], to: [outputs]}, {W, b}) => {       // y = x W + b
    const y = new Float32Array(outputs), rows = new Int32Array(inputs), values = new Float32Array(inputs);
    return x => {
      let n = 0;
      for (let i = 0; i < inputs; i++) if (x[i] !== 0) { rows[n] = i * outputs; values[n++] = x[i]; }   // a relu's zeros cost nothing
      y.set(b);
      add(y, 0, outputs, W, rows, values, n);
      return y;
    };
  },
  // y[s i + t − p, s j + u − p] += x[i, j, f] W[t, u, :, f]: every number of x lays down a patch of k×k pixels, and
  // patches add up.  A row of a patch is k·C numbers side by side, cut off where it leaves the image.
  conv_transpose2d: ({from: [height, columns, F], to: [H, width, C], kernel: k, stride: s, padding: p}, {W, b}) => {
    const y = new Float32Array(H * width * C), run = k * C, taps = new Float32Array(W.length);
    for (let n = 0; n < k * run; n++) for (let f = 0; f < F; f++) taps[f * k * run + n] = W[n * F + f];
    const live = new Int32Array(F), values = new Float32Array(F), rows = new Int32Array(F);
    return x => {
      for (let n = 0; n < y.length; n += C) y.set(b, n);
      for (let i = 0; i < height; i++) for (let j = 0; j < columns; j++) {
        const first = s * i - p, left = s * j - p, from = Math.max(0, -left) * C, to = Math.min(k, width - left) * C;
        let count = 0;
        for (let f = 0, at = (i * columns + j) * F; f < F; f++) if (x[at + f] !== 0) { live[count] = f; values[count++] = x[at + f]; }
        for (let t = Math.max(0, -first); t < k && first + t < H; t++) {
          for (let m = 0; m < count; m++) rows[m] = (live[m] * k + t) * run + from;
          add(y, ((first + t) * width + left) * C + from, to - from, taps, rows, values, count);
        }
      }
      return y;
    };
  },
  // y[i, j] = Σ x[s i + t − p, s j + u − p, c] W[t, u, c, :]
  conv2d: ({from: [H, width, C], to: [height, columns, F], kernel: k, stride: s, padding: p}, {W, b}) => {
    const y = new Float32Array(height * columns * F);
    const values = new Float32Array(k * k * C), rows = new Int32Array(k * k * C);
    return x => {
      for (let n = 0; n < y.length; n += F) y.set(b, n);
      for (let i = 0; i < height; i++) for (let j = 0; j < columns; j++) {
        const first = s * i - p, left = s * j - p, from = Math.max(0, -left) * C, to = Math.min(k, width - left) * C;
        let count = 0;
        for (let t = Math.max(0, -first); t < k && first + t < H; t++) {
          for (let n = from, at = ((first + t) * width + left) * C; n < to; n++) {
            if (x[at + n] !== 0) { rows[count] = (t * k * C + n) * F; values[count++] = x[at + n]; }
          }
        }
        add(y, (i * columns + j) * F, F, W, rows, values, count);
      }
      return y;
    };
  },
  upsample: ({from: [, columns, C], to: [H, width], factor}) => {           // every pixel factor × factor times
    const y = new Float32Array(H * width * C);
    return x => {
      for (let i = 0, n = 0; i < H; i++) for (let j = 0; j < width; j++) {
        const at = (Math.floor(i / factor) * columns + Math.floor(j / factor)) * C;
        for (let c = 0; c < C; c++) y[n++] = x[at + c];
      }
      return y;
    };
  },
};

// W = step · whole, with a step for each output (or channel) c: 2^(octaves[c] / perOctave) times that of the finest.
function weights(whole, {step, kind, from, to}, octaves, perOctave) {
  const outputs = to[to.length - 1], inner = kind === "conv_transpose2d" ? from[2] : 1;      // there W is (k, k, C, F)
  const steps = Float32Array.from(octaves, o => Math.fround(2 ** (o / perOctave)) * step);
  return Float32Array.from(whole, (q, n) => q * steps[Math.floor(n / inner) % outputs]);
}
