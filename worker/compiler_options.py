"""What XLA is told beside the program, for each backend."""

from __future__ import annotations

# Measured (docs/experiments/model.md): 15% less compilation and the same step; level 0 halves
# LLVM's time, but more than doubles the step's.
COMPILER_OPTIONS: dict[str, dict[str, str | bool]] = {
    "cpu": {"xla_backend_optimization_level": "1"}
}
