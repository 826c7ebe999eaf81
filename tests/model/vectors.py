"""Kinds of compiled code that tests can use."""

from __future__ import annotations

import pytest

from sweeper.model.native import build

NEEDS_COMPILER = pytest.mark.skipif(
    build.compiler() is None, reason="there is no C compiler, which compiles the source"
)

#: Floats of a vector in NEON, AVX2 and AVX-512; the compiler translates each for the processor at hand.
LANES = (4, 8, 16)
