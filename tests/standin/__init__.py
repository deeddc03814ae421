"""A stand-in for CuPy on machines without a GPU: NumPy inside, CuPy's strictness outside.

    def test_step(cupy_standin):                      # the fixture: `import cupy` now finds the stand-in
        x = cupy_standin.asarray(host)                # a device array: host arrays are refused beside it
        with standin.forbid():                        # nothing may wait, move, loop or widen in here
            model.train_step(x, rng)

Only the names and the arguments of CuPy 14 exist (names.json).  What a GPU would pay for is an event:

    sync     the host waits for the device: float(x), if x, x.item(), x[mask], np.nonzero(x)
    d2h h2d  an array moves: x.get(), cupy.asnumpy(x); cupy.asarray(host), x[host_index]
    loop     Python iterates over a device array: one kernel for every element
    float64  a float64 (or complex128) array appears, or an operator meets a float64

Launches are counted beside them: one for each operation whose result is no view (CuPy makes some of several).
The kernels that a program writes in C++ are compiled for the host and run (kernels.py).
"""

from standin.events import events, forbid, record
from standin.modules import cupy_standin, install

__all__ = ["cupy_standin", "events", "forbid", "install", "record"]
