import itertools
import os
import signal

import psutil
import pytest

from brainformer.search.trials.lease_messages import Result
from brainformer.search.trials.trial import Measurements, Outcome
from brainformer.worker.process import cores, host_group
from brainformer.worker.process.host import Host, HostProcess, HostState
from brainformer.worker.process.host_group import HostGroup
from brainformer.worker.settings import WorkerSettings
from tests.worker.leases import make_lease
from tests.worker.waiting import wait_for

DONE = Result(outcome=Outcome.COMPLETED, measurements=Measurements(validation_loss=2.5))
ERROR = Result(outcome=Outcome.ERROR, message="connection reset by peer")
FULL = Result(outcome=Outcome.ERROR, message="no space left")
SAVED = Result(outcome=Outcome.PREEMPTED, message="asked to stop after 7 steps")


class ToldHost(Host):
    """A host that stands as a test says."""

    def __init__(self):
        self.calls = []
        self.member = self.mark = None
        self.now = HostState(ready=True)
        self._lease_id = ""

    def start(self, member, mark):
        self.calls.append("start")
        self.member, self.mark = member, mark

    def begin(self, lease):
        self.calls.append("begin")
        self._lease_id = lease.lease_id

    def state(self):
        return self.now

    def ends(self, result):
        self.now = HostState(ready=True, lease_id=self._lease_id, result=result)

    def dies(self, how="its training process ended with signal SIGKILL"):
        self.now = HostState(lost=how, words="some\nlast words")

    def interrupt(self):
        self.calls.append("interrupt")

    def kill(self):
        self.calls.append("kill")
        self.now = HostState()


@pytest.fixture
def settings(tmp_path):
    def make(**changes):
        given = {"url": "http://127.0.0.1:1", "pool": "cpu", "runner": "sleep", "hosts": 2}
        given |= {"ray_address": "x", "checkpoints": tmp_path / "shared", "state_folder": tmp_path}
        made = WorkerSettings(**(given | changes))
        made.make_folders()
        return made

    return make


