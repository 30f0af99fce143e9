"""The settings of an adapter in PEFT's form, `adapter_config.json`."""

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
