"""A model with its weights as files: safetensors, JAX source, a folder for transformers."""
