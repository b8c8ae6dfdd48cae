"""Sends questions and feedback, and handles what learners tap and type."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, time, timedelta

from adaptation.ratings import EXPERIENCE_PRIORS, nearest_level
from bot import keyboards, texts
from bot.accounts import Account, Accounts
from bot.conversation import Conversation
from bot.progress import progress_caption
from bot.progress_picture import send_progress
from difficulty_adapter import Rules, rules_of
from domain.announcements import Recipient
from domain.callbacks import (
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
    SwitchAnnouncements,
    SwitchDaily,
    ToggleTopic,
)
from domain.catalog import Experience, Priority, ReportReason, StaleReason, Topic
from domain.errors import LearnerUnreachableError, MessageGoneError
from domain.ids import BotId, LearnerId, QuizId
from domain.models import Delivery, Grade, Learner, Quiz, StaleMessage
from domain.time_zones import ZONES
from domain.updates import ClaimedUpdate, UpdateKind
from observability import tracing
from quizzes import reports
from quizzes.context import QuizContext
from quizzes.delivery import NO_QUESTION, NO_REVIEW, NOT_REGISTERED, PAUSED
from quizzes.maintenance import erase_learner

logger = logging.getLogger(__name__)


class TelegramMessenger:
    """Puts quizzes and feedback into chats."""

    def __init__(self, accounts: Accounts, rules: Rules) -> None:
        self._accounts = accounts
        self._rules = rules

    def refused(self) -> dict[BotId, str]:
        """Return the bots that Telegram refuses; see `quizzes.context.Messenger`."""
        return self._accounts.refused()

    async def send_question(self, quiz: Quiz, priority: Priority) -> int:
        """Send a question and return its message's id; see `quizzes.context.Messenger`."""
        keyboard = keyboards.question_keyboard(quiz.id)
        gateway = self._accounts.of(quiz.bot_id).gateway
        return await gateway.send(quiz.learner_id, texts.question_text(quiz), keyboard, priority)

    async def send_announcement(self, recipient: Recipient, text: str) -> None:
        """Send an announcement, with the button that ends them; see `quizzes.context.Messenger`."""
        gateway = self._accounts.of(recipient.bot_id).gateway
        await gateway.send(recipient.learner_id, text, keyboards.announcement_keyboard(), Priority.BROADCAST)

    async def close_message(self, message: StaleMessage) -> None:
        """Take a question's buttons away, and say why; see `quizzes.context.Messenger`."""
        text = texts.CLOSED_MESSAGES[message.reason]
        if message.reason is StaleReason.MOVED and message.home_bot_id != message.bot_id:
            home = message.home_bot_id
            name = await self._accounts.of(home).gateway.name() if home in self._accounts else None
            text = texts.moved_away_text(name)
        keyboard = keyboards.next_keyboard() if message.reason is StaleReason.TOPICS else None
        gateway = self._accounts.of(message.bot_id).gateway
        await gateway.edit(message.learner_id, message.message_id, text, keyboard)

    async def send_feedback(self, quiz: Quiz, grade: Grade) -> None:
        """Turn the question's own message into its feedback; see `quizzes.context.Messenger`."""
        text = texts.feedback_text(quiz, grade, self._rules)
        keyboard = keyboards.feedback_keyboard(quiz.id)
        gateway = self._accounts.of(quiz.message_bot_id).gateway  # where they tapped, be that their bot by now or not
        if quiz.message_id is not None:
            try:
                await gateway.edit(quiz.learner_id, quiz.message_id, text, keyboard)
            except MessageGoneError:
                pass  # the learner deleted it: tell them in a new message
            else:
                return
        await gateway.send(quiz.learner_id, text, keyboard)


def requested_action(update: ClaimedUpdate) -> Callback | None:
    """Return what an update's tap or command asks the flows to do, or None when a handler of its own answers it."""
    callback = _FLOW_COMMANDS.get(update.content) if update.kind is UpdateKind.COMMAND else update.callback
    return callback if isinstance(callback, AnswerTap | NextQuestion | NextReview) else None


_FLOW_COMMANDS: dict[str, Callback] = {"quiz": NextQuestion(), "review": NextReview()}
"""Commands that ask for a question."""


