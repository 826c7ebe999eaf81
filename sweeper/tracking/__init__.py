"""Where outcomes and fronts are shown to people: what a recorder and a reader promise, and MLflow's.

`recorder` writes, `reader` reads; `mlflow/` has one of each. Another tracker is one more folder beside `mlflow/`.

May import: analysis. Owns mlflow and requests; shares sqlalchemy, pyarrow and matplotlib.
Must not know: the ledger. A tracker is a mirror: nothing is decided by what it holds.
"""
