"""`brainformer worker`, as far as it goes before Ray starts."""

import sys

import pytest

from brainformer.api.cli.main import main


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Runs the command, which must end at once; returns exit code and stderr."""

    def run(*words):
        monkeypatch.setattr(
            sys, "argv", ["brainformer", "worker", "--state-folder", str(tmp_path), *words]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, " ".join(capsys.readouterr().err.split())

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--platform", "tpu", "--accelerators", "3"], "one of (1, 2, 4, 8) chips, got 3"),
        (["--platform", "gpu"], "a GPU trial takes at least one GPU"),
        (["--platform", "abacus"], "at /platform"),
        (["--logger", "paper"], "at /loggers/0"),
        (["--runner", "walk"], "at /runner"),
        (["--pool", "My Pool"], "at /pool"),
        (["--url", "ftp://controller"], "at /url"),
        (["--url", "controller:8700"], "at /url"),
        (["--slots", "0"], "--slots"),
    ],
)
def test_impossible_settings_are_named_before_anything_starts(words, said, refused):
    code, err = refused(*words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_slots_that_would_share_a_core_are_refused(refused):
    code, err = refused("--slots", "2000")
    assert code == 1
    assert "two timed trials must not share one" in err


def test_a_token_is_not_repeated_in_an_error(refused):
    _, err = refused("--token", "hush-hush", "--platform", "abacus")
    assert "hush-hush" not in err
