"""What the bot says: pure functions from domain types to Telegram's HTML."""

from __future__ import annotations

import re
from datetime import date, datetime
from html import escape

from bot.progress import LEVEL_MARK, level_line
from bot.zones import city
from difficulty_adapter import DEFAULT_RULES, Rules, success_on
from domain.catalog import Experience, Level, QuizKind, ReportReason, StaleReason
from domain.learning import WaitingReviews
from domain.models import Grade, Learner, Quiz, StoredQuestion
from domain.time_zones import zone_of
from domain.updates import TapVerdict
from domain.words import plural

LETTERS = "ABCD"

COMMANDS = (
    ("quiz", "Get a question now"),
    ("review", "Try again what you missed"),
    ("stats", "Your level, streak and topics"),
    ("settings", "Hour, time zone and topics"),
    ("stop", "Stop the daily quizzes"),
    ("resume", "Turn the daily quizzes back on"),
    ("help", "How this bot works"),
    ("privacy", "What is stored about you"),
    ("export", "Get your data as a file"),
    ("erase", "Delete your data"),
)
"""The commands menu, most used first."""

_CODE_WORD = re.compile(r"`([^`\n]+)`")


def rich(text: str) -> str:
    """Escape a text for Telegram's HTML and set its words in `backticks` in monospace."""
    return _CODE_WORD.sub(r"<code>\1</code>", escape(" ".join(text.split()), quote=False))


def _code_block(question: StoredQuestion) -> str:
    if not question.code:
        return ""
    language = re.sub(r"[^a-z0-9+-]", "", question.language.lower())
    body = escape(question.code, quote=False)
    return f'<pre><code class="language-{language}">{body}</code></pre>\n' if language else f"<pre>{body}</pre>\n"


LONG_OPTION = 40
"""Characters from which on an option takes two lines on a phone, so that the options need gaps between them."""


def _heading(quiz: Quiz) -> str:
    question = quiz.question
    daily = "Daily quiz · " if quiz.kind is QuizKind.DAILY else ""
    review = " · 🔁 you missed it before" if quiz.is_review else ""
    return f"{LEVEL_MARK[question.level]} <b>{daily}{escape(question.topic.label)}</b> · {question.level.label}{review}"


def question_text(quiz: Quiz) -> str:
    """Return the message that puts a question, its options in the quiz's own order."""
    options = [
        f"<b>{letter}</b>  {rich(quiz.question.options[index].text)}"
        for letter, index in zip(LETTERS, quiz.option_order, strict=True)
    ]
    is_long = any(len(option.text) > LONG_OPTION for option in quiz.question.options)
    body = f"{_heading(quiz)}\n\n{rich(quiz.question.prompt)}\n{_code_block(quiz.question)}"
    return f"{body}\n" + ("\n\n" if is_long else "\n").join(options)


def feedback_text(quiz: Quiz, grade: Grade, rules: Rules = DEFAULT_RULES) -> str:
    """Return the message that a question's message becomes once it is answered.

    It is to fit on a phone's screen with its buttons, so the question and what was not chosen are folded.
    """
    question = quiz.question
    told = {question.correct_index, quiz.chosen}
    others = [index for index in quiz.option_order if index not in told]
    why_not = "\n".join(["<b>Why not the others</b>", *(_option(quiz, index) for index in others)])
    chosen = [] if quiz.chosen is None or quiz.is_unknown or quiz.is_correct else [_option(quiz, quiz.chosen, "❌ ")]
    reasons = [*chosen, _option(quiz, question.correct_index, "✅ "), rich(question.explanation)]
    return "\n".join(
        [
            f"<b>{_verdict(quiz)}</b>",
            f"<blockquote expandable>{folded_question(quiz)}</blockquote>",
            "\n\n".join(reasons),
            f"<blockquote expandable>{why_not}</blockquote>",
            f'📖 <a href="{escape(question.reference_url)}">{escape(question.reference_title, quote=False)}</a>',
            progress_text(grade, rules),
        ]
    )


def folded_question(quiz: Quiz) -> str:
    """Return a question without its options, for a quote that is folded."""
    return f"{_heading(quiz)}\n{rich(quiz.question.prompt)}\n{_code_block(quiz.question)}".rstrip()


def _verdict(quiz: Quiz) -> str:
    if quiz.is_correct:
        return "Right!"
    right = _letter(quiz, quiz.question.correct_index)
    return f"The answer is {right}." if quiz.is_unknown else f"Not quite: it is {right}."


