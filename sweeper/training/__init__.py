"""From a job's settings to measurements: the only room that knows the model.

May import: spec, and `sweeper.model`.
Must not know: Ray, Optuna, MLflow, and who handed out the job.
"""
