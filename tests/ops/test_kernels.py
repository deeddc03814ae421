"""The fused kernels: their C++ is run on the host, compiled for GPUs by NVRTC, and compared with the plain forms.

The stand-in compiles each kernel's source for the host, so its arithmetic is judged here without a GPU; on a real
one (`-m gpu`) the same tests run again.
"""

import inspect
import math

import numpy as np
import pytest
import standin

from minivae import distributions, nn, ops
from minivae.backend import device, to_numpy
from minivae.gradcheck import gradcheck
from minivae.ops import kernels
from minivae.variants import VAEConfig

RNG = np.random.default_rng(0)
EDGES = np.array([[0.0, -0.0, 1e-8, -1e-8, 1.0, -1.0, 15.0, -15.0, 90.0, -90.0, 1e4, -1e4]])
LOGITS = np.concatenate([EDGES, RNG.standard_normal((4, 12)) * 3.0])
X = np.concatenate([RNG.random((1, 12)), (RNG.random((4, 12)) < 0.5).astype(float)])
MEAN, LOGVAR, EPS = RNG.standard_normal((3, 5, 12))
ROW = RNG.standard_normal(5)

# name: kernel, plain form, inputs, constants, cotangent
PAIRS = {
    "relu": (kernels.relu, ops.relu, (LOGITS,), {}, MEAN),
    "tanh": (kernels.tanh, ops.tanh, (LOGITS,), {}, MEAN),
    "reparameterize": (kernels.reparameterize, distributions.reparameterize, (MEAN, LOGVAR), {"eps": EPS}, LOGITS),
    "gaussian_kl": (kernels.gaussian_kl, distributions.gaussian_kl, (MEAN, LOGVAR), {}, ROW),
    "bernoulli_nll": (kernels.bernoulli_nll, distributions.bernoulli_nll, (LOGITS,), {"x": X}, ROW),
}
KERNELS = {name: kernel for name, kernel in vars(kernels).items()
           if isinstance(kernel, (kernels.Elementwise, kernels.RowSum))}
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-13}


@pytest.fixture(params=["stand-in", pytest.param("a GPU", marks=pytest.mark.gpu)])
def gpu(request):
    """The device "cuda": the stand-in's, and a real one."""
    if request.param == "stand-in":
        request.getfixturevalue("cupy_standin")
    return device("cuda")


def plain(op):
    """An op's plain form, which `fused` and `twin` keep."""
    return inspect.unwrap(op)


def leaves(tree):
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, tuple) else [tree]


