"""An op that is given an axis too many or too few says so: a ValueError that names what came.

NumPy would broadcast it, or raise from the midst of a formula, where nobody knows which input was meant.
"""

import inspect
import re

import numpy as np
import pytest

from minivae.gradient_table import cases

NUMBER_BY_NUMBER = {"relu", "leaky_relu", "hardtanh", "elu", "gelu", "tanh", "sigmoid", "softplus", "gated",
                    "free_bits", "capacity_gap", "reparameterize", "gaussian_kl_by_latent"}
ALONG_THE_LAST_AXIS = {"logsumexp", "log_mean_exp", "log_softmax", "split", "batch_moments"}
AS_MANY_AXES_AS_COME = {"concat", "repeat", "repeat_each"}
ANY = NUMBER_BY_NUMBER | ALONG_THE_LAST_AXIS | AS_MANY_AXES_AS_COME
ANY_OF = {("embedding", "codes"), ("normalise", "x")}
FOLDERS = ("minivae.ops", "minivae.distributions")

CHANGES = {"one axis more": lambda x: x[None], "one axis less": lambda x: x[0]}


def is_op(case) -> bool:
    return inspect.isfunction(case.function) and case.function.__module__.startswith(FOLDERS)


ROWS = [case for case in cases() if is_op(case)]


def arrays(case) -> list[tuple[str | int, str]]:
    """(where it is among inputs or constants, its name) of each array that has an axis to lose"""
    names = list(inspect.signature(case.function).parameters)
    places = [(i, names[min(i, len(names) - 1)]) for i in range(len(case.inputs))] + [(k, k) for k in case.constants]
    return [(place, name) for place, name in places if isinstance(at(case, place), np.ndarray) and at(case, place).ndim]


def at(case, place):
    return case.inputs[place] if isinstance(place, int) else case.constants[place]


def is_free(case, argument) -> bool:
    """Whether this one may have any shape, whatever the others have"""
    on_its_own = len(arrays(case)) == 1 or case.subject in AS_MANY_AXES_AS_COME
    return (case.subject, argument) in ANY_OF or (case.subject in ANY and on_its_own)


def call(case, change, places):
    inputs = [change(x) if i in places else x for i, x in enumerate(case.inputs)]
    return case.function(*inputs, **{k: change(x) if k in places else x for k, x in case.constants.items()})


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_an_input_of_the_wrong_shape_is_refused(case, change):
    for place in [place for place, argument in arrays(case) if not is_free(case, argument)]:
        with pytest.raises(ValueError, match=re.escape(str(change(at(case, place)).shape))):
            call(case, change, {place})


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("case", [case for case in ROWS if case.subject not in ANY], ids=lambda case: case.name)
def test_and_so_are_all_together(case, change):
    """A vector where a batch is meant, or images that nobody has made rows of, with everything else to match."""
    places = {place for place, _ in arrays(case)}
    shapes = {re.escape(str(change(at(case, place)).shape)) for place in places}
    with pytest.raises(ValueError, match="|".join(shapes)):
        call(case, change, places)


def test_what_takes_any_shape_is_still_there():
    subjects = {case.subject for case in ROWS}
    assert ANY | {op for op, _ in ANY_OF} <= subjects
    assert {"linear", "conv2d", "gaussian_kl", "bernoulli_nll"} <= subjects - ANY
