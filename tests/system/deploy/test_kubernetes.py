"""deploy/kubernetes is valid, fits together, and says what code and docker-compose.yml say; no cluster is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import prefect.settings
import pytest
import yaml
from fastapi.routing import APIRoute

import main
from domain.settings import Settings, TelegramMode
from domain.version import VERSION
from local.programs import PREFECT_CLIENT
from observability.service_metrics import ASK_SECONDS
from roles.readiness import CHECK_SECONDS
from roles.webhook import create_app
from tests.system.deploy import compose
from tests.system.deploy.compose import REQUIRED, ROOT
from tests.system.deploy.manifests import (
    FOLDER,
    PARTS,
    Pod,
    filled_job,
    is_file_of,
    kustomization,
    objects,
    of_kind,
    pod,
    pods,
    secrets_in_deployment,
    settings_of,
)
from tests.system.deploy.test_dockerfile import all_of

VERSIONS = ("1.25", "1.37")
"""Of Kubernetes: the oldest that has every kind in use, and the newest whose schemas there are."""

IMAGE = "data-engineering-quiz"
ROLES = {"quiz-init": "init", "quiz-bot": "bot", "quiz-worker": "worker", "prefect-worker": "prefect", "run": "flow"}
SECRET = {"TELEGRAM_BOT_TOKEN", "DATABASE_URL", "REDIS_URL"}
KUBECTL = shutil.which("kubectl")

with_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl renders, and is not on this machine")
each_pod = pytest.mark.parametrize("one", pods(), ids=lambda one: one.name)
each_of_ours = pytest.mark.parametrize("name", [*ROLES, "prefect-server"])


def check(document: dict[str, Any]) -> None:
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)


# ---------------------------------------------------------------- form


@pytest.mark.parametrize("part", PARTS)
def test_every_object_is_one_of_kubernetes(part: str) -> None:
    for found in objects(part):
        check(found)


def test_a_mistake_would_be_found() -> None:
    (deployment, *_) = of_kind("Deployment", "base")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(deployment)


@pytest.mark.parametrize("part", PARTS)
def test_no_file_is_left_out(part: str) -> None:
    assert [path.name for path in (FOLDER / part).glob("*.yaml") if not is_file_of(path, part)] == []


@pytest.mark.parametrize("part", ["small", "production"])
def test_a_patch_changes_something_that_the_base_has(part: str) -> None:
    known = {(found["kind"], found["metadata"]["name"]) for found in objects("base")}
    for name in kustomization(part)["patchesStrategicMerge"]:
        for patch in yaml.safe_load_all((FOLDER / part / name).read_text(encoding="utf-8")):
            assert (patch["kind"], patch["metadata"]["name"]) in known


def rendered(overlay: str, image: str, host: str = "") -> list[dict[str, Any]]:
    """Return what release.sh would bring to a cluster."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "RENDER_ONLY": "1"}
    command = [str(FOLDER / "release.sh"), overlay, image, host]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout))


@with_kubectl
@pytest.mark.parametrize("overlay", ["small", "production"])
@pytest.mark.parametrize("image", ["ghcr.io/you/bot:9.9", f"ghcr.io/you/bot@sha256:{'a' * 64}"])
def test_an_overlay_is_rendered_for_a_release(overlay: str, image: str) -> None:
    found = rendered(overlay, image, "bot.example.net")
    for one in found:
        check(one)
        assert one["metadata"].get("namespace", "quiz") == "quiz"
    named = {(one["kind"], one["metadata"]["name"]): one for one in found}
    images = {
        name: one["spec"]["template"]["spec"]["containers"][0]["image"]
        for (_, name), one in named.items()
        if "template" in one.get("spec", {})
    }
    assert {images[name] for name in (*ROLES, "prefect-server") if name != "run"} == {image}
    assert set(named) >= {(one["kind"], one["metadata"]["name"]) for one in objects("base", overlay)}
    bot, worker = named["Deployment", "quiz-bot"]["spec"], named["Deployment", "quiz-worker"]["spec"]
    settings = named["ConfigMap", "quiz-settings"]["data"]
    if overlay == "production":
        assert (worker["replicas"], settings["WEBHOOK_URL"]) == (2, "https://bot.example.net")
        assert "quiz.example.org" not in yaml.dump(found)
    else:
        assert (bot["replicas"], bot["strategy"]) == (1, {"type": "Recreate"})
        assert settings == settings_of("quiz-settings", "base")


