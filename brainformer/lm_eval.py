"""The model `brainformer` of lm-evaluation-harness: exported folders, evaluated.

    python -m brainformer.lm_eval --model brainformer --model_args path=FOLDER --tasks arc_easy

Importing this module registers the model, for scripts that call the harness themselves. Versions
of the harness that look for entry points need neither: `lm_eval --model brainformer` is enough.
See docs/evaluation-harness.md.
"""

try:
    from brainformer.worker.harness.lm_evaluation import BrainformerLM
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{error.name} is not installed: pip install 'brainformer-search[lm-eval]'"
    ) from None

__all__ = ["BrainformerLM"]

if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
