"""Exports for transformers against our own model: the zoo and 20 random genomes.

Every block of the zoo in the nano space and 20 random genomes of it (a third of their sub-layers
with rarer options) is exported as a Hugging Face folder and loaded with
`AutoModelForCausalLM.from_pretrained` in an environment that holds PyTorch, transformers and
nothing of this project. Logits of 3 x 48 random tokens and 64 greedily chosen tokens are compared
with those of the JAX model, with the key-value cache and without, padded, and with a static cache.

    python -m benchmarks.huggingface_parity [--random 20]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import report
from tests.worker.export.clean_environment import VERSIONS, loaded
from tests.worker.export.models import lively, zoo
from tests.worker.export.references import random_genomes, write_with_reference

BAR = 1e-4
WAYS = ("text", "uncached", "padded", "static")


def main() -> None:
    """Writes the folders, loads them with each version, compares and reports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=20, help="random genomes")
    options = parser.parse_args()
    blocks = zoo() | random_genomes(options.random)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "models"
        for label, genome in blocks.items():
            write_with_reference(root, label, lively(genome))
        found: dict[str, list[dict[str, Any]]] = {}
        for version in VERSIONS:
            answers = loaded(version, root, cache=Path(name) / "cache")
            found[version] = [one for one in answers if "difference" in one]
    for version, rows in found.items():
        worst = max(rows, key=lambda one: float(one["difference"]))
        equal = sum(all(one[way] for way in WAYS) for one in rows)
        print(
            f"transformers {version}: {len(rows)} blocks, largest difference of logits "
            f"{worst['difference']:.1e}, greedy text equal in all ways for {equal}"
        )
    largest = max(float(one["difference"]) for rows in found.values() for one in rows)
    texts = all(one[way] for rows in found.values() for one in rows for way in WAYS)
    whole = all(len(rows) == len(blocks) for rows in found.values())
    report(
        name="huggingface-parity",
        value=largest,
        unit="largest absolute difference of logits",
        target=f"{BAR}, greedy text of 64 tokens equal for every block",
        ok=whole and texts and largest < BAR,
        details={"blocks": len(blocks), "versions": list(VERSIONS), "texts_equal": texts},
    )


if __name__ == "__main__":
    main()
