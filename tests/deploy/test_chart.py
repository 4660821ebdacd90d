"""The chart, rendered by Helm and judged by the schemas of what it makes."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from brainformer.api.settings import load_settings
from tests.deploy.chart import (
    CHART,
    VALUES,
    containers,
    documents,
    of_kind,
    pod_specs,
    rendered,
    template,
    values_of,
)
from tests.deploy.raycluster_schema import faults, schemas
from tests.deploy.tools import run_tool

KUBERNETES = ("1.29", "1.37")
CUSTOM = {"RayCluster", "ServiceMonitor", "PrometheusRule"}
ALL = (
    "--set=ingress.enabled=true,ingress.host=search.example.org,ingress.tlsSecret=tls",
    "--set=controller.rootPath=/brainformer,controller.settings.claims_per_second=500",
    "--set=monitoring.serviceMonitor=true,monitoring.rules=true,monitoring.dashboard=true",
    "--set=image.registry=registry.example.org/team,image.pullSecrets[0]=pull",
)
OWN_DATABASE = ("--set=database.bundled=false,secrets.existing=mine",)
VARIANTS = {
    "plain": (),
    "all": ALL,
    "own-database": OWN_DATABASE,
    "cpu": values_of("cpu"),
    "gpu": values_of("gpu"),
    "gke-tpu": (*values_of("gke-tpu"), *ALL),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def arguments(request) -> tuple[str, ...]:
    return request.param


def test_there_are_values_for_cpus_gpus_and_tpus():
    assert {path.stem for path in VALUES} == {"cpu", "gpu", "gke-tpu"}
    assert {path.stem for path in VALUES} <= set(VARIANTS)


def test_helm_lint_finds_nothing(arguments):
    told = run_tool("helm", "lint", "--strict", CHART, *arguments)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_every_document(arguments, version, tmp_path):
    file = tmp_path / "rendered.yaml"
    file.write_text(rendered(*arguments))
    told = run_tool("kubernetes-validate", "--strict", "--kubernetes-version", version, file)
    assert told.returncode == 0, told.stdout + told.stderr
    judged = told.stdout + told.stderr
    unknown = set(re.findall(r"schema for kind (\w+)", judged))
    assert unknown <= CUSTOM
    known = [each for each in documents(*arguments) if each["kind"] not in CUSTOM]
    assert judged.count(" passed for resource ") == len(known)


def test_kubernetes_validate_would_find_a_typo(tmp_path):
    file = tmp_path / "rendered.yaml"
    file.write_text(rendered().replace("readOnlyRootFilesystem", "readOnlyRoot"))
    told = run_tool("kubernetes-validate", "--strict", "--kubernetes-version", "1.37", file)
    assert told.returncode != 0


@pytest.mark.parametrize("name", schemas())
def test_kuberay_takes_every_cluster(name, arguments):
    for cluster in of_kind("RayCluster", *arguments).values():
        assert faults(schemas()[name], cluster) == []


@pytest.mark.parametrize("name", schemas())
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("numOfHosts:", "numOfHost:"),
        ("maxReplicas: ", "maxReplicas: many"),
        ("num-cpus: ", "num-cpus: !!int "),
        ("shareProcessNamespace: true", "shareProcessNamespace: sure"),
        ("mode: token", "mode: open"),
    ],
)
def test_a_mistake_in_a_cluster_would_be_found(name, old, new):
    text = rendered(*values_of("gke-tpu"))
    assert old in text
    if "!!int" in new:
        text, old, new = re.sub(r'num-cpus: "(\d+)"', r"num-cpus: \1", text), "", ""
    broken = yaml.safe_load_all(text.replace(old, new) if old else text)
    clusters = [found for found in broken if found and found["kind"] == "RayCluster"]
    assert any(faults(schemas()[name], cluster) for cluster in clusters)


def test_every_pod_is_hardened(arguments):
    specs = pod_specs(documents(*arguments))
    assert specs
    for spec in specs:
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        mounted = {volume["name"] for volume in spec["volumes"]}
        mounted |= {"files"}  # of the database's claim
        for container in containers(spec):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert set(mounts) <= mounted
            if container["name"] != "postgres":
                assert {"/data", "/tmp"} <= set(mounts.values())


def test_only_the_heads_autoscaler_may_ask_kubernetes(arguments):
    for spec in pod_specs(documents(*arguments)):
        head = spec["containers"][0]["name"] == "ray-head"
        assert spec.get("automountServiceAccountToken", True) is head


def test_no_secret_is_in_a_pods_spec_and_workers_never_see_the_databases(arguments):
    for found in documents(*arguments):
        if found["kind"] == "Secret":
            continue
        assert not re.search(r"bf_\w{20}|://[^/\s]*:[^/\s]+@", json.dumps(found))
        if found["kind"] == "RayCluster":
            assert "database" not in json.dumps(found)
            assert "admin-token" not in json.dumps(found)


def test_a_generated_secret_holds_what_the_controller_takes():
    data = of_kind("Secret")["brainformer"]["data"]
    keys = {"admin-token", "worker-token", "metrics-token", "database-url", "database-password"}
    assert set(data) == keys
    again = run_tool("helm", "template", "brainformer", CHART)
    assert data["admin-token"] not in again.stdout  # nothing is hard-coded


def test_a_secret_of_ones_own_is_used_throughout_and_none_is_made():
    text = rendered(*OWN_DATABASE, *values_of("cpu"))
    assert of_kind("Secret", *OWN_DATABASE, *values_of("cpu")) == {}
    names = re.findall(r"secretKeyRef: \{name: ([\w-]+), key: (?:admin|worker|database)", text)
    assert set(names) == {"mine"}
    assert "StatefulSet" not in text
    assert "helm.sh/hook: pre-install,pre-upgrade" in text


def test_the_schema_is_brought_up_before_an_upgrade():
    (job,) = of_kind("Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["db", "upgrade"]


def test_the_controllers_settings_are_settings(tmp_path):
    file = tmp_path / "settings.yaml"
    host = "--set=ingress.enabled=true,ingress.host=search.example.org"
    more = (
        "--set=controller.settings.claims_per_second=500,controller.allowedHosts[0]=a.example.org"
    )
    large = "--set=controller.settings.max_parameters=3000000000"
    found = of_kind("ConfigMap", host, more, large)
    file.write_text(found["brainformer-controller"]["data"]["settings.yaml"])
    settings = load_settings(file)
    assert settings.log_format == "json"
    assert settings.claims_per_second == 500
    assert settings.max_parameters == 3_000_000_000
    assert {
        "search.example.org",
        "a.example.org",
        "brainformer-controller",
        "brainformer-controller.default",
        "localhost",
    } <= settings.trusted_hosts
    assert "*" not in settings.trusted_hosts


def test_without_host_names_any_is_served():
    settings = of_kind("ConfigMap")["brainformer-controller"]["data"]["settings.yaml"]
    assert yaml.safe_load(settings) == {"log_format": "json"}


def test_below_a_path_ingress_controller_workers_and_scrape_agree():
    found = documents(*ALL, *values_of("cpu"))
    by_kind = {each["kind"]: each for each in found}
    rule = by_kind["Ingress"]["spec"]["rules"][0]
    assert rule["http"]["paths"][0]["path"] == "/brainformer"
    maps = of_kind("ConfigMap", *ALL, *values_of("cpu"))
    settings = maps["brainformer-controller"]["data"]["settings.yaml"]
    assert yaml.safe_load(settings)["root_path"] == "/brainformer"
    assert "http://brainformer-controller.default:8700/brainformer" in rendered(
        *ALL, *values_of("cpu")
    )
    assert by_kind["ServiceMonitor"]["spec"]["endpoints"][0]["path"] == "/brainformer/metrics"


def test_probes_ask_by_a_name_that_is_always_served():
    (deployment,) = of_kind("Deployment").values()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["httpHeaders"] == [
            {"name": "Host", "value": "localhost"}
        ]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_every_policy_that_names_egress_remembers_dns(arguments):
    policies = of_kind("NetworkPolicy", *arguments)
    assert {"brainformer-controller"} <= set(policies)
    for name, policy in policies.items():
        if name.endswith(("-head", "-database")):
            continue  # a second one on the same pods; a database asks nobody
        ports = [
            (port["protocol"], port["port"])
            for rule in policy["spec"]["egress"]
            for port in rule.get("ports", ())
        ]
        assert {("UDP", 53), ("TCP", 53)} <= set(ports), name


def test_policies_and_monitors_find_the_pods_they_mean(arguments):
    found = documents(*arguments)
    labels = []
    for each in found:
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}:
            labels.append(each["spec"]["template"]["metadata"]["labels"])
        if each["kind"] == "RayCluster":
            ray = {"ray.io/cluster": each["metadata"]["name"]}
            groups = [each["spec"]["headGroupSpec"], *each["spec"]["workerGroupSpecs"]]
            for group, kind in zip(groups, ("head", "worker"), strict=True):
                own = group["template"]["metadata"]["labels"]
                labels.append({**own, **ray, "ray.io/node-type": kind})
    selectors = [
        peer["podSelector"]["matchLabels"]
        for policy in found
        if policy["kind"] == "NetworkPolicy"
        for rule in (*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ()))
        for peer in (*rule.get("from", ()), *rule.get("to", ()))
        if "podSelector" in peer
    ]
    asked = [each["kind"] for each in found if each["kind"] in {"StatefulSet", "RayCluster"}]
    assert len(selectors) >= 2 * len(asked)
    for selector in selectors:
        assert any(selector.items() <= own.items() for own in labels), selector


TPU = "pools.v6e-16"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--set=controller.replica=2",), "'replica' not allowed"),
        (("--set=databse.bundled=false",), "'databse' not allowed"),
        (("--set=controller.replicas=0",), "minimum"),
        (("--set=image.pullPolicy=Sometimes",), "pullPolicy"),
        (("--set=controller.rootPath=brainformer/",), "rootPath"),
        (("--set=secrets.databaseUrl=mysql://x",), "databaseUrl"),
        (("--set=database.bundled=false",), "name your PostgreSQL"),
        (("--set=ingress.enabled=true",), "ingress.host"),
        (("--set=pools.cpu.platform=cpu",), "nodes"),
        ((*values_of("gpu"), "--set=pools.h200.nodes.hosts=2"), "must share its checkpoints"),
        (
            (*values_of("gke-tpu"), f"--set={TPU}.trial.accelerators=2"),
            "takes all chips of each, 4",
        ),
        (("--set=pools.My_Pool.platform=cpu",), "My_Pool"),
        ((*values_of("cpu"), "--set=pools.cpu.nodes.maxx=3"), "'maxx' not allowed"),
        ((*values_of("cpu"), "--set=pools.cpu.trial.cores=3"), "takes 3 cores of a node"),
        ((*values_of("cpu"), "--set=pools.cpu.nodes.min=9"), "nodes.min is 9"),
        ((*values_of("cpu"), "--set=pools.cpu.trial.accelerators=1"), "takes no accelerators"),
        ((*values_of("gpu"), "--set=pools.h200.trial.accelerators=0"), "say trial.accelerators"),
        ((*values_of("gpu"), "--set=pools.h200.trial.accelerators=9"), "takes 9 accelerators"),
        ((*values_of("gke-tpu"), f"--set={TPU}.trial.accelerators=3"), "must be one of 1, 2, 4, 8"),
        ((*values_of("gke-tpu"), f"--set={TPU}.nodes.hosts=2"), "16 chips, but 2 hosts of 4"),
        ((*values_of("gpu"), "--set=pools.h200.platform=tpu"), "nodes.tpu.topology"),
        ((*values_of("gke-tpu"), f"--set={TPU}.nodes.tpu.topology=4by4"), "topology"),
    ],
)
def test_a_wrong_value_is_named_before_anything_is_made(given, words):
    told = template(*given)
    assert told.returncode != 0
    assert told.stdout == ""
    assert words in told.stderr


def test_the_notes_say_what_to_do_next():
    told = run_tool(
        *("helm", "install", "--dry-run=client", "brainformer", CHART, *values_of("cpu")),
    )
    notes = told.stdout.partition("NOTES:")[2]
    for words in ("port-forward service/brainformer-controller 8700", "admin-token", "create -f"):
        assert words in notes
    assert "neither replicas nor backups" in notes
