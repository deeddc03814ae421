// The prior p(z): Σ_k π_k N(mean_k, std_k²), of which N(0, I) has one component.  Nothing here knows of the page.
function priorOf({prior, latents}, {pi, means, stds}) {
  if (prior) return {...prior, pi, means, stds};
  const all = v => new Float32Array(latents).fill(v);
  return {components: 1, mean: all(0), low: all(-3), high: all(3), pi: [1], means: all(0), stds: all(1)};
}
const middleOf = ({low, high}, j) => (low[j] + high[j]) / 2;                 // of what is to be seen of latent j, and
const unitOf = ({low, high}, j) => (high[j] - low[j]) / 6;                   // a sixth of it: of N(0, I) they are 0 and 1

const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
function drawFrom({components, pi, means, stds, mean: {length}}) {           // a component by its share, then its Gaussian
  let k = 0;
  for (let u = Math.random(); k < components - 1 && (u -= pi[k]) >= 0;) k++;
  return Float32Array.from({length}, (_, j) => means[k * length + j] + stds[k * length + j] * normal());
}
