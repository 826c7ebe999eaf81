"""The truth on disk: which trials exist, the state of each one, and how it ended.

The ledger is an Optuna study for each cell, in SQLite or PostgreSQL. A home is the folder that holds the ledgers,
checkpoints and networks of sweeps.

Only `optuna_tables` writes Optuna's own tables; `optuna_public` writes the same rows without knowing the tables.

May import: spec, search. Owns alembic; shares optuna with `search`, and sqlalchemy.
Must not know: Ray, MLflow, and clocks of other machines.
"""
