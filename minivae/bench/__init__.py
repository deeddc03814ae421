"""`minivae bench`: how fast is a step, against PyTorch and JAX doing the same work on the same cores?

rows.py          what is timed: sizes, batches, the same weights for everybody
ours.py          our contenders: the library, and the matrix products of its step alone
systems.py       steps of systems of several networks
inline.py        the library's step written out: what value and pullback cost
torch_peer.py    PyTorch: eager, fused Adam, torch.compile, channels last
torch_systems.py    and its steps of those systems, of the modules in
torch_layers.py     which have our layers' weights
jax_peer.py      JAX: one jitted step
breakdown.py     where our own step spends its time
worker.py        a contender's process
contest.py       proves the contenders equal, then lets their processes take turns
beside.py        copies of a contender at the same time: what other work costs
machine.py       the machine's description, what slows it, and how busy it is
figures.py       medians, quartiles, ratios
against.py       an earlier run beside this one
report.py        the tables, the plot
run.py           the command: row after row
"""
