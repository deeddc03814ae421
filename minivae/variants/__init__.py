"""Models of the literature, one file each, and the configurations that build them.

    mlp_vae                VAEConfig(pixels=784).build(): the fully connected VAE, with any posterior and prior
    conv_vae               ConvVAEConfig().build(): the convolutional one
    cvae                   CVAEConfig(inputs, outputs).build(): predict y from x, where more than one y is right
    semi_supervised        M2, a VAE that knows the classes of a few images
    stacked_semi_supervised    M1+M2: the same on the latents of a VAE
    semi_supervised_sizes  M2Config(pixels), M1M2Config(pixels): build them
    semi_supervised_text   TextM2, an M2 of sentences
    text_sizes             TextM2Config(words).build(): build it
    gmvae                  GMVAEConfig(pixels, components=10).build(): clusters that nobody named
    infinite               InfiniteVAEConfig(VAEConfig(…)).build(): as many VAEs as the data ask for
    restaurant             which component an example belongs to, when nobody says how many there are
    deep_latent            noise at every layer of the decoder
    structured_residuals   StructuredVAEConfig(height, width).build(): what the mean cannot say is correlated
    vae_gan                VAEGANConfig(VAEConfig(…)).build(): images compared by what a discriminator sees
    cvae_gan               CVAEGANConfig(M2Config(…)).build(): images of a class, told by centres of features
    mvae                   SourceVAEConfig(frequencies, speakers).build(): how loud a voice is, frame by frame
    zero_vae_gan           ZeroVAEGANConfig(features, attributes, classes).build(): features of classes that nobody saw
    vq_vae                 images as pictures of numbers, and priors that draw such pictures, of a class that is told
    vq_vae_sizes           VQVAEConfig().build(): builds one
    two_stage              a second VAE learns where the codes of the first one lie
    probabilistic_pca      the linear VAE, in which everything is known exactly

(What is a part of a VAE lies in parts: its posteriors, its objectives, the mixture of Gaussians and the VampPrior.)

To make a model of your own, copy the file of one: nothing below knows about it.
"""

from minivae.variants.conv_vae import ConvVAEConfig
from minivae.variants.cvae import CVAE, CVAEConfig
from minivae.variants.cvae_gan import CVAEGAN, CVAEGANConfig
from minivae.variants.deep_latent import DeepDecoder, DeepLatentConfig, Noise
from minivae.variants.gmvae import GMVAE, GMVAEConfig, MixtureBound
from minivae.variants.infinite import InfiniteVAE, InfiniteVAEConfig
from minivae.variants.mlp_vae import VAEConfig
from minivae.variants.mvae import SourceVAE, SourceVAEConfig
from minivae.variants.restaurant import crp_log_prob, crp_sweep
from minivae.variants.semi_supervised import M2, LabelEncoder
from minivae.variants.semi_supervised_sizes import M1M2Config, M2Config
from minivae.variants.semi_supervised_text import TextM2
from minivae.variants.stacked_semi_supervised import M1M2
from minivae.variants.structured_residuals import StructuredVAE, StructuredVAEConfig
from minivae.variants.text_sizes import TextM2Config
from minivae.variants.two_stage import TwoStage, TwoStageConfig
from minivae.variants.vae_gan import VAEGAN, VAEGANConfig
from minivae.variants.vq_vae import VQVAE
from minivae.variants.vq_vae_sizes import VQVAEConfig
from minivae.variants.zero_vae_gan import ZeroVAEGAN, ZeroVAEGANConfig

__all__ = [
    "CVAE", "CVAEGAN", "GMVAE", "M1M2", "M2", "VAEGAN", "VQVAE", "CVAEConfig", "CVAEGANConfig", "ConvVAEConfig",
    "DeepDecoder", "DeepLatentConfig", "GMVAEConfig", "InfiniteVAE", "InfiniteVAEConfig", "LabelEncoder", "M1M2Config",
    "M2Config", "MixtureBound", "Noise", "SourceVAE", "SourceVAEConfig", "StructuredVAE", "StructuredVAEConfig",
    "TextM2", "TextM2Config", "TwoStage", "TwoStageConfig", "VAEConfig", "VAEGANConfig", "VQVAEConfig", "ZeroVAEGAN",
    "ZeroVAEGANConfig", "crp_log_prob", "crp_sweep",
]