def close(a, b, tolerance):
    """Relative to the largest entry of a row: a sum's rounding is as large as its largest summand's."""
    a, b = to_numpy(a), to_numpy(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# The plain forms' numbers

@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", PAIRS)
def test_a_kernel_gives_the_plain_form_s_numbers(gpu, name, dtype):
    kernel, op, inputs, constants, cotangent = PAIRS[name]
    def run(function, on):
        value, pullback = function(*[on.array(x, dtype) for x in inputs],
                                   **{k: on.array(x, dtype) for k, x in constants.items()})
        return leaves((value, pullback(on.array(cotangent, dtype))))

    with standin.record() as seen:
        found = run(kernel, gpu)
    assert seen["float64"] == 0 or dtype == np.float64
    for one, two in zip(found, run(plain(op), device("cpu")), strict=True):
        assert type(one).__module__ == "cupy"
        close(one, two, TOLERANCE[dtype])


@pytest.mark.parametrize("name", PAIRS)
def test_a_kernel_s_pullback_is_its_derivative(gpu, name):
    """By finite differences of the kernel's own value; and nothing is written where it was read."""
    kernel, _, inputs, constants, _ = PAIRS[name]
    smooth = RNG.uniform(0.1, 2.0, (5, 12)) * RNG.choice([-1, 1], (5, 12))       # away from the corner of relu
    inputs = [gpu.array(smooth if x is LOGITS else x) for x in inputs]
    before = [x.copy() for x in inputs]
    assert gradcheck(kernel, *inputs, **{k: gpu.array(x) for k, x in constants.items()}).passed
    for x, was in zip(inputs, before):
        np.testing.assert_array_equal(to_numpy(x), to_numpy(was))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_adam_moves_as_the_plain_form_does(gpu, dtype):
    """Twenty steps, gradients from 1e-12 to 1e3, and entries that never move."""
    n, cpu = 1000, device("cpu")
    grads = RNG.standard_normal((20, n)) * 10.0 ** RNG.uniform(-12, 3, n)
    grads[:, ::7] = 0.0
    start = RNG.standard_normal(n)
    ours, theirs = ([on.array(start, dtype), on.array(np.zeros(n), dtype), on.array(np.zeros(n), dtype)]
                    for on in (gpu, cpu))
    adam = nn.Adam(1e-3)
    for t, grad in enumerate(grads, 1):
        adam.steps = t
        value, m, s = theirs
        adam.update(value, cpu.array(grad, dtype), m, s, np.empty_like(m), lr=1e-3)
        c1, c2 = (1 - 0.9) / (1 - 0.9**t), math.sqrt((1 - 0.999) / (1 - 0.999**t))
        value, m, s = ours
        with standin.record() as seen:
            kernels.adam(value, gpu.array(grad, dtype), m, s,
                         beta1=0.9, beta2=0.999, eps=1e-8 / c2, rate=1e-3 * c1 / c2)
        assert seen["launch"] <= 1
    for one, two in zip(ours, theirs):
        np.testing.assert_allclose(to_numpy(one), two, rtol=5 * TOLERANCE[dtype], atol=1e-30)
    np.testing.assert_array_equal(to_numpy(ours[0])[::7], start[::7].astype(dtype))


def test_nan_is_passed_on(gpu):
    """Infinite and missing logits are not covered up: the guard of the training loop must find them."""
    logits = gpu.array(np.array([[np.nan, 1.0], [1.0, 2.0]], np.float32))
    nll, pullback = kernels.bernoulli_nll(logits, x=gpu.array(np.zeros((2, 2), np.float32)))
    dlogits = pullback(gpu.array(np.ones(2, np.float32)))
    assert np.isnan(to_numpy(nll)).tolist() == [True, False]
    assert np.isnan(to_numpy(dlogits)).tolist() == [[True, False], [False, False]]


# What they refuse

def test_inputs_must_be_alike(gpu):
    a, b = gpu.array(MEAN, np.float32), gpu.array(MEAN)
    for call in (lambda: kernels.gaussian_kl(a, b), lambda: kernels.bernoulli_nll(a, x=b),
                 lambda: kernels.reparameterize(a, a, eps=b), lambda: kernels.gaussian_kl(a, MEAN.astype(np.float32)),
                 lambda: kernels.relu(a)[1](b)):
        with pytest.raises(TypeError):
            call()


# Which form answers

def test_fused_puts_a_kernel_beside_a_plain_op(cupy_standin):
    def double(x, *, times=2):
        """y = 2 x"""
        return "plain", times

    op = kernels.fused(lambda x, *, times=2: ("kernel", times))(double)
    assert op(MEAN, times=3) == ("plain", 3)
    assert op(cupy_standin.asarray(MEAN), times=3) == ("kernel", 3)
    assert (op.__name__, op.__doc__, op.__wrapped__) == ("double", "y = 2 x", double)


def test_a_kernel_is_built_once(cupy_standin):
    x = cupy_standin.asarray(MEAN)
    kernels.gaussian_kl(x, x)
    before = kernels._build.cache_info().misses
    kernels.gaussian_kl(x, x)
    assert kernels._build.cache_info().misses == before


# Values alone

@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_nll_of_draws_is_that_of_repeated_images(gpu, dtype):
    logits = np.concatenate([LOGITS, -0.5 * LOGITS, LOGITS[::-1]])
    expected, _ = distributions.bernoulli_nll(logits, x=np.tile(X, (3, 1)))
    for op, on in ((distributions.bernoulli_nll_of_draws, device("cpu")), (distributions.bernoulli_nll_of_draws, gpu),
                   (plain(distributions.bernoulli_nll_of_draws), gpu)):
        given = on.array(logits, dtype)
        found = op(given, x=on.array(X, dtype))
        assert (type(found), found.dtype) == (type(given), dtype)
        np.testing.assert_allclose(to_numpy(found), expected, rtol=TOLERANCE[dtype])
        np.testing.assert_array_equal(to_numpy(given), logits.astype(dtype))          # read, not written over


def test_the_nll_of_draws_says_what_does_not_fit():
    with pytest.raises(ValueError, match=r"logits: got shape \(2, 12\), expected \(5, 12\), the shape of x"):
        distributions.bernoulli_nll_of_draws(LOGITS[:2], x=X)
    with pytest.raises(ValueError, match="reshape"):
        distributions.bernoulli_nll_of_draws(np.tile(LOGITS, (2, 1))[:7], x=X)


# Launches

PLAIN_LAUNCHES = {"relu": 4, "tanh": 4, "reparameterize": 6, "gaussian_kl": 11, "bernoulli_nll": 24}


@pytest.mark.parametrize("name", PAIRS)
def test_launches_are_as_said(cupy_standin, name):
    """Two: one for the value, one for the pullback.  At 784 pixels, since the plain NLL's depends on them."""
    kernel, op, inputs, constants, cotangent = PAIRS[name]
    def wide(x):
        return cupy_standin.asarray(np.tile(x, (1, 784 // 12 + 1))[:, :784] if x.ndim == 2 else x)

    inputs, constants = [wide(x) for x in inputs], {k: wide(x) for k, x in constants.items()}
    counts = []
    for function in (kernel, plain(op)):
        with standin.record() as seen:
            _, pullback = function(*inputs, **constants)
            pullback(wide(cotangent))
        counts.append(seen["launch"])
    assert counts == [2, PLAIN_LAUNCHES[name]]
    assert f"2 launches, plain {PLAIN_LAUNCHES[name]}" in kernel.__doc__


def test_launches_of_the_nll_of_draws(cupy_standin):
    logits, x = (cupy_standin.asarray(np.tile(a, (1, 66))[:, :784]) for a in (np.tile(LOGITS, (3, 1)), X))
    counts = []
    for function in (kernels.bernoulli_nll_of_draws, plain(distributions.bernoulli_nll_of_draws)):
        with standin.record() as seen:
            function(logits, x=x)
        counts.append(seen["launch"])
    assert counts == [2, 19]                          # one copies the images
    assert "2 launches, plain 19" in kernels.bernoulli_nll_of_draws.__doc__


def launches_of_a_step(on):
    model = VAEConfig(784, (400,), 20).build(on=on)
    x, rng = on.asarray((RNG.random((128, 784)) < 0.3).astype(np.float32)), on.rng(0)
    model.train_step(x, rng)                          # the first makes the moments
    with standin.record() as seen:
        model.train_step(x, rng)
    return seen["launch"]


def test_launches_of_a_step_of_784_400_20(cupy_standin, monkeypatch):
    """Without the kernels, and with them."""
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "on_gpu", lambda x: False)
        without = launches_of_a_step(device("cuda"))
    fused = launches_of_a_step(device("cuda"))
    assert (fused, without) == (54, 102)               # as README says; 14 are matrix products
    used = ("relu", "relu", "reparameterize", "gaussian_kl", "bernoulli_nll")
    assert without - fused == sum(PLAIN_LAUNCHES[name] - 2 for name in used) + 10 - 1      # and Adam


# Compiled for real GPUs, by NVIDIA's run-time compiler, which needs none

ARCHITECTURES = ("compute_80", "compute_90")


def cuda_source(kernel, dtype):
    """What CuPy compiles for arrays of this dtype: the source that its own generators write."""
    import cupy
    from cupy._core import _kernel, _reduction
    from cupy._core._carray import Indexer
    from cupy._core._scalar import CScalar
    from cupy._core.core import _cupy_header_list
    T, int32 = np.dtype(dtype), np.dtype(np.int32)

    def array(ndim):
        return _kernel._ArgInfo(1, cupy.ndarray, T, ndim, True, True)

    def scalar(dtype):
        return _kernel._ArgInfo(3, CScalar, dtype, 0, True, True)

    def indexer(ndim):
        return _kernel._ArgInfo(2, Indexer, None, ndim, True, True)

    built = kernels._build(cupy, kernel)
    if isinstance(kernel, kernels.Elementwise):
        arguments = [array(2) for _ in built.params[:-1]]
        if kernel is kernels.ADAM:
            arguments = [array(1), *[scalar(T)] * 4, *[array(1)] * 3]
        code = _kernel._get_elementwise_kernel_code(
            (*arguments, indexer(arguments[0].ndim)), _kernel._TypeMap((("T", T.type),)), built.params,
            built.operation, built.name, built.preamble)
    else:
        n = len(built.in_params)
        parameters = (built.in_params + built.out_params + _kernel._get_param_info("CIndexer _in_ind", False)
                      + _kernel._get_param_info("CIndexer _out_ind", False)
                      + _kernel._get_param_info("int32 _block_stride", True))
        code = _reduction._ReductionKernel_get_cached_function_code(
            n, 1, parameters, (*[array(2)] * n, array(1), indexer(2), indexer(1), scalar(int32)),
            _kernel._TypeMap((("T", T.type), ("IndexT", np.int32))), built.name, 512, built.reduce_type, "0",
            built.map_expr, built.reduce_expr, built.post_map_expr, "", ())
    return "".join(f"#include <{name}>\n" for name in _cupy_header_list) + code


@pytest.fixture(scope="module")
def nvrtc():
    """source, architecture -> PTX: CuPy's options, NVIDIA's compiler, no GPU."""
    pytest.importorskip("cupy", reason="CuPy is not installed (extra `cuda12` or `cuda13`)")
    from cupy._core.core import assemble_cupy_compiler_options
    from cupy.cuda import compiler
    from cupy_backends.cuda.libs import nvrtc
    try:
        nvrtc.getVersion()
        options = (*assemble_cupy_compiler_options(()), "--device-as-default-execution-space")
    except Exception as error:                        # a missing library has another class in each version
        pytest.skip(f"NVRTC or CUDA's headers are missing ({error}): python -m pip install nvidia-cuda-nvrtc-cu12 "
                    "nvidia-cuda-runtime-cu12")

    def compile_(source, architecture):
        program = compiler._NVRTCProgram(source, "kernel.cu", (), (), method="ptx")
        return program.compile((*options, f"-arch={architecture}"))[0].decode()

    return compile_


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_compiles_for_a_gpu(nvrtc, name, dtype, architecture):
    """And float32's never computes in float64."""
    ptx = nvrtc(cuda_source(KERNELS[name], dtype), architecture)
    assert f".entry {KERNELS[name].name}(" in ptx
    assert (".f64" in ptx) == (dtype == np.float64)


def test_a_double_in_the_source_would_be_seen(nvrtc):
    """If not, the test above would prove nothing.  (The stand-in's compiler refuses it too: test_standin.py.)"""
    leaky = kernels.Elementwise("leaky", "T x", "T y", "y = 0.1 * x")
    assert ".f64" in nvrtc(cuda_source(leaky, np.float32), ARCHITECTURES[0])


def test_a_mistake_in_the_source_would_be_seen(nvrtc):
    wrong = kernels.Elementwise("wrong", "T x", "T y", "y = T(2) * nothing")
    with pytest.raises(Exception, match="nothing"):
        nvrtc(cuda_source(wrong, np.float32), ARCHITECTURES[0])
