import os

from brainformer.worker.tune.pulse import BEAT_SECONDS, Pulse
from tests.worker.fake_clock import FakeClock


def test_a_beat_shows_in_the_files_time_and_not_more_often_than_needed(tmp_path):
    file, clock = tmp_path / "alive", FakeClock()
    pulse = Pulse(file, clock)
    pulse.beat()
    os.utime(file, (0, 0))
    clock.advance(BEAT_SECONDS / 2)
    pulse.beat()
    assert file.stat().st_mtime == 0
    clock.advance(BEAT_SECONDS)
    pulse.beat()
    assert file.stat().st_mtime > 0


def test_a_folder_that_has_gone_does_not_end_the_loop(tmp_path):
    Pulse(tmp_path / "gone" / "alive", FakeClock()).beat()