def _option(quiz: Quiz, index: int, mark: str = "") -> str:
    """Return an option and the reason why it is right or wrong."""
    option = quiz.question.options[index]
    return f"{mark}<b>{_letter(quiz, index)}</b>  <b>{rich(option.text)}</b>\n{rich(option.why)}"


def _letter(quiz: Quiz, index: int) -> str:
    return LETTERS[quiz.option_order.index(index)]


def progress_text(grade: Grade, rules: Rules = DEFAULT_RULES) -> str:
    """Return a learner's streak, on the day's first answer, and level after an answer, in one to three lines."""
    streak = [_streak_line(grade)] if grade.opens_day else []
    return "\n".join([*streak, *_freeze_lines(grade), _level_change(grade, rules)])


def _streak_line(grade: Grade) -> str:
    days = grade.after.streak.days
    today = grade.today or grade.local_day
    following = f" · daily quiz {_when(grade.next_daily_at, today)}" if grade.next_daily_at else ""
    return f"🔥 Streak: <b>{days} {plural(days, 'day')}</b>{following}"


def _when(moment: datetime, today: date) -> str:
    """Return a moment on a learner's own clock, as seen from one of their days."""
    day = {0: "today", 1: "tomorrow"}.get((moment.date() - today).days, f"on {moment:%A}")
    return f"{day} at {moment:%H:%M}"


def _freeze_lines(grade: Grade) -> list[str]:
    before, after = grade.before.streak.freezes, grade.after.streak.freezes
    if after > before:
        return ["❄️ You earned a freeze: it saves your streak on a day you miss."]
    if after < before:
        return [f"❄️ A freeze saved your streak ({after} left)."]
    return []


def _level_change(grade: Grade, rules: Rules) -> str:
    before, after = grade.before, grade.after
    level = f"<b>{after.level.label}</b>"
    if after.placement_left:
        done = rules.placement_answers - after.placement_left
        return f"🧭 Finding your level: {done} of {rules.placement_answers}"
    if grade.was_placed:
        return f"🧭 Your first {rules.placement_answers} answers place you at {level}.{_earned(grade, after.level)}"
    if after.level > before.level:
        return f"🎉 Up to {level}!{_earned(grade, before.level)}"
    if after.level < before.level:
        aim = f" The aim is {share_in_words(rules.target_success)}."
        return f"🪜 Back to {level} for now.{_earned(grade, before.level)}{aim}"
    return level_line(after.level, after.points)


def _earned(grade: Grade, level: Level) -> str:
    """Return what a change of level rests on, or nothing if it was not kept."""
    share = success_on(level, grade)
    return (
        f" By your answers, you would get {share_in_words(share)} of the {level.label} questions right."
        if share is not None
        else ""
    )


_TENTHS = (
    "hardly any",
    "about one in ten",
    "about one in five",
    "about three in ten",
    "about two in five",
    "about half",
    "about three in five",
    "about seven in ten",
    "about four in five",
    "about nine in ten",
    "nearly all",
)


def share_in_words(share: float) -> str:
    """Return a share from 0 to 1 as learners read it, to the nearest tenth."""
    return _TENTHS[round(10 * share)]


def clock_name(learner: Learner) -> str:
    """Return whose clock a time is meant on, such as ``Berlin time``."""
    return "UTC" if learner.timezone == "UTC" else f"{escape(city(learner.timezone))} time"


def elsewhere_text(name: str | None) -> str:
    """Return what a learner reads who asks a bot for questions that another one sends.

    Args:
        name: how that other one is found, such as @quiz_bot; None if that is not known just now.
    """
    return f"You already learn with {_bot_name(name)}, and your questions come there. They can come here instead."


def moved_away_text(name: str | None) -> str:
    """Return what a question's message becomes when another bot has sent the question since.

    Args:
        name: how that other one is found, such as @quiz_bot; None if that is not known just now.
    """
    return f"➡️ This question has moved to {_bot_name(name)}."


def _bot_name(name: str | None) -> str:
    return escape(name) if name else "another bot"


