"""Sound: from a file to complex spectrograms and to rows that a model can learn, and back.

    waves            WAV files, read and written: int16 on the disk, numbers in [-1, 1] in memory
    rooms            filters that are made up, and what microphones hear through them
    fourier          the short-time Fourier transform and its inverse
    mel              energies in bands as an ear has them, and a wave that has them
    segments         spectrograms as rows of equal length
    noises           other voices, rustling, rooms, each as loud as was asked for
    audio            a sound in a page

A wave is (channels, samples), or (samples,) where there is one channel alone; a spectrogram is (…, frequencies,
frames), but (frames, bands) once it is in mel.  NumPy and SciPy on the host: what networks see of it goes to their
device as any other data.
"""

from minivae.sound.audio import player
from minivae.sound.fourier import HOP, WINDOW, istft, stft
from minivae.sound.mel import griffin_lim, log_mel, mel_filters, spread
from minivae.sound.noises import at_snr, babble, coloured, even, heard_in, room
from minivae.sound.rooms import heard, mixing_room
from minivae.sound.segments import cut, join
from minivae.sound.waves import decode_wave, encode_wave, read_wave, write_wave

__all__ = ["HOP", "WINDOW", "at_snr", "babble", "coloured", "cut", "decode_wave", "encode_wave", "even", "griffin_lim",
           "heard", "heard_in", "istft", "join", "log_mel", "mel_filters", "mixing_room", "player", "read_wave", "room",
           "spread", "stft", "write_wave"]
