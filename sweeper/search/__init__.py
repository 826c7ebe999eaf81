"""What to try next, and which trials are stopped early.

Cells of the grid, Optuna's samplers, and the rungs of multi-objective successive halving. All of it is computed from
what the ledger knows: there is no state of a sampler that a crash could lose.

May import: spec, analysis. Shares optuna with `ledger`, and numpy.
Must not know: where trials are stored, and where they run.
"""
