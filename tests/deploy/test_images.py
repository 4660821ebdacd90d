"""The images, built and started: they serve, train, drain and keep nothing of the machine.

The containers share one network that has nothing but loopback, so that what is shown here needs
nothing from outside.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.deploy.containers import BASE, Containers, containers
from tests.worker.stack import search_spec

pytestmark = [pytest.mark.slow, pytest.mark.images, pytest.mark.timeout(900)]

IMAGES = ("controller", "worker-cpu")
OWN_ENVIRONMENT = {
    *("PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "HOME"),
    *("XDG_DATA_HOME", "XDG_CACHE_HOME", "RAY_USAGE_STATS_ENABLED", "container"),
}
RAY_TOKEN = "0123456789abcdef" * 2
READ_TRIALS = """
import os, sys, httpx2
headers = {"Authorization": "Bearer " + os.environ["BRAINFORMER_TOKEN"]}
url = f"http://127.0.0.1:8700/api/v1/searches/{sys.argv[1]}/trials"
print(httpx2.get(url, headers=headers, trust_env=False).text)
"""
READ_PAGE = """
import json, re, httpx2
with httpx2.Client(base_url="http://127.0.0.1:8700", trust_env=False) as http:
    page = http.get("/")
    parts = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    print(json.dumps({"/": page.status_code, **{p: http.get(p).status_code for p in parts}}))
