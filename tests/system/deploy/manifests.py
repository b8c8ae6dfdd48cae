"""Reads deploy/kubernetes as it stands there, file by file, without kustomize."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect.utilities.templating import apply_values

from tests.system.deploy.compose import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
PARTS = ("base", "small", "production", "cohort-jobs")
"""The base, the overlays, and what may stand beside one."""

TEMPLATES = {"Deployment", "StatefulSet", "Job"}
"""Kinds that make pods."""

Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """What an object makes pods of."""

    name: str
    labels: dict[str, str]
    spec: Object

    @property
    def container(self) -> Object:
        """Return the pod's only container."""
        (container,) = self.spec["containers"]
        return dict(container)

    @property
    def component(self) -> str:
        """Return which part of the service it is."""
        return self.labels["app.kubernetes.io/component"]

    def mounted(self) -> Iterator[Object]:
        """Yield each ConfigMap and Secret that a volume of it is made of."""
        for volume in self.spec.get("volumes", []):
            for source in volume.get("projected", {}).get("sources", [volume]):
                yield from ({kind: source[kind]} for kind in ("secret", "configMap") if kind in source)


def kustomization(part: str) -> Object:
    """Return a part's kustomization."""
    return dict(yaml.safe_load((FOLDER / part / "kustomization.yaml").read_text(encoding="utf-8")))


def objects(*parts: str) -> list[Object]:
    """Return the objects that parts list as resources, as they are before any patch."""
    files = [FOLDER / part / name for part in parts for name in kustomization(part)["resources"]]
    return [found for file in files for found in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def of_kind(kind: str, *parts: str) -> list[Object]:
    """Return the objects of a kind, of all parts unless some are named."""
    return [found for found in objects(*(parts or PARTS)) if found["kind"] == kind]


def settings_of(name: str, *parts: str) -> dict[str, str]:
    """Return what a ConfigMap that parts generate or hold says."""
    found: dict[str, str] = {}
    for part in parts:
        for generated in kustomization(part).get("configMapGenerator", []):
            if generated["name"] == name:
                found |= dict(literal.split("=", 1) for literal in generated["literals"])
    return found


def filled_job(**variables: Any) -> Object:
    """Return the Job that Prefect's worker makes of the work pool's template, but for what it adds about the run."""
    template = json.loads((FOLDER / "cohort-jobs" / "work-pool.json").read_text(encoding="utf-8"))
    values = {name: one["default"] for name, one in template["variables"]["properties"].items() if "default" in one}
    configured = apply_values(template["job_configuration"], values | {"name": "quiz", **variables})
    job = dict(configured["job_manifest"])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["args"] = container["args"].split()  # as its worker does with both
    container["env"] = [{"name": name, "value": value} for name, value in container["env"].items()]
    return job


def pods() -> list[Pod]:
    """Return every pod, that of a flow run included."""
    makers = [found for found in objects(*PARTS) if found["kind"] in TEMPLATES]
    makers.append(filled_job())
    return [
        Pod(
            maker["metadata"].get("name", "run"),
            maker["spec"]["template"]["metadata"]["labels"],
            maker["spec"]["template"]["spec"],
        )
        for maker in makers
    ]


def pod(name: str) -> Pod:
    """Return a pod by the name of what makes it."""
    (found,) = [one for one in pods() if one.name == name]
    return found


def secrets_in_deployment() -> dict[str, set[str]]:
    """Return the Secrets that DEPLOYMENT.md tells to make, with the names of their files."""
    text = (ROOT / "DEPLOYMENT.md").read_text(encoding="utf-8").replace("\\\n", " ")
    made = re.findall(r"create secret generic ([a-z-]+) (.*)", text)
    return {name: set(re.findall(r"--from-file=([A-Z_]+)", files)) for name, files in made}


def is_file_of(path: Path, part: str) -> bool:
    """Say whether a part's kustomization uses a file."""
    used = kustomization(part)
    return path.name in {"kustomization.yaml", *used["resources"], *used.get("patchesStrategicMerge", [])}
