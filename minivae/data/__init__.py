"""Data sets: `load("digits")` works offline; others are found locally, or downloaded and verified.

    from minivae.data import load
    digits = load("digits")            # digits.train: (4000, 784) float32 in [0, 1]
    mine = load("my_images.npz")
    photos = load("photos/", size=32)  # a folder of .png and .jpg files, in colour: (N, 32 · 32 · 3)

Where to look:

    named            load, and the list of what there is
    dataset          what every data set looks like once it is loaded
    conditions       what is given of an image, and what is to be predicted
    hidden_labels    most labels put away: what a semi-supervised model is told
    sources          the table of names: files, sizes, hashes, addresses; a new data set is a row here
    download         folders that are searched, files that are fetched and verified
    formats          idx, amat, npz, npy
    mixed            several data sets as one: "digits+sprites"
    own              a reader's own images, as arrays in a file
    pictures         a reader's own pictures, a folder of PNG and JPEG files
    alphadigits      characters and what a hand wrote down of them; which are left out: zero-shot learning
    spoken_digits    recordings of people who say digits
    sentences        SST-2, TREC, and a reader's own sentences
    voices           voices that nobody has, where there are no recordings
    spectra          the power spectra of recordings, frame by frame, by speaker
    sprites          pictures drawn from five known factors, any of which can be fixed
    make_digits      how digits.npz was made
"""

from minivae.data.conditions import ByLabel, Quadrants
from minivae.data.dataset import DataError, Dataset, hold_out
from minivae.data.download import fetch
from minivae.data.hidden_labels import HiddenLabels, HiddenSentenceLabels
from minivae.data.named import Listing, available, load, load_sentences, no_rows
from minivae.data.sentences import Sentences, load_own_sentences, load_sst2, load_trec, words_of
from minivae.data.sources import SOURCES
from minivae.data.spoken_digits import SpokenDigits, load_spoken_digits
from minivae.data.voices import made_voices

NAMES = tuple(SOURCES)

__all__ = ["NAMES", "ByLabel", "DataError", "Dataset", "HiddenLabels", "HiddenSentenceLabels", "Listing",
           "Quadrants", "Sentences", "SpokenDigits", "available", "fetch", "hold_out", "load", "load_own_sentences",
           "load_sentences", "load_spoken_digits", "load_sst2", "load_trec", "made_voices", "no_rows", "words_of"]
