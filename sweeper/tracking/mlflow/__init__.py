"""MLflow as the mirror of a sweep: one run for the sweep, and one run for each trial below it.

`client` alone imports mlflow, and `private` what MLflow does not document; `recorder` writes, `reader` reads: without
importing MLflow where that can be, by `tables` and `server`.
"""
