import resource
import signal
import subprocess
import sys
import time

import httpx2
import pytest

from brainformer.search.storage_errors import StorageUnavailable
from tests.api.controller_process import controller_process
from tests.api.rest_site import (
    ROOT,
    SPEC,
    claim,
    client,
    create,
    finish,
    served,
)


def metric(text: str, name: str) -> float:
    line = next(line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


def database(folder) -> str:
    return f"sqlite:///{folder / 'rest.db'}"


def test_metrics_tell_outcomes_lease_ages_latencies_and_utilisation(tmp_path):
    with client(tmp_path) as http:
        create(http)
        finish(http, claim(http)[0], utilisation=0.93)
        claim(http)
        http.app.state.controller.hub.poke()
        end = time.monotonic() + 10
        while (
            'brainformer_attempts_total{outcome="completed"} 1.0' not in http.get("/metrics").text
        ):
            assert time.monotonic() < end
            time.sleep(0.02)
        text = http.get("/metrics").text
    assert metric(text, "brainformer_trials_completed") == 1
    assert metric(text, "brainformer_trials_running") == 1
    assert metric(text, "brainformer_database_up") == 1
    assert metric(text, "brainformer_workers_alive") == 1
    assert metric(text, "brainformer_oldest_lease_age_seconds") >= 0
    assert metric(text, 'brainformer_search_seconds_count{step="ask"}') == 2
    assert metric(text, 'brainformer_search_seconds_count{step="tell"}') == 1
    assert metric(text, "brainformer_worker_utilisation_sum") == pytest.approx(0.93)
    route = 'route="/api/v1/leases/{lease_id}/result"'
    assert f'brainformer_http_requests_total{{method="POST",{route},status="200"}} 1.0' in text


def test_metrics_tell_how_the_process_and_its_pools_are(tmp_path):
    with client(tmp_path) as http:
        create(http)
        text = http.get("/metrics").text
    assert metric(text, "process_resident_memory_bytes") > 10 * 2**20
    assert 3 < metric(text, "process_open_fds") < metric(text, "process_max_fds")
    assert metric(text, 'python_gc_collections_total{generation="2"}') >= 0
    assert metric(text, "brainformer_threads") > 1
    assert metric(text, 'brainformer_pool_threads_most{pool="requests"}') == 40
    assert metric(text, 'brainformer_pool_threads_taken{pool="care"}') == 1  # it asks itself
    assert metric(text, 'brainformer_database_connections_most{group="write"}') == 1
    assert metric(text, "brainformer_database_writable") == 1
    assert 0 <= metric(text, "brainformer_database_seconds_since_write") < 60
    for task in ("events", "reaper", "pulse", "retention"):
        assert metric(text, f'brainformer_task_up{{task="{task}"}}') == 1
        assert 0 <= metric(text, f'brainformer_task_seconds{{task="{task}"}}') < 60


def test_metrics_do_not_grow_with_foreign_paths_and_methods(tmp_path):
    with client(tmp_path) as http:
        for index in range(20):
            http.get(f"/nowhere-{index}")
            http.request(f"VERB{index}", "/healthz")
        text = http.get("/metrics").text
    assert "nowhere-" not in text
    assert "VERB" not in text


def test_readiness_follows_the_database_and_liveness_does_not(tmp_path, monkeypatch):
    with client(tmp_path, token_cache_seconds=0) as http:
        assert http.get("/readyz").json()["status"] == "ok"
        assert metric(http.get("/metrics").text, "brainformer_database_up") == 1
        store = http.app.state.controller.store

        def gone(**_: bool) -> None:
            raise StorageUnavailable("the server closed the connection")

        monkeypatch.setattr(store._database, "read", gone)
        answer = http.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert "retry-after" in answer.headers
        assert http.get("/healthz").status_code == 200
        assert metric(http.get("/metrics").text, "brainformer_database_up") == 0


@pytest.mark.parametrize(("how", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_closes_open_streams_and_waiting_claims_in_time(tmp_path, how, exit_code):
    with (
        controller_process(database(tmp_path)) as running,
        httpx2.Client(base_url=running.url, timeout=20, trust_env=False) as http,
        http.stream("GET", f"{ROOT}/events") as stream,
        http.stream("GET", f"{ROOT}/events") as second,
    ):
        lines, others = stream.iter_lines(), second.iter_lines()
        assert next(lines).startswith(":")
        assert next(others).startswith(":")
        began = time.monotonic()
        running.process.send_signal(how)
        list(lines)  # ends in order: a broken stream would raise
        list(others)
        assert running.process.wait(timeout=8) == exit_code
        assert time.monotonic() - began < 5


def test_head_is_served_wherever_get_is(tmp_path):
    with client(tmp_path) as http:
        made = create(http)
        pages = ["/readyz", "/healthz", "/metrics", "/docs", "/", f"{ROOT}/openapi.json"]
        pages += [f"{ROOT}/searches", f"{ROOT}/searches/{made['id']}", f"{ROOT}/none"]
        for page in pages:
            head, whole = http.head(page), http.get(page)
            assert (head.status_code, head.content) == (whole.status_code, b""), page
            assert head.headers["content-type"] == whole.headers["content-type"]
        assert http.head(f"{ROOT}/leases/claim").status_code == 405


def test_the_head_of_a_stream_ends(tmp_path):
    with served(tmp_path) as (http, _):
        assert http.head(f"{ROOT}/events").status_code == 200
        assert http.get("/healthz").status_code == 200


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_by_readiness_until_there_is_space(tmp_path):
    with controller_process(database(tmp_path)) as running:
        pid, log = running.process.pid, tmp_path / "rest.db-wal"
        none_more = (log.stat().st_size, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, none_more)
        end = time.monotonic() + 20  # a probe writes if nobody has for a while
        while (answer := httpx2.get(f"{running.url}/readyz", trust_env=False)).status_code == 200:
            assert time.monotonic() < end
            time.sleep(0.5)
        assert answer.status_code == 503
        assert answer.json()["code"] in {"storage_full", "storage_unreachable"}
        refused = httpx2.post(f"{running.url}{ROOT}/searches", json=SPEC, trust_env=False)
        assert refused.status_code == 503
        everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, everything)
        assert httpx2.get(f"{running.url}/readyz", trust_env=False).status_code == 200


def test_a_file_that_was_removed_is_told_by_readiness(tmp_path):
    with controller_process(database(tmp_path)) as running:
        (tmp_path / "rest.db").unlink()
        answer = httpx2.get(f"{running.url}/readyz", trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_replaced")


def test_logs_are_json_with_request_id_and_actor(tmp_path):
    with controller_process(database(tmp_path)) as running:
        headers = {"X-Request-ID": "find-me"}
        path = f"{running.url}{ROOT}/searches"
        answer = httpx2.post(path, json=SPEC, headers=headers, trust_env=False)
        assert answer.status_code == 201
    assert not [line for line in running.finish_log() if "text" in line]
    [line] = [one for one in running.log if one.get("request_id") == "find-me"]
    assert (line["status"], line["who"]) == (201, "local")
    assert line["message"] == f"POST {ROOT}/searches"


def test_a_file_of_settings_serves(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("max_body_bytes: 1024\n")
    with controller_process(database(tmp_path), "--config", str(file)) as running:
        path = f"{running.url}{ROOT}/searches"
        answer = httpx2.post(path, content=b"x" * 2000, trust_env=False)
        assert answer.status_code == 413


def test_another_address_without_tokens_is_one_sentence(tmp_path):
    command = [
        sys.executable, "-m", "brainformer.api.cli.main", "serve",
        "--port", "0", "--host", "0.0.0.0",
        "--database", database(tmp_path),
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "token create" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("reap_seconds", [0.2, 3600])
def test_a_frozen_controller_expires_no_lease(tmp_path, reap_seconds):
    """Whether the reaper or a claim is the first to look afterwards."""
    with (
        controller_process(database(tmp_path), reap_seconds=reap_seconds) as running,
        httpx2.Client(base_url=running.url, timeout=20, trust_env=False) as http,
    ):
        create(http, lease_seconds=4, max_attempts=1)
        lease = claim(http)[0]
        for _ in range(2):
            time.sleep(1.5)
            path = f"{ROOT}/leases/{lease['lease_id']}/progress"
            assert http.post(path, json={}).json()["action"] == "continue"
            running.process.send_signal(signal.SIGSTOP)
            time.sleep(6)
            running.process.send_signal(signal.SIGCONT)
            assert claim(http) == []  # looks for lapsed leases
            time.sleep(0.5)
            assert http.post(path, json={}).json()["action"] == "continue"
        assert finish(http, lease)["status"] == "completed"