@pytest.fixture
def group(settings, monkeypatch):
    monkeypatch.setattr(host_group, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(host_group, "LOST_SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(host_group, "FIRST_PAUSE_SECONDS", 0.1)
    told = []

    def make(*hosts, **changes):
        made = HostGroup(settings(**changes), hosts, address="10.0.0.1", tell=told.append)
        made.told = told
        return made

    return make


def running(group, *hosts, **changes):
    made = group(*hosts, **changes)
    assert made.ready(1.0)
    made.begin(make_lease())
    return made


def test_all_hosts_start_with_one_coordinator_and_each_its_number(group, tmp_path):
    hosts = [ToldHost(), ToldHost(), ToldHost()]
    for host in hosts:
        host.now = HostState()
    made = group(*hosts, hosts=3)
    assert not made.ready(0.0)
    assert [host.member.host for host in hosts] == [0, 1, 2]
    assert {host.member.hosts for host in hosts} == {3}
    (coordinator,) = {host.member.coordinator for host in hosts}
    assert coordinator.startswith("10.0.0.1:")
    assert all(host.mark.exists() for host in hosts)
    for host in hosts:
        host.now = HostState(ready=True)
    assert made.ready(1.0)
    assert not list((tmp_path / "shared").iterdir())  # the mark has gone


def test_the_result_is_the_first_hosts_once_all_have_ended(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    first.ends(DONE)
    assert made.result(0.0) is None  # the second one may be writing still
    second.ends(DONE.model_copy(update={"measurements": Measurements()}))
    assert made.result(1.0) == DONE
    assert "kill" not in first.calls + second.calls
    assert made.ready(0.0)


def test_a_lost_host_makes_the_attempt_preempted_and_ends_the_others(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    second.dies()
    result = made.result(1.0)
    assert result.outcome is Outcome.PREEMPTED
    assert result.message == (
        "host 1 of 2 was lost: its training process ended with signal SIGKILL (last words)"
    )
    assert first.calls[-1] == second.calls[-1] == "kill"
    first.now = second.now = HostState(ready=True)
    assert made.ready(1.0)
    assert first.calls.count("start") == second.calls.count("start") == 2


def test_what_breaks_because_a_host_was_lost_is_no_error_of_the_genome(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    first.ends(ERROR)
    assert made.result(0.1) is None
    second.dies()
    assert made.result(1.0).outcome is Outcome.PREEMPTED


def test_the_host_that_was_killed_is_named_not_one_that_aborted_for_it(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    first.dies("its training process ended with signal SIGABRT")
    second.dies()
    assert made.result(1.0).message.startswith("host 1 of 2 was lost")


def test_an_error_on_every_host_is_an_error(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    first.ends(FULL)
    second.ends(ERROR)
    assert made.result(1.0) == FULL
    assert first.calls[-1] == second.calls[-1] == "kill"


def test_an_error_of_another_host_is_told_while_the_first_one_waits_for_it(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    second.ends(FULL)
    result = made.result(2.0)
    assert (result.outcome, result.message) == (Outcome.ERROR, "host 1 of 2: no space left")


def test_another_host_that_is_done_earlier_is_no_reason_to_end(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    second.ends(DONE)
    assert made.result(0.6) is None
    first.ends(DONE)
    assert made.result(1.0) == DONE


def test_a_preempted_trial_saves_itself_on_all_hosts(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    first.ends(SAVED)
    second.ends(SAVED)
    assert made.preempt() == SAVED
    assert "interrupt" in first.calls
    assert "interrupt" in second.calls


def test_the_result_of_an_earlier_lease_is_not_taken_for_this_ones(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second)
    first.ends(DONE)
    second.ends(DONE)
    assert made.result(1.0) == DONE
    made.begin(make_lease(lease_id="2-1"))
    assert made.result(0.2) is None


def test_all_hosts_take_fresh_processes_at_once_by_policy(group):
    first, second = ToldHost(), ToldHost()
    made = running(group, first, second, recycle_after=1)
    first.ends(DONE)
    second.ends(DONE)
    assert made.result(1.0) == DONE
    assert first.calls[-1] == second.calls[-1] == "kill"


def test_hosts_that_do_not_come_together_are_told_and_tried_again(group):
    first, second = ToldHost(), ToldHost()
    second.dies("it has not answered for 90 s")
    made = group(first, second)
    assert not made.ready(0.0)
    assert "host 1 of 2 was lost: it has not answered for 90 s" in made.told[0]
    assert not first.mark.exists()
    assert not made.ready(0.3)
    assert first.calls == second.calls == ["start", "kill", "start"]  # after a pause
    first.now = second.now = HostState(ready=True)
    assert made.ready(1.0)


def test_hosts_that_never_join_are_given_up(group, monkeypatch):
    monkeypatch.setattr(host_group, "TOGETHER_SECONDS", 0.1)
    monkeypatch.setattr(host_group, "FIRST_PAUSE_SECONDS", 60.0)  # no next start meanwhile
    first, second = ToldHost(), ToldHost()
    second.now = HostState()
    made = group(first, second)
    assert not made.ready(0.5)
    assert "host 1 has not come" in made.told[0]
    assert first.calls[-1] == second.calls[-1] == "kill"


def test_a_host_that_dies_between_two_leases_costs_none(group):
    first, second = ToldHost(), ToldHost()
    made = group(first, second)
    assert made.ready(1.0)
    second.dies()
    assert not made.ready(0.0)
    first.now = second.now = HostState(ready=True)
    assert wait_for(lambda: made.ready(0.2))


@pytest.fixture
def processes(settings, monkeypatch):
    monkeypatch.setattr(cores, "_held", {})
    monkeypatch.setattr(host_group, "LOST_SETTLE_SECONDS", 0.1)
    made = settings()
    hosts = [HostProcess(made), HostProcess(made)]
    group = HostGroup(made, hosts, address="127.0.0.1", tell=lambda _: None)
    assert wait_for(lambda: group.ready(1.0))
    yield group, hosts
    group.kill()


def test_real_processes_serve_leases_and_a_killed_one_is_replaced(processes):
    group, hosts = processes
    for number in itertools.count(1):
        group.begin(make_lease(lease_id=f"{number}-1"))
        if number == 3:
            break
        assert wait_for(lambda: group.result(0.5)).outcome is Outcome.COMPLETED
    child = psutil.Process(hosts[1]._process.pid)
    wait_for(lambda: child.num_threads() >= 3)  # it writes its stack when it is aborted
    os.kill(child.pid, signal.SIGABRT)
    result = wait_for(lambda: group.result(0.5))
    assert result.outcome is Outcome.PREEMPTED
    assert "host 1 of 2 was lost" in result.message
    assert "SIGABRT" in result.message
    assert "trial_process.py" in result.traceback
    assert wait_for(lambda: group.ready(1.0))
    group.begin(make_lease(lease_id="4-1"))
    assert wait_for(lambda: group.result(0.5)).outcome is Outcome.COMPLETED


def test_real_processes_are_interrupted_together(processes):
    group, _ = processes
    group.begin(make_lease(proxy={"budget_seconds": 60}))
    assert group.preempt().outcome is Outcome.PREEMPTED
    assert wait_for(lambda: group.ready(1.0))


def test_a_host_that_does_not_see_the_mark_does_not_start(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("brainformer.worker.process.shared_folder.LOOK_SECONDS", 0.0)
    host = HostProcess(settings())
    host.start(None, tmp_path / "shared" / "not-there")
    assert f"writes to {tmp_path / 'shared'}; give --checkpoints" in host.state().lost
    assert not host.state().ready


def test_hosts_without_a_shared_folder_are_refused(tmp_path):
    given = {"url": "http://x", "pool": "cpu", "hosts": 2, "state_folder": tmp_path}
    with pytest.raises(ValueError, match="needs --checkpoints, a folder on storage"):
        WorkerSettings(**given, ray_address="x")
    with pytest.raises(ValueError, match="give --ray-address"):
        WorkerSettings(**given, checkpoints=tmp_path)
