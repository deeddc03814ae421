"""Requests to a library: call this, read that part of it.  What is no array and no number stays here, under a handle.

This file is run by both sides, and stands alone: it imports nothing of minivae.
"""

from __future__ import annotations

import importlib
import types
from typing import Any

import numpy as np


class Things:
    """What a library returned that is neither an array nor a number, and requests about it."""

    def __init__(self, wire: Any, *laws: Any) -> None:
        self.wire = wire               # the module: alone in the student's process, minivae's in the judge's
        self.laws = laws               # what a call must keep to: purity.Witness, then evaluations.Watch
        self.kept: list[Any] = []
        self.part: Any = None          # number -> a function that the judge answers, see parts
        self.bench: Any = None         # where a file is run whose passes are counted, see confined

    def out(self, x: Any) -> Any:
        """A thing as it may cross: handles for what may not."""
        if type(x) in (list, tuple):
            return type(x)(self.out(part) for part in x)
        if type(x) is dict:
            return {str(key): self.out(part) for key, part in x.items()}
        if x is None or isinstance(x, (bool, int, float, str, np.ndarray)) or type(x).__module__ == "numpy":
            return x
        self.kept.append(x)
        return self.wire.Handle(len(self.kept) - 1, type(x).__name__)

    def back(self, x: Any) -> Any:
        """A thing that the judge sent."""
        if isinstance(x, (list, tuple)):
            return type(x)(self.back(part) for part in x)
        if isinstance(x, dict):
            return {key: self.back(part) for key, part in x.items()}
        if isinstance(x, self.wire.Handle):
            return self.part(x.number) if self.part and x.kind == self.wire.JUDGES else self.kept[x.number]
        if isinstance(x, self.wire.Seed):
            return np.random.default_rng(x.number)
        return look_up(x.path) if isinstance(x, self.wire.Name) else x

    def answer(self, request: Any, watched: bool = True) -> Any:
        """What comes of a request.  `watched`: calls must keep to the laws."""
        kind, target, *rest = request
        if kind == "module":
            return self.out(module_of(target, *rest))
        if kind == "counted":
            self.laws = self.laws[:1]                  # gradients are given there: nobody asks whether one is measured
            return self.out(self.bench.opened(target, *rest))
        if kind == "counts":
            return self.bench.counts()
        thing = self.back(target)
        if kind == "call":
            arguments, keywords = self.back(rest)
            return self.out((self.called if watched else _called)(thing, arguments, keywords))
        for name in rest[0].split("."):                # a path of attributes and keys: "decoder.layers.0.W.value"
            thing = part(thing, name)
        if kind == "set":
            thing[...] = rest[1]
            return None
        return self.out(thing)

    def called(self, thing: Any, arguments: Any, keywords: Any) -> Any:
        """thing(*arguments, **keywords).  Raises the error of a law that it breaks."""
        for law in self.laws:
            law.sent(thing, arguments, keywords)
        try:
            result = thing(*arguments, **keywords)
        finally:
            for law in self.laws:
                law.ended()
        for law in self.laws:
            law.ask(thing, result)
        return result


def _called(thing: Any, arguments: Any, keywords: Any) -> Any:
    return thing(*arguments, **keywords)


def part(thing: Any, name: str) -> Any:
    """thing.name, thing[name], or thing[3]"""
    if isinstance(thing, (list, tuple)):
        return thing[int(name)]
    return thing[name] if isinstance(thing, dict) else getattr(thing, name)


def look_up(path: str) -> Any:
    """ "minivae.ops:linear", "minivae.vae:VAE.elbo_terms", "minivae.ops" """
    module, _, names = path.partition(":")
    thing = importlib.import_module(module)
    for name in names.split(".") if names else ():
        thing = getattr(thing, name)
    return thing


def module_of(name: str, source: str) -> types.ModuleType:
    """A module made of this text, which is kept nowhere."""
    module = types.ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module