"""


@dataclass
class Site:
    """A controller that runs, and who may talk to it."""

    engine: Containers
    name: str
    tokens: dict[str, str]

    def brainformer(self, *arguments: str) -> str:
        """Returns the stdout of a command that is run beside the containers."""
        return self.python("-m", "brainformer.api.cli.main", *arguments)

    def python(self, *arguments: str) -> str:
        """Returns the stdout of this interpreter, run in the containers' network."""
        told = self.engine.beside(
            self.name,
            *arguments,
            BRAINFORMER_TOKEN=self.tokens["write"],
            BRAINFORMER_URL="http://127.0.0.1:8700",
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    def wait(self, search: str, *, seconds: float = 150) -> dict[str, Any]:
        """Returns the search once it has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found: dict[str, Any] = json.loads(self.brainformer("search", "show", search, "--json"))
            if found["status"] not in {"running", "stopping"}:
                return found
            time.sleep(2)
        raise TimeoutError(found)


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Iterator[Containers]:
    with containers(tmp_path_factory.mktemp("images")) as made:
        yield made


@pytest.fixture(scope="module")
def images(engine) -> dict[str, str]:
    """Each image by name, built of this checkout."""
    return {
        "controller": engine.build("controller"),
        "worker-cpu": engine.build("worker", ACCELERATOR="cpu"),
    }


@pytest.fixture(scope="module")
def site(engine, images) -> Site:
    """A controller with tokens, as docs/deploy.md starts one."""
    image, data = images["controller"], f"--volume={engine.volume('controller')}:/data"
    tokens = {}
    for name, scopes in {"worker": ["worker"], "write": ["read", "write"]}.items():
        wanted = [word for scope in scopes for word in ("--scope", scope)]
        made = engine.once(image, "token", "create", name, *wanted, options=(data,))
        assert made.returncode == 0, made.stderr
        tokens[name] = made.stdout.strip()
    name = engine.start("controller", image, options=("--network=none", data))
    end = time.monotonic() + 60
    while not engine.healthy(name):
        assert time.monotonic() < end, engine.logs(name)
        time.sleep(1)
    return Site(engine, name, tokens)


def create(site: Site, tmp_path, name: str, *, trials: int) -> str:
    spec = search_spec(name, trials=trials, budget_seconds=1.0)
    spec["proxy"] |= {"validation_tokens": 2048}
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(spec))
    return site.brainformer("search", "create", "-f", str(file)).strip()


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_keeps_nothing_of_the_machine_that_built_it(engine, images, name):
    told = engine.inspect(images[name])
    settings = told["Config"]
    assert {pair.split("=")[0] for pair in settings["Env"]} <= OWN_ENVIRONMENT
    assert settings["User"] == "10001:10001"
    assert told["Healthcheck"]["Test"][0] == "CMD"
    assert not re.search(r"https?://(?!127\.0\.0\.1)|index-url", json.dumps(told["History"]))
    look = "sha256sum < /etc/ssl/certs/ca-certificates.crt; ls -A /run/secrets /etc/pip.conf"
    inside = engine.once(images[name], "-c", look, options=("--entrypoint=sh",))
    base = engine.once(BASE, "sh", "-c", look)
    assert inside.stdout == base.stdout
    tools = "from importlib.util import find_spec as f; print(f('pip'), f('setuptools'))"
    left = engine.once(images[name], "-c", tools, options=("--entrypoint=python",))
    assert left.stdout.split() == ["None", "None"], left.stderr


def test_without_a_token_the_controller_says_what_to_do(engine, images):
    told = engine.once(images["controller"])
    assert told.returncode == 1
    assert "brainformer token create" in told.stderr
    assert "Traceback" not in told.stderr


def test_two_trials_are_trained_and_the_dashboard_shows_them(engine, images, site, tmp_path):
    search = create(site, tmp_path, "standalone", trials=2)
    worker = engine.start(
        *("worker", images["worker-cpu"], "worker", "--slots", "1"),
        options=(
            *(f"--network=container:{site.name}", "--tmpfs=/tmp:mode=1777", "--shm-size=256m"),
            f"--env=BRAINFORMER_TOKEN={site.tokens['worker']}",
        ),
    )
    found = site.wait(search)
    assert found["status"] == "completed", engine.logs(worker)
    trials = json.loads(site.python("-c", READ_TRIALS, search))["items"]
    assert [one["status"] for one in trials] == ["completed"] * 3, trials
    assert engine.healthy(worker)
    page = json.loads(site.python("-c", READ_PAGE))
    assert len(page) > 3
    assert set(page.values()) == {200}, page
    assert engine.stop(worker) == 0, engine.logs(worker)


def test_a_pod_of_a_ray_head_and_a_dispatcher_trains(engine, images, site, tmp_path):
    """The head pod of the chart: two containers that share processes, memory and Ray's folder."""
    image = images["worker-cpu"]
    shared = (
        *(f"--network=container:{site.name}", "--tmpfs=/tmp:mode=1777"),
        *(f"--volume={engine.volume('ray')}:/tmp/ray", "--env=RAY_AUTH_MODE=token"),
        f"--env=RAY_AUTH_TOKEN={RAY_TOKEN}",
    )
    start = "ray start --head --num-cpus=1 --object-store-memory=104857600 --block"
    head = engine.start(
        *("head", image, "-c", f"{start} --include-dashboard=false"),
        options=(*shared, "--entrypoint=bash", "--ipc=shareable", "--shm-size=256m"),
    )
    search = create(site, tmp_path, "pod", trials=1)
    wait = "until ray health-check --address 127.0.0.1:6379; do sleep 1; done"
    run = "exec brainformer worker --slots 1 --ray-address 127.0.0.1:6379"
    dispatcher = engine.start(
        *("dispatcher", image, "-c", f"{wait}; {run}"),
        options=(
            *(*shared, "--entrypoint=bash", f"--ipc=container:{head}", f"--pid=container:{head}"),
            f"--env=BRAINFORMER_TOKEN={site.tokens['worker']}",
        ),
    )
    found = site.wait(search)
    assert found["status"] == "completed", engine.logs(dispatcher) + engine.logs(head)
    assert engine.stop(dispatcher) == 0, engine.logs(dispatcher)


def test_the_controller_ends_in_order(engine, site):
    assert engine.stop(site.name) == 0, engine.logs(site.name)