@pytest.mark.parametrize("arguments", [("nowhere", "a:1"), ("small", "a"), ("production", "a:1")])
def test_a_release_that_cannot_be_is_refused_before_anything_is_asked_of_a_cluster(arguments: tuple[str, ...]) -> None:
    command = ["/bin/sh", str(FOLDER / "release.sh"), *arguments]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


# ---------------------------------------------------------------- references


@each_pod
def test_every_config_map_and_secret_is_there(one: Pod) -> None:
    maps = {found["metadata"]["name"] for found in of_kind("ConfigMap")}
    maps |= {made["name"] for part in PARTS for made in kustomization(part).get("configMapGenerator", [])}
    told = secrets_in_deployment()
    for source in one.mounted():
        if "configMap" in source:
            assert source["configMap"]["name"] in maps
        else:
            secret = source["secret"]
            name = secret.get("name") or secret["secretName"]
            assert {item["key"] for item in secret.get("items", [])} <= told[name]
    for source in one.container.get("envFrom", []):
        assert source["configMapRef"]["name"] in maps
    for variable in one.container.get("env", []):
        if "valueFrom" in variable:
            wanted = variable["valueFrom"]["secretKeyRef"]
            assert wanted["key"] in told[wanted["name"]]


def test_every_secret_that_the_document_tells_to_make_is_used() -> None:
    used = {
        source["secret"].get("name") or source["secret"]["secretName"]
        for one in pods()
        for source in one.mounted()
        if "secret" in source
    }
    assert used == set(secrets_in_deployment())


@each_pod
def test_mounts_and_probes_name_what_the_pod_has(one: Pod) -> None:
    container = one.container
    assert {mount["name"] for mount in container["volumeMounts"]} <= {
        *(volume["name"] for volume in one.spec["volumes"]),
        *(
            claim["metadata"]["name"]
            for found in of_kind("StatefulSet")
            for claim in found["spec"]["volumeClaimTemplates"]
        ),
    }
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container.get(probe, {})
        assert {asked[kind]["port"] for kind in ("httpGet", "tcpSocket") if kind in asked} <= ports


def selected(selector: dict[str, Any]) -> list[Pod]:
    """Return the pods that a selector finds."""
    labels = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    found = [one for one in pods() if labels.items() <= one.labels.items()]
    for wanted in selector.get("matchExpressions", []):
        assert wanted["operator"] == "In"
        assert set(wanted["values"]) <= {one.component for one in pods()}
        found = [one for one in found if one.labels[wanted["key"]] in wanted["values"]]
    return found


@pytest.mark.parametrize("service", of_kind("Service"), ids=lambda service: service["metadata"]["name"])
def test_a_service_leads_to_a_port_that_a_policy_lets_through(service: dict[str, Any]) -> None:
    (one,) = selected(service["spec"]["selector"])
    assert service["metadata"]["labels"].items() <= one.labels.items()
    (port,) = service["spec"]["ports"]
    numbers = {port["name"]: port["containerPort"] for port in one.container["ports"]}
    assert numbers[port["targetPort"]] == port["port"]
    allowed = {
        allowed["port"]
        for policy in of_kind("NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
        for allowed in rule["ports"]
        if one.name in {found.name for found in selected(policy["spec"]["podSelector"])}
    }
    assert port["port"] in allowed


def test_a_policy_that_lets_out_meets_one_that_lets_in() -> None:
    policies = [policy["spec"] for policy in of_kind("NetworkPolicy")]
    checked = 0
    for policy in policies:
        for rule in policy.get("egress", []):
            for peer in rule.get("to", []):
                (target,) = selected(peer["podSelector"])
                admitted = {
                    source.name
                    for other in policies
                    if target.name in {one.name for one in selected(other["podSelector"])}
                    for allowed in other.get("ingress", [])
                    for peer in allowed["from"]
                    for source in selected(peer.get("podSelector", {"never": "there"}))
                    if rule["ports"][0] in allowed["ports"]
                }
                assert {one.name for one in selected(policy["podSelector"])} <= admitted
                checked += 1
    assert checked == 2


def test_what_scales_guards_and_publishes_names_what_there_is() -> None:
    deployments = {found["metadata"]["name"] for found in of_kind("Deployment", "base")}
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "quiz-bot" in deployments
    assert scaler["spec"]["minReplicas"] >= 2
    bot = next(found for found in of_kind("Deployment", "base") if found["metadata"]["name"] == "quiz-bot")
    assert "replicas" not in bot["spec"]  # or each release would set it back
    assert {selected(budget["spec"]["selector"])[0].name for budget in of_kind("PodDisruptionBudget")} == {
        "quiz-bot",
        "quiz-worker",
    }
    (ingress,) = of_kind("Ingress")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "quiz-bot", "port": {"name": "http"}}
    assert settings_of("quiz-settings", "production")["WEBHOOK_URL"] == f"https://{rule['host']}"
    assert path["path"] in {getattr(route, "path", "") for route in create_app(settings_for("quiz-bot")).routes}


