"""Shows outcomes and fronts to people through a tracker: interfaces of recorders and readers, and those of MLflow.

A recorder writes and a reader reads; `mlflow/` has one of each. Another tracker is one more folder beside `mlflow/`.

May import: analysis. Owns mlflow and requests; shares sqlalchemy, pyarrow and matplotlib.
Must not know: the ledger. A tracker is a mirror: its content decides nothing.
"""
