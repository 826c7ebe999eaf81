"""What training imports that takes seconds, by name: a worker can do so before it has a job."""

#: Third-party packages alone: which `sweeper` it is that a job brings, a worker without one does not know.
HEAVY = ("torch", "pyarrow.parquet", "pydantic", "safetensors.torch", "PIL.Image")
