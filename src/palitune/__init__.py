"""palitune: fine-tune PaliGemma in JAX on the GPU you own, and know whether the result can be trusted."""

import importlib

__version__ = "0.1.0"

# The Python interface (docs/python.md): where each name is. Nothing of it is imported before it is used.
_INTERFACE = {
    "Example": "palitune.data.example",
    "Message": "palitune.data.example",
    "Image": "palitune.data.example",
    "Target": "palitune.data.example",
    "Prediction": "palitune.data.prediction",
    "Predictor": "palitune.infer.predictor",
    "Evaluation": "palitune.evaluate.evaluation",
    "demo_data": "palitune.data.demo.demo_data",
    "read": "palitune.data.dataset_files",
    "RunConfig": "palitune.config.run_config",
    "RunResult": "palitune.run.learn",
    "learn": "palitune.run.learn",
}


def __getattr__(name: str) -> object:
    """A name of the Python interface. Raises AttributeError for others."""
    if name == "evaluate":  # a package that can be called
        return importlib.import_module("palitune.evaluate")
    if name not in _INTERFACE:
        raise AttributeError(f"module 'palitune' has no attribute {name!r}")
    return getattr(importlib.import_module(_INTERFACE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_INTERFACE, "evaluate"])