async def explain_missing(
    context: QuizContext, accounts: Accounts, asked: Mapping[LearnerId, BotId], deliveries: Sequence[Delivery]
) -> dict[LearnerId, Exception]:
    """Tell learners who asked for a question why none came, where they can do something about it.

    Returns:
        The learners who could not be told, and why.
    """
    tellings = (_explain_one(context, accounts, asked, one) for one in deliveries)
    results = await asyncio.gather(*tellings, return_exceptions=True)
    return {
        delivery.learner_id: failure
        for delivery, failure in zip(deliveries, results, strict=True)
        if isinstance(failure, Exception)
    }


async def _explain_one(
    context: QuizContext, accounts: Accounts, asked: Mapping[LearnerId, BotId], delivery: Delivery
) -> None:
    account = accounts.of(asked[delivery.learner_id])
    if delivery.reason == PAUSED:
        async with _noting_unreachable(context, delivery.learner_id, account.id):
            await _tell_of_pause(context, account, delivery.learner_id)
        return
    text, keyboard = _EXPLANATIONS.get(delivery.reason), None
    if delivery.reason == NO_REVIEW and (learner := await context.repository.get_user_state(delivery.learner_id)):
        waiting = await context.repository.count_reviews(learner.id, context.now())
        text, keyboard = texts.no_review_text(waiting, learner), keyboards.next_keyboard()
    if text:
        with tracing.step("explain", delivery.learner_id):
            async with _noting_unreachable(context, delivery.learner_id, account.id):
                await account.gateway.send(delivery.learner_id, text, keyboard)


_EXPLANATIONS = {NOT_REGISTERED: texts.NOT_REGISTERED, NO_QUESTION: texts.NO_QUESTION}


async def _tell_of_pause(context: QuizContext, account: Account, learner_id: LearnerId) -> None:
    """Say that quizzes are paused, once in each pause; nothing where they are not."""
    if await context.repository.is_pause_news(learner_id):
        await account.gateway.send(learner_id, texts.PAUSED_TEXT)
        await context.repository.note_told_of_pause(learner_id)


@asynccontextmanager
async def _noting_unreachable(context: QuizContext, learner_id: LearnerId, bot_id: BotId) -> AsyncIterator[None]:
    """Note a learner whom a message does not reach; that is no failure of the update."""
    try:
        yield
    except LearnerUnreachableError as error:
        logger.info("a learner cannot be reached: %s", error)
        await context.repository.set_blocked(learner_id, bot_id, blocked=True)


async def handle_update(context: QuizContext, accounts: Accounts, update: ClaimedUpdate) -> None:
    """Answer a command, a text, a tap on anything but a question, or a change of membership.

    A learner whom the answer does not reach is noted as such.

    Raises:
        QuizServiceError: the database or Telegram failed; the update may be handled again.
    """
    async with _noting_unreachable(context, update.learner_id, update.bot_id):
        await _handle(context, Conversation(context, accounts, update), update)


async def _handle(context: QuizContext, conversation: Conversation, update: ClaimedUpdate) -> None:
    if update.home_bot_id is not None and update.is_for_other_bot and requested_action(update) is not None:
        await conversation.redirect_to_home_bot(update.home_bot_id)  # questions come from one bot only
        return
    match update.kind:
        case UpdateKind.BLOCKED | UpdateKind.UNBLOCKED:
            blocked = update.kind is UpdateKind.BLOCKED
            await context.repository.set_blocked(update.learner_id, update.bot_id, blocked=blocked)
        case UpdateKind.COMMAND:
            await _handle_command(conversation)
            await _tell_of_pause(context, conversation.account, update.learner_id)
        case UpdateKind.TEXT:
            if await context.repository.is_first_text(update.row, QUIET):
                await _say_what_works(conversation)
            await _tell_of_pause(context, conversation.account, update.learner_id)
        case UpdateKind.TAP:
            await _handle_tap(conversation)


QUIET = timedelta(minutes=1)
"""Of texts that follow each other faster than this, only the first gets a reply."""


async def _say_what_works(conversation: Conversation) -> None:
    """Say what the bot understands, or how to begin."""
    is_known = conversation.update.home_bot_id is not None
    await conversation.reply(texts.UNKNOWN_TEXT if is_known else texts.NOT_REGISTERED)


async def _handle_command(conversation: Conversation) -> None:
    name = conversation.update.content
    if name in _PUBLIC_COMMANDS:
        await _PUBLIC_COMMANDS[name](conversation)
    elif name not in _LEARNER_COMMANDS:
        await _say_what_works(conversation)
    elif learner := await conversation.context.repository.get_user_state(conversation.learner_id):
        await _LEARNER_COMMANDS[name](conversation, learner)
    else:
        await conversation.reply(texts.NOT_REGISTERED)


