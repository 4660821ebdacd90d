"""lm-evaluation-harness itself, on tasks of a few lines that lie beside it."""

from __future__ import annotations

import json
import math
import os
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brainformer.worker.export.model_folders import write_huggingface
from brainformer.worker.harness.language_model import LanguageModel
from tests.worker.export.clean_environment import clean_environment, environments_folder
from tests.worker.export.training import trained

VERSION = "0.4.13"
DOCUMENTS = [
    {"question": "import ", "good": "json", "bad": "QQQQ", "text": "import json\n" * 12},
    {"question": "def ", "good": "dumps(", "bad": "9\x7f~~", "text": "def dumps(obj):\n    pass\n"},
    {"question": "return ", "good": "self", "bad": "{zz}", "text": "return cls(**kw)"},
]
TASKS = {
    "tiny_choice": """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{[good, bad]}}"
doc_to_target: 0
metric_list: [{metric: acc}]
""",
    "tiny_text": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: byte_perplexity}]
""",
    "tiny_words": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{good}}"
generation_kwargs: {until: ["e"], max_gen_toks: 12}
metric_list: [{metric: exact_match}]
""",
}
HEAD = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
target_delimiter: ""
"""


def harness() -> Path:
    """Returns the Python of an environment with the harness and, after it, all that is here.

    The harness is installed alone, and what is here is named at each use: an environment outlives
    the folders of the run that made it.
    """
    place = environments_folder() / f"harness-{VERSION}-py{sys.version_info.minor}"
    python = clean_environment(place, f"lm_eval=={VERSION}")
    library = next(place.glob("lib/python*/site-packages"))
    here = "; ".join(f"site.addsitedir({folder!r})" for folder in site.getsitepackages())
    fresh = library / f"host.{os.getpid()}"
    fresh.write_text(f"import site; {here}\n")
    fresh.replace(library / "host.pth")
    return python


def evaluated(folder: Path, place: Path) -> dict[str, Any]:
    """Returns the results of the tasks, and the samples of each."""
    tasks = place / "tasks"
    tasks.mkdir()
    (place / "documents.jsonl").write_text("\n".join(json.dumps(one) for one in DOCUMENTS))
    for name, text in TASKS.items():
        head = HEAD.format(name=name, file=place / "documents.jsonl")
        (tasks / f"{name}.yaml").write_text(head + text)
    command = [
        *(str(harness()), "-m", "brainformer.lm_eval", "run", "--model", "brainformer"),
        *("--model_args", f"path={folder}", "--batch_size", "2", "--include_path", str(tasks)),
        *("--tasks", ",".join(TASKS), "--output_path", str(place / "out"), "--log_samples"),
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(place / "cache")}
    ran = subprocess.run(
        command, env=os.environ | offline, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    (results,) = (place / "out").rglob("results_*.json")
    found: dict[str, Any] = {"results": json.loads(results.read_text())["results"]}
    for name in TASKS:
        (samples,) = (place / "out").rglob(f"samples_{name}_*.jsonl")
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        found[name] = sorted(lines, key=lambda line: line["doc_id"])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_harness_scores_and_continues_as_the_model_does(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_huggingface(folder, trained(steps=120), tokenizer="bytes")
    found = evaluated(folder, tmp_path)
    model = LanguageModel(folder)
    right = 0
    for document, sample in zip(DOCUMENTS, found["tiny_choice"], strict=True):
        rows = []
        for ending in (document["good"], document["bad"]):
            tokens = model.encode(document["question"] + ending)
            # The space behind a question belongs to the ending, by the harness's own rule.
            rows.append((tokens, len(model.encode(ending)) + 1))
        ours = [one.log_likelihood for one in model.score(rows)]
        theirs = [float(one[0][0]) for one in sample["resps"]]
        assert theirs == pytest.approx(ours, abs=1e-3)
        right += ours[0] > ours[1]
    assert found["results"]["tiny_choice"]["acc,none"] == pytest.approx(right / len(DOCUMENTS))
    texts = [model.encode(document["text"]) for document in DOCUMENTS]
    scores = model.score([([model.prefix, *text], len(text)) for text in texts])
    nats = -sum(one.log_likelihood for one in scores) / sum(len(text) for text in texts)
    perplexity = found["results"]["tiny_text"]["byte_perplexity,none"]
    assert perplexity == pytest.approx(math.exp(nats), rel=1e-4)
    assert 1 < perplexity < 256
    prompts = [model.encode(document["question"]) for document in DOCUMENTS]
    said = model.continue_greedily(prompts, 12)
    for tokens, sample in zip(said, found["tiny_words"], strict=True):
        text = model.tokenizer.decode(tokens).partition("\x00")[0].partition("e")[0]
        assert sample["resps"][0][0] == text


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_both_ways_of_finding_the_model_lead_to_it() -> None:
    script = (
        "import lm_eval.api.registry as registry\n"
        "from importlib.metadata import entry_points\n"
        "(found,) = [one for one in entry_points(group='lm_eval.models') "
        "if one.name == 'brainformer']\n"
        "import brainformer.lm_eval\n"
        "assert registry.get_model('brainformer') is brainformer.lm_eval.BrainformerLM\n"
        "print(found.value)"
    )
    ran = subprocess.run([str(harness()), "-c", script], capture_output=True, text=True)
    assert ran.stdout == "brainformer.lm_eval:BrainformerLM\n", ran.stderr


def test_without_the_harness_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['lm_eval'] = None\nimport brainformer.lm_eval"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    told = ran.stderr.strip().splitlines()[-1]
    assert told.startswith("ModuleNotFoundError: lm_eval")
    assert "brainformer-search[lm-eval]" in told
