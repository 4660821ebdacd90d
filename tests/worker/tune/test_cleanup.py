import os

from brainformer.worker.tune.cleanup import discard_old_checkpoints, prune_compiled


def test_checkpoints_go_once_they_are_old(tmp_path):
    for name, age in (("old", 100.0), ("new", 0.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "progress.json").write_text("{}")
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    discard_old_checkpoints(tmp_path, seconds=50)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_the_oldest_programs_go_until_the_rest_fit(tmp_path):
    for age, name in enumerate(("jit_c", "jit_b", "jit_a")):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "reference-speed.json").write_text("{}")
    prune_compiled(tmp_path, limit_bytes=200)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "jit_b",
        "jit_c",
        "reference-speed.json",
    ]
    prune_compiled(tmp_path, limit_bytes=200)
    assert len(list(tmp_path.iterdir())) == 3
