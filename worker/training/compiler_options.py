"""What XLA is told beside the program, for each backend."""

from __future__ import annotations

from typing import TypeAlias

Options: TypeAlias = dict[str, str | bool]

# Measured (docs/experiments/model.md): 15% less compilation and the same step; level 0 halves
# LLVM's time, but more than doubles the step's.
COMPILER_OPTIONS: dict[str, Options] = {"cpu": {"xla_backend_optimization_level": "1"}}
# Measured (docs/experiments/trial.md): XLA's older emitters compile small programs in half the
# time and run them a fifth slower. They compile equal kernels again and again, so a whole model,
# whose blocks are alike, gains nothing from them.
SMALL_PROGRAM_OPTIONS: Options = {**COMPILER_OPTIONS["cpu"], "xla_cpu_use_fusion_emitters": False}
