"""Models of the literature, one file each, and the configurations that build them.

`VAEConfig(pixels=784).build()` is the fully connected VAE, `ConvVAEConfig().build()` the convolutional one.  To change
a model, copy its file: nothing below knows about it.
"""


from minivae.variants.conv_vae import ConvVAEConfig
from minivae.variants.deep_latent import DeepDecoder, DeepLatentConfig, Noise
from minivae.variants.mlp_vae import VAEConfig
from minivae.variants.probabilistic_pca import as_vae, log_p, probabilistic_pca

__all__ = [
    "ConvVAEConfig", "DeepDecoder", "DeepLatentConfig", "Noise", "VAEConfig", "as_vae", "log_p", "probabilistic_pca",
]
