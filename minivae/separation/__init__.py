"""Taking a mixture apart that as many microphones heard as there are sources.

    demixing         W(f), its likelihood, iterative projection row by row, projection back to a microphone
    nmf              a source of few patterns
    separator        the alternation of W and the sources' models; with patterns it is ILRMA
    voice            a source that a VAE's decoder tells (variants.mvae); with voices it is the MVAE
    scores           SDR, SIR and SAR

Read them in this order.  Arithmetic is complex here and nowhere else.  A new model of a source is a class with
`variance` and `learn`, and the tests ask of it that the objective never falls.
"""

from minivae.separation.demixing import demix, log_likelihood, project, project_back
from minivae.separation.nmf import Patterns
from minivae.separation.scores import Scores, decompose, project_onto_delays, separation_scores
from minivae.separation.separator import Separation, Source, ilrma, separate
from minivae.separation.voice import Voice, beginnings, mvae

__all__ = ["Patterns", "Scores", "Separation", "Source", "Voice", "beginnings", "decompose", "demix", "ilrma",
           "log_likelihood", "mvae", "project", "project_back", "project_onto_delays", "separate", "separation_scores"]
