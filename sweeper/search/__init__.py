"""Chooses the settings to try next, and the trials to stop early.

Cells of the grid, Optuna's samplers, and the rungs of multi-objective successive halving. Everything is computed from
the ledger, so a crash cannot lose the state of a sampler.

May import: spec, analysis. Shares optuna with `ledger`, and numpy.
Must not know: where trials are stored, and where they run.
"""