# ---------------------------------------------------------------- commands


async def start(conversation: Conversation) -> None:
    """Register, greet, explain and offer the first question."""
    context = conversation.context
    learner, is_new = await context.repository.add_learner(
        conversation.learner_id, conversation.update.bot_id, context.settings
    )
    if learner.bot_id != conversation.update.bot_id:
        await conversation.redirect_to_home_bot(learner.bot_id)
        return
    keyboard = keyboards.welcome_keyboard() if is_new else keyboards.return_keyboard(learner)
    await conversation.reply(texts.welcome_text(learner, rules_of(context.settings), is_new=is_new), keyboard)


async def say_help(conversation: Conversation) -> None:
    """Say what the bot does."""
    await conversation.reply(texts.help_text(rules_of(conversation.context.settings)))


async def say_privacy(conversation: Conversation) -> None:
    """Say what is stored."""
    await conversation.reply(texts.privacy_text(conversation.context.settings.updates_kept_days))


async def show_stats(conversation: Conversation, learner: Learner) -> None:
    """Show level, streak and topics, as a picture with a caption that says the same."""
    context = conversation.context
    history, rules = await context.repository.get_progress(learner, context.now()), rules_of(context.settings)
    await send_progress(
        conversation.account.gateway,
        conversation.account.pictures,
        learner,
        history,
        progress_caption(history),
        rules.target_success,
        keyboards.stats_keyboard(history.reviews_due),
    )


async def show_settings(conversation: Conversation, learner: Learner) -> None:
    """Show the settings."""
    await conversation.reply(texts.settings_text(learner), keyboards.settings_keyboard(learner))


async def stop_daily(conversation: Conversation, learner: Learner) -> None:
    """Switch daily quizzes off."""
    await conversation.context.repository.set_daily_enabled(learner.id, enabled=False)
    await conversation.reply(texts.STOPPED_TEXT)


async def resume_daily(conversation: Conversation, learner: Learner) -> None:
    """Switch daily quizzes on."""
    learner = await conversation.context.repository.set_daily_enabled(learner.id, enabled=True)
    await conversation.reply(texts.resumed_text(learner))


async def send_export(conversation: Conversation, learner: Learner) -> None:
    """Send everything that is stored, as a file."""
    document = await conversation.context.repository.export_learner(learner.id) or "{}"
    await conversation.account.gateway.send_file(learner.id, document.encode(), "quiz-data.json", texts.EXPORT_CAPTION)


async def ask_erase(conversation: Conversation, _: Learner) -> None:
    """Ask once more before erasing."""
    await conversation.reply(texts.ERASE_QUESTION, keyboards.erase_keyboard())


_PUBLIC_COMMANDS: dict[str, Callable[[Conversation], Awaitable[None]]] = {
    "start": start,
    "help": say_help,
    "privacy": say_privacy,
}

_LEARNER_COMMANDS: dict[str, Callable[[Conversation, Learner], Awaitable[None]]] = {
    "stats": show_stats,
    "settings": show_settings,
    "stop": stop_daily,
    "resume": resume_daily,
    "export": send_export,
    "erase": ask_erase,
}


# ---------------------------------------------------------------- taps


async def _handle_tap(conversation: Conversation) -> None:
    callback = conversation.update.callback
    if callback is None:
        return  # the callback answer has said so
    learner = await conversation.context.repository.get_user_state(conversation.learner_id)
    if learner is None:
        await conversation.reply(texts.NOT_REGISTERED)
        return
    await _act(conversation, learner, callback)


async def _act(conversation: Conversation, learner: Learner, callback: Callback) -> None:
    match callback:
        case ChooseExperience(experience):
            await _note_experience(conversation, Experience(experience))
        case OpenSettings(page):
            await _show_page(conversation, learner, page)
        case ChooseOffset(minutes):
            zones = await _list_zones(conversation.context)
            keyboard = keyboards.zone_keyboard(minutes, conversation.context.now(), zones)
            await conversation.edit_or_reply(texts.ZONE_PAGE, keyboard)
        case MoveHere():
            await conversation.move_here()
        case SwitchAnnouncements(enabled):
            await conversation.context.repository.set_announcements(learner.id, enabled=enabled)
            await conversation.change_keyboard(keyboards.announcement_keyboard(enabled=enabled))
        case ConfirmErase(confirmed):
            await _erase(conversation, confirmed=confirmed)
        case ReportButton():
            await _report(conversation, callback)
        case _:
            await _change_settings(conversation, learner, callback)


