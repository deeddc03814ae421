"""Models of the literature, one file each, and the configurations that build them.

    mlp_vae                VAEConfig(pixels=784).build(): the fully connected VAE
    conv_vae               ConvVAEConfig().build(): the convolutional one
    structured_posterior   a VAE whose q(z|x) is more than a diagonal Gaussian
    deep_latent            noise at every layer of the decoder
    probabilistic_pca      the linear VAE, in which everything is known exactly

To make a model of your own, copy the file of one: nothing below knows about it.
"""

from minivae.variants.conv_vae import ConvVAEConfig
from minivae.variants.deep_latent import DeepDecoder, DeepLatentConfig, Noise
from minivae.variants.mlp_vae import VAEConfig
from minivae.variants.probabilistic_pca import as_vae, log_p, probabilistic_pca

__all__ = [
    "ConvVAEConfig", "DeepDecoder", "DeepLatentConfig", "Noise", "VAEConfig", "as_vae", "log_p", "probabilistic_pca",
]
