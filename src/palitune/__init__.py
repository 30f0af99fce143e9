"""palitune: fine-tune PaliGemma in JAX on the GPU you own, and know whether the result can be trusted."""

__version__ = "0.1.0"