def test_selectors_of_what_makes_pods_find_their_own_and_no_others() -> None:
    for kind in ("Deployment", "StatefulSet"):
        for found in of_kind(kind):
            assert [one.name for one in selected(found["spec"]["selector"])] == [found["metadata"]["name"]]


def test_the_rights_are_those_of_the_one_pod_that_asks_kubernetes() -> None:
    (account,), (role,), (binding,) = map(of_kind, ("ServiceAccount", "Role", "RoleBinding"))
    name = account["metadata"]["name"]
    assert pod("prefect-jobs").spec["serviceAccountName"] == name
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name}]
    assert "*" not in str(role["rules"])
    assert "secrets" not in str(role["rules"])


# ---------------------------------------------------------------- as hard as can be


@each_pod
def test_a_pod_has_no_rights_that_it_does_not_need(one: Pod) -> None:
    spec, container = one.spec, one.container
    asks_kubernetes = one.name == "prefect-jobs"
    assert spec.get("automountServiceAccountToken", True) is asks_kubernetes
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} == set(container["resources"]["requests"])
    assert container["resources"]["limits"]["memory"]


@each_of_ours
def test_our_pods_run_as_the_images_user_and_write_where_it_may(name: str) -> None:
    one = pod(name)
    (created,) = [rest for rest in all_of("RUN") if "useradd" in rest]
    assert one.spec["securityContext"]["runAsUser"] == int(re.findall(r"--uid (\d+)", created)[0])
    writable = {volume["name"] for volume in one.spec["volumes"] if "emptyDir" in volume}
    mounts = {mount["mountPath"]: mount for mount in one.container["volumeMounts"]}
    assert {path for path, mount in mounts.items() if mount["name"] in writable} == {"/home/quiz", "/tmp"}  # noqa: S108
    assert mounts["/run/secrets"]["readOnly"] is True


def test_there_is_no_secret_in_any_file() -> None:
    assert of_kind("Secret") == []
    for part in PARTS:
        for made in kustomization(part).get("configMapGenerator", []):
            names = {literal.partition("=")[0] for literal in made["literals"]}
            assert not {name for name in names if re.search("TOKEN|SECRET|PASSWORD|AUTH|KEY|DATABASE", name)}


def test_prefects_login_is_only_where_it_is_used() -> None:
    with_login = {
        one.name for one in pods() if "quiz-prefect-login" in str([*one.mounted(), *(one.container.get("env", []))])
    }
    assert with_login == {"quiz-worker", "prefect-worker", "prefect-server", "run", "prefect-jobs"}


# ---------------------------------------------------------------- as the code has it


def settings_for(name: str) -> Settings:
    """Return the settings that a role has in production."""
    given = settings_of(pod(name).container["envFrom"][0]["configMapRef"]["name"], "base", "production")
    known = {key.lower(): value for key, value in given.items() if key.lower() in Settings.model_fields}
    token = REQUIRED["TELEGRAM_BOT_TOKEN"]
    return Settings(_env_file=None, telegram_bot_token=token, **known)  # type: ignore[arg-type]


@each_of_ours
def test_every_variable_is_a_setting_of_ours_or_of_prefect(name: str) -> None:
    container = pod(name).container
    given = settings_of(container["envFrom"][0]["configMapRef"]["name"], "base", "production")
    names = {*given, *(variable["name"] for variable in container.get("env", []))}
    ours = {field.upper() for field in Settings.model_fields} | {"DO_NOT_TRACK"}
    assert {one for one in names if one not in ours and not hasattr(prefect.settings, one)} == set()


def test_every_file_of_a_secret_is_named_like_a_setting() -> None:
    told = secrets_in_deployment()
    fields = {field.upper() for field in Settings.model_fields}
    assert told["quiz-secrets"] == SECRET <= fields
    assert told["quiz-prefect-login"] == {"PREFECT_API_AUTH_STRING"} <= fields
    (name,) = told["quiz-prefect-database"]
    assert hasattr(prefect.settings, name)
    for name, file in (("quiz-postgres", "POSTGRES_PASSWORD"), ("quiz-redis", "REDIS_PASSWORD")):
        assert told[name] == {file}
    assert pod("postgres").container["env"][2]["value"] == "/run/secrets/POSTGRES_PASSWORD"
    assert "/run/secrets/REDIS_PASSWORD" in str(pod("redis").container["command"])


