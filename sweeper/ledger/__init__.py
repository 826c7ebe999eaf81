"""The truth on disk: which trials exist, where each one stands, and how it ended.

The ledger is an Optuna study for each cell, in SQLite or PostgreSQL. A home is the folder that holds the ledgers,
checkpoints and networks of sweeps.

Optuna's own tables are known to `optuna_tables` alone; `optuna_public` writes the same rows without knowing them.

May import: spec, search. Owns alembic; shares optuna with `search`, and sqlalchemy.
Must not know: Ray, MLflow, and clocks of other machines.
"""
