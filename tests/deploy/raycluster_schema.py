"""What a RayCluster may say: KubeRay's own schema where there is a copy, else the fields we set.

KubeRay's schema is not part of this repository. A copy (its CRD's `openAPIV3Schema`, gzipped) is
looked for in shared/data/ here and above; without one, `FIELDS` still finds typos and wrong types.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from tests.repository import REPOSITORY

COPY = Path("shared") / "data" / "raycluster-v1.schema.json.gz"
Schema = dict[str, Any]


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {"type": "object"}  # Kubernetes' own: kubernetes-validate judges its like elsewhere
ITEMS: Schema = {"type": "array", "items": ANY}
STRINGS: Schema = {"type": "object", "additionalProperties": STRING}
_TEMPLATE = _object(
    ("spec",),
    metadata=_object(labels=STRINGS),
    spec=_object(
        ("containers",),
        enableServiceLinks=FLAG,
        shareProcessNamespace=FLAG,
        automountServiceAccountToken=FLAG,
        restartPolicy=STRING,
        securityContext=ANY,
        affinity=ANY,
        containers=ITEMS,
        initContainers=ITEMS,
        volumes=ITEMS,
        tolerations=ITEMS,
        imagePullSecrets=ITEMS,
        terminationGracePeriodSeconds=NUMBER,
        nodeSelector=STRINGS,
    ),
)
FIELDS = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayCluster"},
    metadata=ANY,
    spec=_object(
        ("headGroupSpec",),
        rayVersion=STRING,
        suspend=FLAG,
        enableInTreeAutoscaling=FLAG,
        authOptions=_object(mode={"enum": ["disabled", "token"]}),
        autoscalerOptions=_object(
            version=STRING,
            upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
            idleTimeoutSeconds=NUMBER,
            resources=ANY,
            securityContext=ANY,
            volumeMounts=ITEMS,
        ),
        headGroupSpec=_object(
            ("template",), serviceType=STRING, rayStartParams=STRINGS, template=_TEMPLATE
        ),
        workerGroupSpecs={
            "type": "array",
            "items": _object(
                ("groupName", "minReplicas", "maxReplicas", "template"),
                groupName=STRING,
                rayStartParams=STRINGS,
                template=_TEMPLATE,
                replicas=NUMBER,
                minReplicas=NUMBER,
                maxReplicas=NUMBER,
                numOfHosts=NUMBER,
            ),
        },
    ),
)


def schemas() -> dict[str, Schema]:
    """Returns the schemas to judge by, by name."""
    found = {"fields": FIELDS}
    for folder in (REPOSITORY, *REPOSITORY.parents):
        if (folder / COPY).exists():
            found["KubeRay"] = json.loads(gzip.decompress((folder / COPY).read_bytes()))
            break
    return {name: strict(schema) for name, schema in found.items()}


def strict(schema: Any) -> Any:
    """Returns the schema with unknown fields refused, and what Kubernetes writes in its own way."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if made.get("x-kubernetes-int-or-string") is True:
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if isinstance(schema.get("properties"), dict) and schema.get("type", "object") == "object":
        made.setdefault("additionalProperties", False)
    return made


def faults(schema: Schema, cluster: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a cluster, each with its place."""
    errors = Draft202012Validator(schema).iter_errors(cluster)
    return [f"{error.json_path}: {error.message[:300]}" for error in errors]
