"""MLflow as the mirror of a sweep: one run for the sweep, and one run for each trial below it.

`client` alone imports mlflow; `recorder` writes, `reader` reads.
"""
