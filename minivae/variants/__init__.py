"""Models of the literature, one file each, and the configurations that build them.

    mlp_vae                VAEConfig(pixels=784).build(): the fully connected VAE, with any posterior and prior
    conv_vae               ConvVAEConfig().build(): the convolutional one
    cvae                   CVAEConfig(inputs, outputs).build(): predict y from x, where more than one y is right
    gmvae                  GMVAEConfig(pixels, components=10).build(): clusters that nobody named
    deep_latent            noise at every layer of the decoder
    probabilistic_pca      the linear VAE, in which everything is known exactly

To make a model of your own, copy the file of one: nothing below knows about it.
"""

from minivae.variants.conv_vae import ConvVAEConfig
from minivae.variants.cvae import CVAE, CVAEConfig
from minivae.variants.deep_latent import DeepDecoder, DeepLatentConfig, Noise
from minivae.variants.gmvae import GMVAE, GMVAEConfig, MixtureBound
from minivae.variants.mlp_vae import VAEConfig

__all__ = [
    "CVAE", "GMVAE", "CVAEConfig", "ConvVAEConfig", "DeepDecoder", "DeepLatentConfig", "GMVAEConfig", "MixtureBound",
    "Noise", "VAEConfig",
]
