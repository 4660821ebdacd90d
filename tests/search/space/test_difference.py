import numpy as np
import pytest

from brainformer.search.space.difference import difference
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import load_preset

ATTENTION = {"kind": "attention", "heads": 2}
DENSE = {"kind": "feed_forward", "hidden_dim": 64, "activation": "gelu"}


def genome(*layers, dim=32) -> Genome:
    return Genome(model_dim=dim, layers=layers)


def told(parent: Genome, child: Genome) -> list[tuple]:
    return [(c.op, c.path, c.before, c.after) for c in difference(parent, child)]


def test_equal_genomes_do_not_differ():
    assert told(genome(ATTENTION), genome(ATTENTION)) == []


def test_a_changed_field_is_named():
    child = genome(ATTENTION, {**DENSE, "hidden_dim": 128})
    assert told(genome(ATTENTION, DENSE), child) == [("replace", "/layers/1/hidden_dim", 64, 128)]


def test_an_insertion_is_one_change():
    wider = {**DENSE, "hidden_dim": 128}
    found = told(genome(ATTENTION, DENSE), genome(ATTENTION, wider, DENSE))
    assert found == [("add", "/layers/1", None, wider)]


def test_a_repeated_layer_is_one_change():
    found = told(genome(ATTENTION, DENSE), genome(ATTENTION, ATTENTION, DENSE))
    # Which of the two equal layers is the new one cannot be known.
    assert [op for op, *_ in found] == ["add"]


def test_a_deletion_and_a_new_width():
    found = told(genome(ATTENTION, DENSE), genome(DENSE, dim=64))
    assert [(op, path) for op, path, *_ in found] == [
        ("replace", "/model_dim"),
        ("remove", "/layers/0"),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_different_genomes_always_differ(seed):
    space, rng = load_preset("nano"), np.random.default_rng(seed)
    a, b = space.sample(rng=rng), space.sample(rng=rng)
    assert bool(difference(a, b)) == (a.digest != b.digest)
