"""Learners are served by the containers, whatever is killed, paused, scaled or replaced."""

from __future__ import annotations

import json

import pytest

from tests.compose.conftest import IMAGE, Project, docker
from tests.support.service import Learner, is_question
from tests.support.waiting import until, wait_for

OURS = ("quiz-bot", "quiz-worker", "prefect-worker", "prefect-server")
SERVERS = ("postgres", "redis")
MAX_LAYERS_MB = 450
KILL_ALL = "import os; os.kill(-1, 9)"
"""But for the first process of a container, which then ends with its child."""

SANDBOX = """
from sandbox.python import run_python
from sandbox.sql import run_sql
print(run_python("print(6 * 7)").text.strip(), run_sql("", "SELECT 6 * 7").rows)
"""


async def test_a_learner_is_served(project: Project, learner: Learner) -> None:
    assert await learner.ask("/stats", "answer")  # a picture: matplotlib finds a folder to write to
    state = json.loads(project.compose("exec", "-T", "quiz-worker", "python", "main.py", "status", "--json"))
    assert state


async def test_a_distribution_runs_in_the_prefect_worker(project: Project, learner: Learner) -> None:
    known = len(await learner.messages())
    given = json.dumps({"learner_ids": [learner.id], "ignore_hour": True})
    project.run("prefect-worker", "prefect", "deployment", "run", "distribute_daily_quizzes/daily", "--params", given)
    assert await learner.wait_after(known, is_question)


def test_the_sandbox_works_in_a_container(project: Project) -> None:
    for service in ("quiz-worker", "prefect-worker"):
        assert project.run(service, "python", "-c", SANDBOX).strip() == "42 ((42,),)"


@pytest.mark.parametrize("service", OURS)
def test_a_container_of_ours_has_no_rights_and_writes_to_no_code(project: Project, service: str) -> None:
    assert project.run(service, "id", "-u").strip() == "10001"
    assert "Read-only file system" in project.compose("exec", "-T", service, "touch", "/app/x", "/opt/x", check=False)
    capabilities = project.run(service, "grep", "CapBnd", "/proc/self/status").split()[1]
    assert int(capabilities, 16) == 0


def test_no_role_in_the_database_is_a_superuser_or_enters_the_others(project: Project) -> None:
    roles = project.sql("SELECT rolname, rolsuper FROM pg_roles WHERE rolcanlogin ORDER BY 1")
    assert roles.split() == ["postgres|t", "prefect|f", "quiz|f"]
    assert project.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "quiz"
    refused = project.compose(
        "exec", "-T", "postgres", "psql", "-U", "quiz", "-d", "prefect", "-c", "SELECT 1", check=False
    )
    assert "permission denied for database" in refused


def test_our_own_layers_are_small(project: Project) -> None:
    listed = docker("history", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", IMAGE).splitlines()
    first = next(number for number, line in enumerate(listed) if "LABEL" in line)
    assert sum(int(line.split()[0]) for line in listed[: first + 1]) < MAX_LAYERS_MB * 1e6


@pytest.mark.parametrize("service", OURS)
async def test_a_killed_role_starts_again_by_itself(project: Project, learner: Learner, service: str) -> None:
    (container,) = project.find_containers(service)

    def restarts() -> int:
        return int(docker("inspect", "--format", "{{.RestartCount}}", container))

    before = restarts()
    project.compose("exec", "-T", service, "python", "-c", KILL_ALL, check=False)
    wait_for(lambda: restarts() > before)
    await learner.answer(await learner.get_question(), 0)
    project.wait_until_healthy(service)


@pytest.mark.parametrize("service", SERVERS)
async def test_a_killed_server_that_is_started_again_is_found(project: Project, learner: Learner, service: str) -> None:
    project.compose("kill", service)
    project.compose("start", service)
    await learner.answer(await learner.get_question(), 0)
    project.wait_until_healthy(service)


async def test_what_is_written_while_workers_are_paused_is_answered_later(project: Project, learner: Learner) -> None:
    known = len(await learner.messages())
    project.compose("pause", "quiz-worker", "prefect-server", "prefect-worker")
    try:
        await learner.say("/quiz")
        await until(lambda: project.sql("SELECT count(*) FROM updates WHERE state IN ('new', 'claimed')") != "0")
    finally:
        project.compose("unpause", "quiz-worker", "prefect-server", "prefect-worker")
    await learner.wait_after(known, is_question)
    for service in OURS:
        project.wait_until_healthy(service)


async def test_bots_and_workers_can_be_several(project: Project, learner: Learner) -> None:
    project.start("--scale", "quiz-worker=2", "--scale", "quiz-bot=2")
    assert [len(project.find_containers(name)) for name in ("quiz-bot", "quiz-worker")] == [2, 2]
    for service in ("quiz-bot", "quiz-worker"):
        project.compose("stop", "--timeout", "20", service)
        docker("start", project.find_containers(service)[-1])
        await learner.answer(await learner.get_question(), 0)
    project.start()


async def test_everything_can_be_replaced_and_answers_are_kept(project: Project, learner: Learner) -> None:
    graded = "SELECT count(*) FROM quizzes WHERE state = 'graded'"
    before = project.sql(graded)
    project.start("--build", "--force-recreate", *SERVERS, "init", *OURS)  # and not Telegram, which forgets
    assert project.sql(graded) == before != "0"
    await learner.answer(await learner.get_question(), 0)
