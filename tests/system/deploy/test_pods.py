"""Pods of deploy/kubernetes as far as a machine without a cluster can make them.

Each runs as the image's user on a file system that it cannot write to, with its secrets in files and nothing but the
base's settings. Not shown are images, network policies and what else Kubernetes itself does.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from local import servers
from tests.support.factories import TOKEN, some_id
from tests.support.waiting import WAIT_SECONDS, until
from tests.system.deploy.compose import ROOT
from tests.system.deploy.manifests import Pod, pod, secrets_in_deployment, settings_of

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

ENTER = """
set -e
secrets=$1 user=$2
shift 2
mount --make-rprivate /
mount -t tmpfs tmpfs /home && mkdir -m 700 /home/quiz /home/tmp && chown "$user:$user" /home/quiz /home/tmp
mount -t tmpfs tmpfs /run && mkdir /run/secrets && cp "$secrets"/* /run/secrets
chown -R "0:$user" /run/secrets && chmod 440 /run/secrets/* && chmod 750 /run/secrets
mount -o remount,ro /run
mount -o remount,bind,ro /
exec setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs \
  --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search "$@"
"""
"""Arguments: the folder of the secrets, the user, the command. Of root's rights it keeps that to read, since the code
may be in a folder of root's. `/tmp` stays as it is, since the code may be there too; another folder takes its place."""


def _can_imitate() -> bool:
    """Say whether this user may make a mount namespace here, as continuous integration's container may not."""
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    attempt = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(attempt, check=False, capture_output=True).returncode == 0


class Cluster:
    """Starts pods, and gives each the settings of the base but for where things are on this machine."""

    def __init__(self, folder: Path, settings: Mapping[str, str], secrets: Mapping[str, str]) -> None:
        self._folder, self._settings, self._secrets = folder, settings, secrets
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def start(self, name: str, command: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a pod's container, or a command as if in it, which ends with the cluster."""
        one = pod(name)
        container = one.container
        command = command or container.get("command") or ["python", "main.py", *container["args"]]
        user = str(one.spec["securityContext"]["runAsUser"])
        given = settings_of(container["envFrom"][0]["configMapRef"]["name"], "base")
        environment = given | {
            key: value for key, value in self._settings.items() if key in given or name != "prefect-server"
        }
        enter = ["unshare", "-m", "sh", "-c", ENTER, "sh", str(self._mount(one)), user]
        with self.log_of(name).open("ab") as log:
            process = subprocess.Popen(
                [*enter, sys.executable, *command[1:]],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": "/home/quiz",
                    "TMPDIR": "/home/tmp",
                    "PYTHONDONTWRITEBYTECODE": "1",
                }
                | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running.callback(process.wait, WAIT_SECONDS)
        self._running.callback(process.terminate)
        return process

    def runs(self, name: str, command: Sequence[str]) -> bool:
        """Run a command as if in a pod, and say whether it succeeds."""
        return self.start(name, command).wait(WAIT_SECONDS) == 0

    def log_of(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _mount(self, one: Pod) -> Path:
        """Write the files that a pod's volume of secrets has, and return their folder."""
        folder = self._folder / one.name
        folder.mkdir(exist_ok=True)
        for source in one.mounted():
            renamed = {item["key"]: item["path"] for item in source["secret"].get("items", [])}
            for name in secrets_in_deployment()[source["secret"]["name"]]:
                (folder / renamed.get(name, name)).write_text(f"{self._secrets[name]}\n", encoding="utf-8")
        return folder


@pytest.mark.skipif(not _can_imitate(), reason="only root may make a mount namespace")
async def test_every_role_runs_without_rights_on_a_file_system_that_cannot_be_written(
    postgres_url: Callable[[str], str], valkey_url: str, telegram_url: str, tmp_path: Path
) -> None:
    quiz, prefect = postgres_url(f"pods_{some_id()}"), postgres_url(f"pods_{some_id()}")
    server, bot, worker = (servers.free_port() for _ in range(3))
    settings = {
        "PREFECT_API_URL": f"http://127.0.0.1:{server}/api",
        "PREFECT_SERVER_API_PORT": str(server),
        "WEBHOOK_PORT": str(bot),
        "WORKER_METRICS_PORT": str(worker),
        "TELEGRAM_API_BASE_URL": telegram_url,
    }
    secrets = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "DATABASE_URL": quiz,
        "REDIS_URL": valkey_url,
        "PREFECT_API_AUTH_STRING": "quiz:prefectpassword3",
        "PREFECT_API_DATABASE_CONNECTION_URL": prefect.replace("postgresql://", "postgresql+asyncpg://", 1),
    }
    with Cluster(tmp_path, settings, secrets) as cluster:

        def told(name: str) -> Callable[[], str]:
            return lambda: cluster.log_of(name).read_text(encoding="utf-8")

        async def answers(name: str, url: str) -> None:
            check = ["python", "deploy/healthcheck.py", url]
            await until(lambda: asyncio.to_thread(cluster.runs, name, check), told(name))

        init = cluster.start("quiz-init")
        cluster.start("prefect-server")
        await until(lambda: init.poll() is not None, told("quiz-init"))
        assert init.returncode == 0, told("quiz-init")()
        await answers("prefect-server", f"http://127.0.0.1:{server}/api/ready")
        for name in ("quiz-bot", "quiz-worker", "prefect-worker"):
            cluster.start(name)
        for name, port in (("quiz-bot", bot), ("quiz-worker", worker)):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                await answers(name, f"http://127.0.0.1:{port}{pod(name).container[probe]['httpGet']['path']}")
        await answers("prefect-worker", "workers")
        await answers("quiz-bot", f"http://127.0.0.1:{bot}/ready")
        assert not cluster.runs("quiz-bot", ["python", "-c", f"open({str(ROOT / 'written')!r}, 'w')"])
        assert re.search("Read-only file system|Permission denied", told("quiz-bot")())
