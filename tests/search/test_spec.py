"""Search specs: YAML in, one clear error out."""

from __future__ import annotations

import pytest

from brainformer.search.errors import InvalidSpec, NotFound
from brainformer.search.proxy.builtin_proxies import load_proxy
from brainformer.search.space.space import load_preset
from brainformer.search.spec import SearchSpec, parse_spec, resolve_spec
from brainformer.search.status import SEARCH_TRANSITIONS, SearchStatus

MINIMAL = "name: a\nspace: nano\nlimits: {trials: 3}\n"
NANO = {"name": "a", "space": "nano", "limits": {"trials": 3}}


def test_a_minimal_spec_gets_the_proxy_of_its_space() -> None:
    spec = parse_spec(MINIMAL)
    assert (spec.proxy.blocks, spec.baseline, spec.proxy.routing) == (1, "glam", "causal")
    assert spec.resolved_space() == load_preset("nano")


@pytest.mark.parametrize(
    ("proxy", "experts", "seconds"),
    [
        ("", 8, 20),
        ("proxy: brainformer-100m32e\n", 32, 600),
        ("proxy: {budget_seconds: 3}\n", 8, 3),
        ("proxy: {preset: brainformer-100m32e, budget_seconds: 3}\n", 32, 3),
    ],
)
def test_a_proxy_is_that_of_the_space_but_for_what_is_said(
    proxy: str, experts: int, seconds: float
) -> None:
    found = parse_spec(MINIMAL + proxy).proxy
    assert (found.experts, found.budget_seconds) == (experts, seconds)


def test_a_search_never_reads_the_test_split() -> None:
    text = "name: a\nspace: nano\nlimits: {trials: 1}\nproxy: {evaluation_split: test}\n"
    with pytest.raises(InvalidSpec, match="the test split is for promotions"):
        parse_spec(text)


@pytest.mark.parametrize("kind", ["none", "gaussian_process"])
def test_screening_is_named_or_spelled_out(kind: str) -> None:
    named = parse_spec(MINIMAL + f"screening: {kind}\n")
    assert named == parse_spec(MINIMAL + f"screening: {{kind: {kind}}}\n")
    assert named.screening.kind == kind


def test_json_round_trip_keeps_the_spec() -> None:
    spec = parse_spec(MINIMAL)
    assert SearchSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not YAML"),
        ("- a list", "mapping .* this is a list"),
        ("", "mapping .* this is nothing"),
        ("name: a\nspace: nano", "limits"),
        ("name: a\nspace: nano\nlimits: {}", "limits need trials, hours or both"),
        ("name: 'A b'\nspace: nano\nlimits: {trials: 1}", "/name"),
        (MINIMAL + "population_size: 4\ntournament_size: 5", "at most population_size = 4"),
        (MINIMAL + "proxy: {budget_seconds: .inf}", "/proxy/budget_seconds"),
        (MINIMAL + "proxy: {dataset: ../../etc/passwd}", "/proxy/dataset"),
        (MINIMAL + "proxy: huge", "no proxy 'huge'; known: brainformer-100m32e, nano, one-gpu"),
        (MINIMAL + "sede: 3", "/sede"),
        (MINIMAL + "screening: some", "/screening .*'none' or 'gaussian_process'"),
        (MINIMAL + "screening: [none]", "/screening"),
        (
            "name: a\nspace: nano\nlimits: {trials: true}",
            r"not numbers \(got True\) at /limits/trials",
        ),
        (MINIMAL + "baseline_repeats: true", "true and false are not numbers"),
        (MINIMAL + "proxy: {experts: false}", "/proxy/experts"),
        (MINIMAL + "seeds: [{model_dim: 64, layers: [{kind: attention, heads: true}]}]", "/heads"),
        (MINIMAL + "name: b", r"'name' appears twice, first in line 1 \(line 4"),
        (MINIMAL + "seed: " + "9" * 5000, "5,000 digits"),
        (MINIMAL + "sede: 3", r"did you mean 'seed'\? at /sede \(line 4\)"),
        (MINIMAL + "proxy:\n  datset: x", r"did you mean 'dataset'\? at /proxy/datset \(line 5\)"),
    ],
)
def test_an_invalid_spec_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        parse_spec(text)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec("name: A\nspace: nano\nlimits: {trials: 0}\nsede: 1\nproxy: {experts: -1}\n")
    assert [one.pointer for one in (caught.value, *caught.value.others)] == [
        "/name",
        "/proxy/experts",
        "/limits/trials",
        "/sede",
    ]
    assert all(one.message in caught.value.message for one in caught.value.others)


def test_a_name_may_look_like_a_date() -> None:
    assert parse_spec(MINIMAL.replace("name: a", "name: 2026-11-31")).name == "2026-11-31"


def test_a_long_value_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(MINIMAL.replace("name: a", f"name: {'A' * 5000}"))
    assert len(caught.value.message) < 400


def test_a_recorded_proxy_is_what_it_was_before_a_field_came() -> None:
    recorded = load_proxy("nano").model_dump()
    del recorded["adam_beta2"], recorded["rope_base"]
    spec = SearchSpec.model_validate(NANO | {"proxy": recorded})
    assert (spec.proxy.adam_beta2, spec.proxy.rope_base) == (0.98, 10_000)


@pytest.mark.parametrize("proxy", ["nano", {}, {"budget_seconds": 3}, {"preset": "nano"}])
def test_a_new_proxy_has_what_its_preset_has(proxy: object) -> None:
    spec = SearchSpec.model_validate(NANO | {"proxy": proxy})
    assert (spec.proxy.adam_beta2, spec.proxy.rope_base) == (0.95, 100)


def test_a_proxy_that_is_written_and_read_is_the_same() -> None:
    proxy = load_proxy("nano").model_copy(update={"adam_beta2": 0.98, "rope_base": 10_000.0})
    spec = SearchSpec.model_validate(NANO | {"proxy": proxy.model_dump()})
    again = SearchSpec.model_validate_json(spec.model_dump_json())
    assert again.proxy == spec.proxy == proxy


def test_an_unknown_preset_lists_the_known_ones() -> None:
    spec = parse_spec(MINIMAL.replace("nano", "nanoo"))
    with pytest.raises(NotFound, match="brainformer-100m32e, nano, one-gpu"):
        spec.resolved_space()


def test_an_unknown_family_is_a_fault_of_the_spec() -> None:
    spec = parse_spec(MINIMAL + "baseline: {family: glan}\n")
    with pytest.raises(InvalidSpec, match=r"no zoo genome glan; known: .* at /baseline"):
        resolve_spec(spec)


def test_ended_searches_stay_ended() -> None:
    ended = {status for status, after in SEARCH_TRANSITIONS.items() if not after}
    assert ended == {
        SearchStatus.COMPLETED,
        SearchStatus.STOPPED,
        SearchStatus.CANCELLED,
        SearchStatus.FAILED,
    }