def welcome_text(learner: Learner, rules: Rules = DEFAULT_RULES, *, is_new: bool) -> str:
    """Return the answer to /start, to a new learner or to one who comes back."""
    hour = learner.daily_at.strftime("%H:%M")
    if not is_new:
        return (
            "<b>Welcome back!</b>\n\n"
            + (
                f"Your daily quiz comes at {hour} ({clock_name(learner)})."
                if learner.daily_enabled
                else f"Your daily quiz is off; it used to come at {hour} ({clock_name(learner)})."
            )
            + " Ready for a question?"
        )
    return (
        "<b>Welcome to the daily quiz for data engineers!</b>\n\n"
        "One question a day on SQL, streaming, orchestration, lakehouses and more. Each answer tells you what is "
        "right, and why the tempting ones are wrong.\n\n"
        f"• Questions adapt to you: you will get {share_in_words(rules.target_success)} right.\n"
        f"• Your quiz comes every day at <b>{hour}</b> ({clock_name(learner)}); /settings changes it.\n"
        "• Answer on several days in a row to build a streak 🔥\n\n"
        "How long have you worked with data pipelines?"
    )


EXPERIENCES = {
    Experience.NEW: "I'm new to it",
    Experience.SOME: "1-2 years",
    Experience.SOLID: "3-5 years",
    Experience.DEEP: "More than 5",
}
"""What a new learner may say about themselves, in their own words."""

_EXPERIENCES_IN_WORDS = {
    Experience.NEW: "you're new to it",
    Experience.SOME: "one to two years",
    Experience.SOLID: "three to five years",
    Experience.DEEP: "more than five years",
}


def experience_text(experience: Experience, rules: Rules = DEFAULT_RULES) -> str:
    """Return what the welcome becomes once a new learner has said how experienced they are."""
    placing = (
        f"Your first {_number(rules.placement_answers)} answers find your level. " if rules.placement_answers else ""
    )
    return f"<b>Thanks: {_EXPERIENCES_IN_WORDS[experience]}.</b>\n\n{placing}Shall we begin?"


def help_text(rules: Rules = DEFAULT_RULES) -> str:
    """Return the answer to /help."""
    commands = "\n".join(f"/{name} – {about}" for name, about in COMMANDS)
    return (
        "<b>How it works</b>\n\n"
        "Tap A, B, C or D under a question; the first tap counts. If you don't know, say so: you see the answer, and "
        "once your level is found, it stays as it is.\n"
        f"Your level is the one of whose questions you would get {share_in_words(rules.target_success)} right. "
        "It rises with a right answer as soon as the next one is nearer to that, "
        "and falls only when your answers leave hardly any doubt.\n"
        "A question you missed comes back later, sooner if it was hard for you.\n"
        f"Your streak counts the days on which you answered, right or wrong. {_freezes_in_words(rules)}\n\n"
        f"{commands}"
    )


def _freezes_in_words(rules: Rules) -> str:
    if not rules.max_freezes:
        return ""
    return f"Every {_number(rules.freeze_days)} days of it earn a freeze, which covers one missed day."


_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def _number(count: int) -> str:
    """Return a small number as a word."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def privacy_text(updates_kept_days: int) -> str:
    """Return the answer to /privacy.

    Args:
        updates_kept_days: for how long handled updates are kept.
    """
    kept = f"{updates_kept_days} {plural(updates_kept_days, 'day')}"
    return (
        "<b>What is stored about you</b>\n\n"
        "• Your Telegram user id, a number. No name, no username, nothing you write.\n"
        "• Your settings, your level, the questions you got, your answers, and when those you missed come back.\n"
        f"• The commands you send and the buttons you tap, for {kept}; of anything else you send, that you sent "
        "something.\n"
        "• Which questions you reported, and why.\n"
        "• Which announcements you were sent, for 90 days.\n"
        "• The service's logs, which name your number, for a few days.\n\n"
        "It is used to choose your questions and shared with nobody. /export gives you all of it as a file, "
        "/erase deletes all of it, and /stop only ends the daily quizzes."
    )


ERASE_QUESTION = (
    "<b>Erase everything?</b>\n\n"
    "Your level, streak, settings and all your answers will be deleted for good, and no more quizzes will come."
)
ERASED_TEXT = "Everything about you is deleted. To begin again, send /start at any time."
ERASE_CANCELLED = "Nothing was deleted."
STOPPED_TEXT = (
    "Daily quizzes are off. /quiz still gets you a question whenever you like; /resume turns the daily ones back on."
)
PAUSED_TEXT = (
    "⏸ Quizzes are paused for a while. Nothing is lost: your answers count, and your next question comes on its own "
    "when they resume."
)
UNKNOWN_TEXT = "I only understand buttons and commands. Try /quiz for a question, or /help for everything else."
NOT_REGISTERED = "I don't know you yet, or you erased everything. Send /start to begin."
MOVED_TEXT = "Done: from now on your questions come here. Your level, streak and settings came along."
NOTHING_TO_REVIEW = "Nothing to review: you haven't missed a question yet. Try /quiz."
NO_QUESTION = "There are no questions on your topics right now. Choose more topics in /settings."
TRY_AGAIN_TEXT = "Sorry, that took too long on our side. Please try again in a minute."
EXPORT_CAPTION = "Everything that is stored about you. /privacy explains it."

CLOSED_MESSAGES = {
    StaleReason.MOVED: "⬇️ This question has moved down the chat.",
    StaleReason.ANSWERED: "☑️ You answered this question in another message.",
    StaleReason.TOPICS: "You changed your topics, so this question is closed. It does not count.",
}
"""What a question's message becomes where nobody is to answer it any more."""

