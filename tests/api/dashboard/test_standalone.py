"""Modules joined into one script: each runs once, after what it imports; what is odd is refused."""

from __future__ import annotations

import pytest

from brainformer.api.dashboard.joining import joined
from brainformer.api.dashboard.standalone import script


def test_every_module_stands_once_behind_those_that_it_imports():
    sources = {
        "a/entry.js": 'import { one as first } from "../b.js";\nimport * as c from "./c.js";\n'
        "run();",
        "b.js": 'import { two } from "./a/c.js";\nexport const one = two;',
        "a/c.js": "export async function two() {}\nexport class Three {}",
    }
    written = joined("a/entry.js", sources)
    places = [written.index(text) for text in ("async function two", "const one = two", "run();")]
    assert places == sorted(places)
    assert written.count("async function two") == 1
    assert "const { one: first } = m1;" in written
    assert "const c = m0;" in written
    assert "return { two, Three };" in written


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"a.js": 'import { x } from "./b.js";'}, "a.js imports b.js, which is not there"),
        (
            {"a.js": 'import { x } from "./b.js";', "b.js": 'import { y } from "./a.js";'},
            "a.js imports b.js imports a.js",
        ),
        ({"a.js": "export default function () {}"}, "of a.js is not understood"),
        ({"a.js": 'const x = await import("./b.js");'}, "of a.js is not understood"),
    ],
)
def test_what_cannot_be_joined_is_refused(sources, words):
    with pytest.raises(ValueError, match=words):
        joined("a.js", sources)


def test_the_reports_script_fetches_nothing():
    written = script("report/report.js")
    assert "class FitnessChart" in written
    assert "fetch(" not in written
    assert "EventSource" not in written
