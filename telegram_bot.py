"""The bot's face: sends questions and feedback, and handles what learners tap and type."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, time

import quiz_reports
from adaptation.ratings import EXPERIENCE_PRIORS, nearest_level
from bot import keyboards, messages
from bot.accounts import Accounts
from bot.callbacks import (
    AllTopics,
    AnswerTap,
    Callback,
    ChooseExperience,
    ChooseHour,
    ChooseOffset,
    ChooseZone,
    ConfirmErase,
    MoveHere,
    NextQuestion,
    NextReview,
    OpenReport,
    OpenSettings,
    ReportButton,
    ReportQuestion,
    SwitchDaily,
    ToggleTopic,
    unpack,
)
from bot.picture_cache import picture_version, send_progress
from bot.progress import progress_caption
from conversation import Conversation
from difficulty_adapter import Rules
from domain.catalog import Experience, Priority, ReportReason, Topic
from domain.errors import ForgedCallbackError, LearnerUnreachableError, MessageGoneError
from domain.ids import BotId, LearnerId, QuizId
from domain.models import ClaimedUpdate, Delivery, Grade, Learner, Quiz, Tap, UpdateKind
from quiz_grading import record_tap, rules_of
from quiz_session import NO_QUESTION, NO_REVIEW, NOT_REGISTERED, Services
from quiz_upkeep import erase_learner

logger = logging.getLogger(__name__)


class TelegramMessenger:
    """Puts quizzes and feedback into chats."""

    def __init__(self, accounts: Accounts, rules: Rules) -> None:
        """Take what sends.

        Args:
            accounts: paced access to Telegram, through each bot.
            rules: the numbers of the level machine, for the progress line.
        """
        self._accounts = accounts
        self._rules = rules

    async def send_question(self, quiz: Quiz, priority: Priority) -> int:
        """Send a question and return its message's id; see `quiz_session.Messenger`.

        Args:
            quiz: what to ask.
            priority: whether the learner waits for it.
        """
        keyboard = keyboards.question_keyboard(quiz.id)
        gateway = self._accounts.of(quiz.bot_id).gateway
        return await gateway.send(quiz.learner_id, messages.question_text(quiz), keyboard, priority)

    async def send_feedback(self, quiz: Quiz, grade: Grade) -> None:
        """Turn the question's own message into its feedback; see `quiz_session.Messenger`.

        Args:
            quiz: the answered quiz.
            grade: what the answer changed.
        """
        text = messages.feedback_text(quiz, grade, self._rules)
        keyboard = keyboards.feedback_keyboard(quiz.id)
        if quiz.message_id is not None:
            gateway = self._accounts.of(quiz.message_bot_id).gateway
            try:
                await gateway.edit(quiz.learner_id, quiz.message_id, text, keyboard)
            except MessageGoneError:
                pass  # the learner deleted it: tell them in a new message
            else:
                return
        await self._accounts.of(quiz.bot_id).gateway.send(quiz.learner_id, text, keyboard)


async def handle_answer(services: Services, update: ClaimedUpdate) -> QuizId | None:
    """Take a tap on a question's button.

    Args:
        services: what to work with.
        update: the tap as it arrived.

    Returns:
        The quiz to grade, or None when the tap counts for nothing: not the first, too late, or somebody else's.
    """
    tap = meaning(update)
    if not isinstance(tap, AnswerTap):
        return None
    quiz_id = QuizId(tap.quiz_id)
    counted = await record_tap(
        services, Tap(quiz_id, update.learner_id, tap.place, update.received_at, update.message_id, update.bot_id)
    )
    return quiz_id if counted else None


def meaning(update: ClaimedUpdate) -> Callback | None:
    """Return what an update's tap or command asks the flows to do, or None when a handler of its own answers it.

    Args:
        update: what arrived.
    """
    if update.kind is UpdateKind.COMMAND:
        return _ASKING.get(update.content)
    if update.kind is not UpdateKind.TAP:
        return None
    try:
        callback = unpack(update.content)
    except ForgedCallbackError:
        return None
    return callback if isinstance(callback, AnswerTap | NextQuestion | NextReview) else None


_ASKING: dict[str, Callback] = {"quiz": NextQuestion(), "review": NextReview()}
"""Commands that ask for a question."""


async def explain_missing(
    services: Services, accounts: Accounts, asked: Mapping[LearnerId, BotId], deliveries: Sequence[Delivery]
) -> None:
    """Tell learners who asked for a question why none came, where they can do something about it.

    Args:
        services: what to work with.
        accounts: what tells them.
        asked: the bot that each of them asked.
        deliveries: what became of each learner's quiz.

    Raises:
        QuizServiceError: the database or Telegram failed, for one of them at least; the others have been told.
    """
    tellings = (_explain_one(services, accounts, asked, one) for one in deliveries)
    for failure in await asyncio.gather(*tellings, return_exceptions=True):
        if isinstance(failure, BaseException):
            raise failure


async def _explain_one(
    services: Services, accounts: Accounts, asked: Mapping[LearnerId, BotId], delivery: Delivery
) -> None:
    text, keyboard = _EXPLANATIONS.get(delivery.reason), None
    if delivery.reason == NO_REVIEW and (learner := await services.repository.get_user_state(delivery.learner_id)):
        waiting = await services.repository.count_reviews(learner.id, services.now())
        text, keyboard = messages.no_review_text(waiting, learner), keyboards.next_keyboard()
    if text:
        account = accounts.of(asked[delivery.learner_id])
        async with _noting_unreachable(services, delivery.learner_id, account.id):
            await account.gateway.send(delivery.learner_id, text, keyboard)


_EXPLANATIONS = {NOT_REGISTERED: messages.NOT_REGISTERED, NO_QUESTION: messages.NO_QUESTION}


@asynccontextmanager
async def _noting_unreachable(services: Services, learner_id: LearnerId, bot_id: BotId) -> AsyncIterator[None]:
    """Note a learner whom a message does not reach; that is no failure, and no matter of anybody else."""
    try:
        yield
    except LearnerUnreachableError as error:
        logger.info("a learner cannot be reached: %s", error)
        await services.repository.set_blocked(learner_id, bot_id, blocked=True)


async def handle_update(services: Services, accounts: Accounts, update: ClaimedUpdate) -> None:
    """Answer a command, a text, a tap on anything but a question, or a change of membership.

    A learner whom the answer does not reach is noted as such.

    Args:
        services: what to work with.
        accounts: the bots, of which the one that received it answers.
        update: what arrived.

    Raises:
        QuizServiceError: the database or Telegram failed; the update may be handled again.
    """
    async with _noting_unreachable(services, update.learner_id, update.bot_id):
        await _handle(services, Conversation(services, accounts, update), update)


async def _handle(services: Services, conversation: Conversation, update: ClaimedUpdate) -> None:
    if update.home_bot_id is not None and update.is_stray and meaning(update) is not None:
        await conversation.point_home(update.home_bot_id)  # questions come from one bot only
        return
    match update.kind:
        case UpdateKind.BLOCKED | UpdateKind.UNBLOCKED:
            blocked = update.kind is UpdateKind.BLOCKED
            await services.repository.set_blocked(update.learner_id, update.bot_id, blocked=blocked)
        case UpdateKind.COMMAND:
            await _handle_command(conversation)
        case UpdateKind.TEXT:
            await conversation.say(messages.UNKNOWN_TEXT)
        case UpdateKind.TAP:
            await _handle_tap(conversation)


async def _handle_command(conversation: Conversation) -> None:
    name = conversation.update.content
    if name in _FOR_ANYBODY:
        await _FOR_ANYBODY[name](conversation)
    elif name not in _FOR_LEARNERS:
        await conversation.say(messages.UNKNOWN_TEXT)
    elif learner := await conversation.services.repository.get_user_state(conversation.learner_id):
        await _FOR_LEARNERS[name](conversation, learner)
    else:
        await conversation.say(messages.NOT_REGISTERED)


# ---------------------------------------------------------------- commands


async def start(conversation: Conversation) -> None:
    """Register, greet, explain and offer the first question.

    Args:
        conversation: with whom.
    """
    services = conversation.services
    learner, is_new = await services.repository.add_learner(
        conversation.learner_id, conversation.update.bot_id, services.settings
    )
    if learner.bot_id != conversation.update.bot_id:
        await conversation.point_home(learner.bot_id)
        return
    keyboard = keyboards.welcome_keyboard() if is_new else keyboards.next_keyboard()
    await conversation.say(messages.welcome_text(learner, is_new=is_new), keyboard)


async def say_help(conversation: Conversation) -> None:
    """Say what the bot does.

    Args:
        conversation: with whom.
    """
    await conversation.say(messages.help_text(rules_of(conversation.services.settings)))


async def say_privacy(conversation: Conversation) -> None:
    """Say what is stored.

    Args:
        conversation: with whom.
    """
    await conversation.say(messages.PRIVACY_TEXT)


async def show_stats(conversation: Conversation, learner: Learner) -> None:
    """Show level, streak and topics, as a picture with a caption that says the same.

    Args:
        conversation: with whom.
        learner: their state.
    """
    services = conversation.services
    history = await services.repository.read_progress(learner, services.now())
    await send_progress(
        conversation.account.gateway,
        conversation.account.pictures,
        learner.id,
        picture_version(learner.version, history.today),
        history,
        progress_caption(history, rules_of(services.settings)),
        keyboards.stats_keyboard(history.reviews_due),
    )


async def show_settings(conversation: Conversation, learner: Learner) -> None:
    """Show the settings.

    Args:
        conversation: with whom.
        learner: their state.
    """
    await conversation.say(messages.settings_text(learner), keyboards.settings_keyboard(learner))


async def stop_daily(conversation: Conversation, learner: Learner) -> None:
    """Switch daily quizzes off.

    Args:
        conversation: with whom.
        learner: their state.
    """
    await conversation.services.repository.set_daily_enabled(learner.id, enabled=False)
    await conversation.say(messages.STOPPED_TEXT)


async def resume_daily(conversation: Conversation, learner: Learner) -> None:
    """Switch daily quizzes on.

    Args:
        conversation: with whom.
        learner: their state.
    """
    learner = await conversation.services.repository.set_daily_enabled(learner.id, enabled=True)
    await conversation.say(messages.resumed_text(learner))


async def send_export(conversation: Conversation, learner: Learner) -> None:
    """Send everything that is stored, as a file.

    Args:
        conversation: with whom.
        learner: their state.
    """
    document = await conversation.services.repository.export_learner(learner.id) or "{}"
    await conversation.account.gateway.send_file(
        learner.id, document.encode(), "quiz-data.json", messages.EXPORT_CAPTION
    )


async def ask_erase(conversation: Conversation, _: Learner) -> None:
    """Ask once more before erasing.

    Args:
        conversation: with whom.
    """
    await conversation.say(messages.ERASE_QUESTION, keyboards.erase_keyboard())


_FOR_ANYBODY: dict[str, Callable[[Conversation], Awaitable[None]]] = {
    "start": start,
    "help": say_help,
    "privacy": say_privacy,
}

_FOR_LEARNERS: dict[str, Callable[[Conversation, Learner], Awaitable[None]]] = {
    "stats": show_stats,
    "settings": show_settings,
    "stop": stop_daily,
    "resume": resume_daily,
    "export": send_export,
    "erase": ask_erase,
}


# ---------------------------------------------------------------- taps


async def _handle_tap(conversation: Conversation) -> None:
    try:
        callback = unpack(conversation.update.content)
    except ForgedCallbackError:
        return  # the toast has said so; there is nothing to do
    learner = await conversation.services.repository.get_user_state(conversation.learner_id)
    if learner is None:
        await conversation.say(messages.NOT_REGISTERED)
        return
    await _act(conversation, learner, callback)


async def _act(conversation: Conversation, learner: Learner, callback: Callback) -> None:
    match callback:
        case ChooseExperience(experience):
            await _note_experience(conversation, Experience(experience))
        case OpenSettings(page):
            await _show_page(conversation, learner, page)
        case ChooseOffset(minutes):
            keyboard = keyboards.zone_keyboard(minutes, conversation.services.now())
            await conversation.change("<b>Time zone</b>\n\nWhich of these is nearest to you?", keyboard)
        case MoveHere():
            await conversation.move_here()
        case ConfirmErase(confirmed):
            await _erase(conversation, confirmed=confirmed)
        case ReportButton():
            await _report(conversation, callback)
        case _:
            await _change_settings(conversation, learner, callback)


async def _change_settings(conversation: Conversation, learner: Learner, callback: Callback) -> None:
    repository = conversation.services.repository
    match callback:
        case ChooseHour(hour):
            await _show_page(conversation, await repository.set_daily_at(learner.id, time(hour)), "main")
        case ChooseZone(zone):
            await _show_page(conversation, await repository.set_timezone(learner.id, zone), "main")
        case ToggleTopic(topic):
            topics = _toggled(learner.topics, Topic(topic))
            await _show_page(conversation, await repository.set_topics(learner.id, topics), "topics")
        case AllTopics():
            await _show_page(conversation, await repository.set_topics(learner.id, ()), "topics")
        case SwitchDaily(enabled):
            await _show_page(conversation, await repository.set_daily_enabled(learner.id, enabled=enabled), "main")
        case _:
            pass  # a question's button, which never comes here


async def _note_experience(conversation: Conversation, experience: Experience) -> None:
    """Start a new learner where they say they stand; after the first answer, the answers say it better."""
    ability = EXPERIENCE_PRIORS[experience]
    settings = conversation.services.settings
    level = nearest_level(ability.mean, target=settings.target_success)
    await conversation.services.repository.set_experience(conversation.learner_id, level, ability)
    text = messages.experience_text(experience, rules_of(settings))
    await conversation.change(text, keyboards.next_keyboard("Give me a question ›"))


def _toggled(topics: tuple[Topic, ...], topic: Topic) -> list[Topic]:
    """Add or remove a topic; choosing the last one that is missing means all, which is stored as none."""
    chosen = set(topics) ^ {topic}
    return [] if len(chosen) == len(Topic) else [known for known in Topic if known in chosen]


async def _show_page(conversation: Conversation, learner: Learner, page: str) -> None:
    now = conversation.services.now().astimezone(UTC)
    match page:
        case "hour":
            await conversation.change(
                "<b>Hour of the daily quiz</b>\n\nOn your own clock.", keyboards.hour_keyboard(learner)
            )
        case "zone":
            await conversation.change(
                "<b>Time zone</b>\n\nWhat does your clock show now?", keyboards.offset_keyboard(now)
            )
        case "topics":
            text = "<b>Topics</b>\n\nTap to choose; nothing chosen means all of them."
            await conversation.change(text, keyboards.topics_keyboard(learner))
        case "done":
            await conversation.change(messages.settings_text(learner))
        case _:
            await conversation.change(messages.settings_text(learner), keyboards.settings_keyboard(learner))


async def _erase(conversation: Conversation, *, confirmed: bool) -> None:
    if not confirmed:
        await conversation.change(messages.ERASE_CANCELLED)
        return
    await conversation.change(messages.ERASED_TEXT)
    await erase_learner(conversation.services, conversation.learner_id)
    await conversation.accounts.forget_pictures(conversation.learner_id)


async def _report(conversation: Conversation, button: ReportButton) -> None:
    """Open or close the reasons, or take one; a quiz that is not theirs, or not answered, changes nothing."""
    services, learner_id, quiz_id = conversation.services, conversation.learner_id, QuizId(button.quiz_id)
    reason = ReportReason(button.reason) if button.reason else None
    if isinstance(button, ReportQuestion):
        allowed = await quiz_reports.report_question(services, quiz_id, learner_id, ReportReason(button.reason))
    else:
        allowed = await quiz_reports.may_report(services, quiz_id, learner_id)
    if allowed:
        make = keyboards.report_keyboard if isinstance(button, OpenReport) else keyboards.feedback_keyboard
        await conversation.change_keyboard(make(quiz_id, reason))
