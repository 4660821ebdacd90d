"""What jax and XLA are told beside the program, for each backend."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import jax

Options: TypeAlias = dict[str, str | bool]

# Measured (docs/experiments/model.md): 15% less compilation and the same step; level 0 halves
# LLVM's time, but more than doubles the step's.
COMPILER_OPTIONS: dict[str, Options] = {"cpu": {"xla_backend_optimization_level": "1"}}
# Measured (docs/experiments/trial.md): XLA's older emitters compile small programs in half the
# time and run them a fifth slower. They compile equal kernels again and again, so a whole model,
# whose blocks are alike, gains nothing from them.
SMALL_PROGRAM_OPTIONS: Options = {**COMPILER_OPTIONS["cpu"], "xla_cpu_use_fusion_emitters": False}


def use_compilation_cache(folder: Path) -> None:
    """Keeps compiled programs in `folder` from now on."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)  # type: ignore[no-untyped-call]


def dispatch_in_order() -> None:
    """Has a CPU finish a program before the next is handed over; call before jax's first use.

    Otherwise up to three steps hold their temporaries at once: three times what the compiler's
    account says and a trial is refused by.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # type: ignore[no-untyped-call]
