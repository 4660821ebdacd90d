"""deploy/compose.yaml, judged without a Docker engine: references, health, secrets, reach."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.repository import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
OWN_SERVICES = ("migration", "controller", "worker")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


def test_every_name_that_a_service_uses_is_declared(compose, services):
    for name, service in services.items():
        assert set(service.get("secrets", ())) <= set(compose["secrets"]), name
        assert set(service["networks"]) <= set(compose["networks"]), name
        volumes = {volume.split(":")[0] for volume in service.get("volumes", ())}
        assert volumes <= set(compose["volumes"]), name
        assert set(service.get("depends_on", ())) <= set(services), name


def test_nothing_is_put_into_a_root_that_is_read_only(compose, services):
    assert "configs" not in compose  # Compose cannot create one in a read-only container
    for name, service in services.items():
        assert not (service.get("read_only") and "configs" in service), name


def test_the_password_reaches_the_address_and_no_environment(services):
    for name in ("migration", "controller"):
        shell, flag, script, zeroth = services[name]["entrypoint"]
        assert (shell, flag, zeroth) == ("sh", "-c", "brainformer")
        assert "$$(cat /run/secrets/postgres_password)" in script
        assert script.rstrip().endswith('exec brainformer "$$@"')
        assert "environment" not in services[name]


def test_builds_point_at_dockerfiles_that_exist(services):
    for name in OWN_SERVICES:
        build = services[name]["build"]
        context = DEPLOY / build["context"]
        assert (context / build["dockerfile"]).is_file(), name


def test_what_others_wait_for_has_a_healthcheck(services):
    waited_for = {
        name
        for service in services.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }
    assert {"database", "controller"} <= waited_for
    for name in waited_for:
        assert services[name]["healthcheck"]["test"][0] == "CMD", name


def test_the_schema_is_migrated_before_the_controller_starts(services):
    waits = services["controller"]["depends_on"]
    assert waits["migration"]["condition"] == "service_completed_successfully"
    assert services["migration"]["command"] == ["db", "upgrade"]


def test_the_worker_knows_no_database_credentials_and_cannot_reach_the_database(services):
    worker = services["worker"]
    assert "postgres_password" not in worker["secrets"]
    assert "postgres" not in str(worker)
    assert set(worker["networks"]).isdisjoint(services["database"]["networks"])


def test_the_database_is_on_an_internal_network_and_publishes_no_port(compose, services):
    assert services["database"]["networks"] == ["storage"]
    assert compose["networks"]["storage"]["internal"] is True
    assert "ports" not in services["database"]


def test_published_ports_are_bound_to_loopback(services):
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name


@pytest.mark.parametrize("name", OWN_SERVICES)
def test_own_containers_have_a_read_only_root_and_no_capabilities(services, name):
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # the image's own, which is not root


def test_secrets_come_from_files_that_git_ignores(compose, services):
    for secret in compose["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|TOKEN|SECRET", variable)
            assert not secret or variable.endswith("_FILE"), (name, variable)
            assert not re.search(r"://[^/]*:[^/]*@", str(value)), (name, variable)


def test_the_database_image_is_pinned_to_a_full_version(services):
    assert re.fullmatch(r"postgres:\d+\.\d+-\w+", services["database"]["image"])
