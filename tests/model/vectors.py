"""Which compiled code tests can have."""

from __future__ import annotations

import pytest

from sweeper.model.native import build

NEEDS_COMPILER = pytest.mark.skipif(
    build.compiler() is None, reason="there is no C compiler, which compiles the source"
)

#: Kinds of vectors: those of NEON, AVX2 and AVX-512, of which a compiler makes what the processor has.
LANES = (4, 8, 16)
