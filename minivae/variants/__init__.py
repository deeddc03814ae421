"""The well-known variants of the VAE, a file each."""
