"""The repository against a real Postgres."""

from __future__ import annotations

from datetime import timedelta

from domain.catalog import QuizKind
from domain.ids import LearnerId
from domain.settings import Settings
from repository import Repository
from tests.factories import BOT_ID, some_id


async def test_a_learner_is_registered_once(repository: Repository) -> None:
    learner_id = LearnerId(some_id())
    first, is_new = await repository.add_learner(learner_id, BOT_ID, Settings(_env_file=None))
    again, is_new_again = await repository.add_learner(learner_id, BOT_ID, Settings(_env_file=None))
    assert is_new
    assert not is_new_again
    assert first == again


async def test_questions_repeat_only_when_all_of_the_level_and_topics_were_seen(repository: Repository) -> None:
    settings = Settings(_env_file=None, preferred_topics="streaming,observability")
    learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, settings)
    seen = []
    for _ in range(6):
        question = (await repository.pick_questions([learner]))[learner.id]
        seen.append(question.key)
        made = await repository.create_quizzes(
            QuizKind.ON_DEMAND, [(learner.id, question.id, range(4))], timedelta(hours=1)
        )
        await repository.begin_sending(made[learner.id])
        await repository.mark_send_failed(made[learner.id], "test", for_good=True)
    assert len(set(seen)) == 6
    assert (await repository.pick_questions([learner]))[learner.id].key in seen
