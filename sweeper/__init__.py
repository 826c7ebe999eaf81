"""Durable sweeps over networks that trade breadth, depth and time: Ray Tune places, Optuna keeps, MLflow shows."""