async def _change_settings(conversation: Conversation, learner: Learner, callback: Callback) -> None:
    repository = conversation.context.repository
    match callback:
        case ChooseHour(hour):
            await _show_page(conversation, await repository.set_daily_at(learner.id, time(hour)), "main")
        case ChooseZone(zone):
            await _show_page(conversation, await repository.set_timezone(learner.id, zone), "main")
        case ToggleTopic(topic):
            await _choose_topics(conversation, learner, _toggled(learner.topics, Topic(topic)))
        case AllTopics():
            await _choose_topics(conversation, learner, ())
        case SwitchDaily(enabled):
            await _show_page(conversation, await repository.set_daily_enabled(learner.id, enabled=enabled), "main")
        case _:
            pass  # a question's button, which never comes here


async def _choose_topics(conversation: Conversation, learner: Learner, topics: Sequence[Topic]) -> None:
    """Show a learner's topics, then keep them: if Telegram fails, the tap is handled again from where it began."""
    await _show_page(conversation, replace(learner, topics=tuple(topics)), "topics")
    await conversation.context.repository.set_topics(learner.id, topics)


async def _note_experience(conversation: Conversation, experience: Experience) -> None:
    """Start a new learner where they say they stand; after the first answer, the answers say it better."""
    ability = EXPERIENCE_PRIORS[experience]
    settings = conversation.context.settings
    level = nearest_level(ability.mean, target=settings.target_success)
    learner = await conversation.context.repository.set_experience(conversation.learner_id, level, ability)
    if learner is None:
        await conversation.edit_or_reply(texts.ANSWERS_SAY_IT, keyboards.next_keyboard())
        return
    text = texts.experience_text(experience, rules_of(settings))
    await conversation.edit_or_reply(text, keyboards.next_keyboard("Give me a question ›"))


def _toggled(topics: tuple[Topic, ...], topic: Topic) -> list[Topic]:
    """Add or remove a topic; choosing the last one that is missing means all, which is stored as none."""
    chosen = set(topics) ^ {topic}
    return [] if len(chosen) == len(Topic) else [known for known in Topic if known in chosen]


async def _list_zones(context: QuizContext) -> list[str]:
    """Return the zones that can be chosen: those that the database knows as well."""
    unknown = await context.repository.database.find_unknown_zones(ZONES)
    return [zone for zone in ZONES if zone not in unknown]


async def _show_page(conversation: Conversation, learner: Learner, page: str) -> None:
    now = conversation.context.now().astimezone(UTC)
    match page:
        case "hour":
            await conversation.edit_or_reply(texts.hour_text(learner, now), keyboards.hour_keyboard(learner))
        case "zone":
            keyboard = keyboards.offset_keyboard(now, await _list_zones(conversation.context))
            await conversation.edit_or_reply(texts.OFFSET_PAGE, keyboard)
        case "topics":
            await conversation.edit_or_reply(texts.TOPICS_PAGE, keyboards.topics_keyboard(learner))
        case "done":
            await conversation.edit_or_reply(texts.settings_text(learner))
        case _:
            await conversation.edit_or_reply(texts.settings_text(learner), keyboards.settings_keyboard(learner))


async def _erase(conversation: Conversation, *, confirmed: bool) -> None:
    if not confirmed:
        await conversation.edit_or_reply(texts.ERASE_CANCELLED)
        return
    await conversation.edit_or_reply(texts.ERASED_TEXT)
    await erase_learner(conversation.context, conversation.learner_id)
    await conversation.accounts.forget_pictures(conversation.learner_id)


async def _report(conversation: Conversation, button: ReportButton) -> None:
    """Open or close the reasons, or take one; a quiz that is not theirs, or not answered, changes nothing."""
    context, learner_id, quiz_id = conversation.context, conversation.learner_id, QuizId(button.quiz_id)
    reason = ReportReason(button.reason) if button.reason else None
    if isinstance(button, ReportQuestion):
        allowed = await reports.report_question(context, quiz_id, learner_id, ReportReason(button.reason))
    else:
        allowed = await reports.may_report(context, quiz_id, learner_id)
    if allowed:
        make = keyboards.report_keyboard if isinstance(button, OpenReport) else keyboards.feedback_keyboard
        await conversation.change_keyboard(make(quiz_id, reason))
