"""Models of the literature, one file each, and the configurations that build them.

    mlp_vae                VAEConfig(pixels=784).build(): the fully connected VAE, with any posterior and prior
    conv_vae               ConvVAEConfig().build(): the convolutional one
    deep_latent            noise at every layer of the decoder
    probabilistic_pca      the linear VAE, in which everything is known exactly

(What is a part of a VAE lies in parts: its posteriors, its objectives, the mixture of Gaussians and the VampPrior.)

To make a model of your own, copy the file of one: nothing below knows about it.
"""

from minivae.variants.conv_vae import ConvVAEConfig
from minivae.variants.deep_latent import DeepDecoder, DeepLatentConfig, Noise
from minivae.variants.mlp_vae import VAEConfig

__all__ = [
    "ConvVAEConfig", "DeepDecoder", "DeepLatentConfig", "Noise", "VAEConfig",
]