@pytest.mark.parametrize(("name", "role"), ROLES.items())
def test_a_pod_runs_its_role(name: str, role: str) -> None:
    assert main._parse(pod(name).container["args"]).role == role  # noqa: SLF001 - what the command line means


def test_roles_are_set_as_in_compose() -> None:
    in_compose = compose.environment_of(compose.services()["quiz-worker"])
    given = settings_of("quiz-settings", "base")
    elsewhere = {"DATA_DIR"}  # in compose it is the image's own
    assert {name: value for name, value in given.items() if name not in elsewhere}.items() <= in_compose.items()
    assert PREFECT_CLIENT.items() <= given.items()
    assert settings_for("quiz-bot").mode is TelegramMode.WEBHOOK


def test_the_prefect_server_is_set_as_in_compose() -> None:
    service = compose.services()["prefect-server"]
    given = settings_of("quiz-prefect-server", "base")
    secret = {"PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_API_AUTH_STRING"}
    assert given.keys() | secret == compose.environment_of(service).keys()
    assert given.items() <= compose.environment_of(service).items()
    assert pod("prefect-server").container["command"] == service["entrypoint"]
    files = {item["path"] for source in pod("prefect-server").mounted() for item in source["secret"].get("items", [])}
    assert files | secrets_in_deployment()["quiz-prefect-database"] == secret


def test_images_are_those_of_compose_and_of_this_release() -> None:
    services = compose.services()
    assert {pod(name).container["image"] for name in (*ROLES, "prefect-server") if name != "run"} == {IMAGE}
    assert kustomization("base")["images"] == [{"name": IMAGE, "newTag": VERSION}]
    assert pod("run").container["image"] == f"{IMAGE}:{VERSION}" == services["init"]["image"]
    for name in ("postgres", "redis"):
        assert pod(name).container["image"] == services[name]["image"]
    pinned = re.findall(r"(?m)^prefect==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert pod("prefect-jobs").container["image"].startswith(f"prefecthq/prefect:{pinned[0]}-python3.11-")


def test_probes_ask_for_pages_that_there_are() -> None:
    settings = settings_for("quiz-bot")
    paths = {route.path for route in create_app(settings).routes if isinstance(route, APIRoute)}
    bot, worker = pod("quiz-bot").container, pod("quiz-worker").container
    for role, container in (("bot", bot), ("worker", worker)):
        probes = {name: container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        asked = [probe["httpGet"]["path"] for probe in probes.values()]
        assert asked == ["/health", "/health", f"/ready?role={role}"]
        assert {urlsplit(path).path for path in asked} <= paths
        assert container["readinessProbe"]["timeoutSeconds"] > max(ASK_SECONDS, CHECK_SECONDS)
        assert container["livenessProbe"]["timeoutSeconds"] > ASK_SECONDS
    assert bot["ports"][0]["containerPort"] == settings.webhook_port
    assert worker["ports"][0]["containerPort"] == settings.worker_metrics_port
    checks = compose.services()
    assert (
        pod("prefect-worker").container["readinessProbe"]["exec"]["command"]
        == checks["prefect-worker"]["healthcheck"]["test"][1:]
    )
    assert "livenessProbe" not in pod("prefect-worker").container


def test_a_pod_has_longer_to_stop_than_its_work_may_take() -> None:
    from roles.worker import DRAIN_SECONDS

    assert pod("quiz-worker").spec["terminationGracePeriodSeconds"] > DRAIN_SECONDS + 5
    wait = int(pod("quiz-bot").container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod("quiz-bot").spec["terminationGracePeriodSeconds"] > wait + 10


def test_postgres_makes_prefects_database() -> None:
    (scripts,) = of_kind("ConfigMap")
    assert [script.strip() for script in scripts["data"].values()] == ["CREATE DATABASE prefect;"]


# ---------------------------------------------------------------- flow runs as Jobs


def test_the_work_pools_template_makes_a_job() -> None:
    job = filled_job()
    check(job)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "prefect-job"  # which Prefect's worker insists on
    assert [mount["name"] for mount in container["volumeMounts"]] == [
        mount["name"] for mount in pod("prefect-worker").container["volumeMounts"]
    ]
    assert job["spec"]["template"]["spec"]["volumes"] == pod("prefect-worker").spec["volumes"]


def test_a_job_takes_prefects_login_from_its_file_and_shows_none() -> None:
    assert {"name": "PREFECT_API_AUTH_STRING", "value": ""} in filled_job()["spec"]["template"]["spec"]["containers"][
        0
    ]["env"]
