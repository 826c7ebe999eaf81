"""MLflow as the mirror of a sweep: one run for the sweep, and one run for each trial below it.

Only `client` imports mlflow, and only `private` uses its undocumented parts. `recorder` writes and `reader` reads. If
possible, `reader` reads without mlflow, through `tables` and `server`, because importing mlflow is slow.
"""
