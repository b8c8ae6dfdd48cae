"""Taking up again what an earlier process stored."""

from typing import TYPE_CHECKING

from simulator.model import Learner, Message, StoredFile, Update, Webhook
from simulator.store import Record

if TYPE_CHECKING:
    from simulator.core import Simulator


def restore(simulator: "Simulator") -> None:
    """Fill a new simulator with everything in its store."""
    rows = list(simulator.store.load())
    # Learners and bots first: the others belong to them.
    for kind, load in (
        ("learner", _learner),
        ("bot", _bot),
        ("chat", _chat),
        ("message", _message),
        ("update", _update),
        ("file", _file),
    ):
        for row in rows:
            if row.kind == kind:
                load(simulator, row)


def _learner(simulator: "Simulator", row: Record) -> None:
    body = row.body
    learner = Learner(row.id, body["first_name"], body["language_code"], body["deactivated"])
    learner.group = body.get("group", False)
    simulator.learners[row.id] = learner


def _bot(simulator: "Simulator", row: Record) -> None:
    bot = simulator.bot(row.id)
    for name in ("name", "commands", "last_message_id", "last_update_id"):
        setattr(bot, name, row.body[name])
    bot.webhook = Webhook(**row.body["webhook"])


def _chat(simulator: "Simulator", row: Record) -> None:
    if row.id in simulator.learners:
        chat = simulator.chat(simulator.bot(row.bot), simulator.learners[row.id])
        chat.started, chat.blocked = row.body["started"], row.body["blocked"]
        chat.pinned = row.body.get("pinned")


def _message(simulator: "Simulator", row: Record) -> None:
    if row.body["learner"] in simulator.learners:
        bot = simulator.bot(row.bot)
        message = Message(row.body["payload"], row.body["learner"], row.body["edited"])
        chat = simulator.chat(bot, simulator.learners[message.learner_id])
        chat.messages[row.id] = bot.messages[row.id] = message


def _update(simulator: "Simulator", row: Record) -> None:
    body = row.body
    key = (body["key"][0], body["key"][1])
    update = Update(row.id, body["kind"], body["payload"], key, body["expires"], body.get("at", 0))
    simulator.outboxes[row.bot].restore(update)


def _file(simulator: "Simulator", row: Record) -> None:
    file = StoredFile(number=row.id, content=row.content or b"", **row.body)
    simulator.files[file.file_id] = file
