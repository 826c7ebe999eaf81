"""Names of the packages that training imports and that take seconds to load: a worker can load them before a job."""

#: Only third-party packages, because a worker without a job does not know which `sweeper` its job will bring.
HEAVY = ("torch", "pyarrow.parquet", "pydantic", "safetensors.torch", "PIL.Image")