ANSWERS_SAY_IT = "Your answers already tell your level better than your years do. Ready for the next question?"

TOO_QUICK = "That was too quick for me. Wait a moment, then tap again."

CALLBACK_ANSWERS: dict[TapVerdict, str | None] = {
    TapVerdict.FRESH: "Got it, checking…",
    TapVerdict.NOT_A_QUIZ: None,
    TapVerdict.FOREIGN: "This question is somebody else's. /quiz gets you one of your own.",
    TapVerdict.ANSWERED: "You already answered this one; the first answer counts.",
    TapVerdict.REPEATED: None,
    TapVerdict.EXPIRED: "This question has expired. /quiz gets you a new one.",
    TapVerdict.UNKNOWN: "This button no longer works. /quiz gets you a new question.",
}
"""Text of the notification that Telegram shows at a tap."""

REPORT_THANKS = "Thank you! Somebody will look at it."
REPORT_AGAIN = "You already reported this one. Is there another reason?"
REPORT_TOO_EARLY = "Answer this question first; then you can report it."

REASONS = {
    ReportReason.WRONG: "The answer is wrong",
    ReportReason.UNCLEAR: "It is unclear",
    ReportReason.OUTDATED: "It is outdated",
}
"""What a learner may find wrong with a question, in their own words."""


def no_review_text(waiting: WaitingReviews, learner: Learner) -> str:
    """Return the answer to /review when nothing is due."""
    if waiting.next_at is None:
        return NOTHING_TO_REVIEW
    day = learner.local_day(waiting.next_at)
    if waiting.later == 1:
        what, until = "One question you missed comes", ""
    else:
        what, until = f"{_number(waiting.later).capitalize()} questions you missed come", ", the first"
    return (
        f"Nothing to review right now. {what} back{until} on <b>{day:%A, %-d %B}</b>. Until then, /quiz has new ones."
    )


def resumed_text(learner: Learner) -> str:
    """Return the answer to /resume."""
    return f"Daily quizzes are on: every day at {learner.daily_at:%H:%M} ({clock_name(learner)})."


def group_text(name: str) -> str:
    """Return what is said once in a group.

    Args:
        name: how the bot is found, such as @quiz_bot.
    """
    link = f"https://t.me/{escape(name.removeprefix('@'))}?start=group"
    return f'I ask my questions in private: <a href="{link}">open a chat with me</a>. Here I stay silent.'


OFFSET_PAGE = "<b>Time zone</b>\n\nWhat does your clock show now?"
ZONE_PAGE = "<b>Time zone</b>\n\nWhich of these is nearest to you?"
TOPICS_PAGE = "<b>Topics</b>\n\nTap to choose. Choosing none means all of them."


def hour_text(learner: Learner, now: datetime) -> str:
    """Return the text above the hours of a day."""
    zone = "UTC" if learner.timezone == "UTC" else escape(city(learner.timezone))
    clock = now.astimezone(zone_of(learner.timezone))
    return f"<b>Hour of the daily quiz</b>\n\nIn your time zone ({zone}), now {clock:%H:%M}."


def settings_text(learner: Learner) -> str:
    """Return the settings page's text."""
    topics = ", ".join(topic.label for topic in learner.topics) or "all"
    return (
        "<b>Settings</b>\n\n"
        f"📬 Daily quiz: <b>{'on' if learner.daily_enabled else 'off'}</b>\n"
        f"🕙 Hour: <b>{learner.daily_at:%H:%M}</b>\n"
        f"🌍 Time zone: <b>{escape(learner.timezone)}</b>\n"
        f"📚 Topics: <b>{escape(topics)}</b>"
    )
