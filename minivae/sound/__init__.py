"""Sound: from a file to complex spectrograms, and back.

    waves            WAV files, read and written: int16 on the disk, numbers in [-1, 1] in memory
    stft             the short-time Fourier transform and its inverse
    player           a sound in a page

A wave is (channels, samples), or (samples,) where there is one channel alone; a spectrogram is (…, frequencies,
frames).  NumPy and SciPy on the host: what networks see of it goes to their device as any other data.
"""

from minivae.sound.player import player
from minivae.sound.stft import HOP, WINDOW, istft, stft
from minivae.sound.waves import decode_wave, encode_wave, read_wave, write_wave

__all__ = ["HOP", "WINDOW", "decode_wave", "encode_wave", "istft", "player", "read_wave", "stft", "write_wave"]
