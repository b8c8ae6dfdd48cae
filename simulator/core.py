"""The simulator itself: learners and bots, what they say to each other, and what is kept of it."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from uuid import uuid4

from local.clock import LocalClock
from simulator.clock import Clock, SystemClock
from simulator.crowd import Crowd
from simulator.delivery import Outbox, open_http
from simulator.events import Hub
from simulator.faults import Faults
from simulator.limits import Bucket
from simulator.links import find_entities
from simulator.model import Bot, Chat, Learner, Message, StoredFile, Tap, Update
from simulator.options import FIRST_LEARNER_ID, Options
from simulator.params import Json
from simulator.restore import restore
from simulator.stats import Statistics
from simulator.store import Store

_TAPS_KEPT: Final = 50_000
_FIRST_GROUP_ID: Final = -1_001_000_000_001


class UnknownError(LookupError):
    """There is no such bot, learner, message or button."""


class NotPossibleError(ValueError):
    """The learner cannot do that now."""


class Simulator:
    """A local Telegram. All state lives here; tests may read it, and act as learners through its methods.

    Attributes:
        bots: By id, in the order in which they first called.
        learners: By id.
        outboxes: The updates of each bot, by its id.
        stats: Counts, latencies and recorded requests.
        faults: Failures to come.
        hub: The live stream to the page.
        ahead: How many seconds the page's clock is ahead of the real one.
    """

    def __init__(self, options: Options | None = None, clock: Clock | None = None) -> None:
        """Load what is stored, or begin with a few learners."""
        self.options = options or Options()
        self.clock: Clock = clock or SystemClock()
        self.local_clock = LocalClock(self.options.clock) if self.options.clock else None
        self.ahead = self.local_clock.offset.total_seconds() if self.local_clock else 0.0
        self.stats = Statistics(self.options.record_limit)
        self.faults = Faults()
        self.hub = Hub()
        self.crowd = Crowd(self)
        self.store = Store(self.options.data)
        self.bots: dict[int, Bot] = {}
        self.learners: dict[int, Learner] = {}
        self.outboxes: dict[int, Outbox] = {}
        self.files: dict[str, StoredFile] = {}
        #: Executes a method call that a webhook answered with; the server sets it.
        self.execute_reply: Callable[[Bot, Json], None] = lambda _bot, _call: None
        restore(self)
        if not self.learners:
            self._add_first_learners()

    def start(self) -> None:
        """Begin to store and deliver; needs a running event loop."""
        self.store.start()
        self.http = open_http(self.options.webhook_timeout)
        for outbox in self.outboxes.values():
            outbox.connect()

    async def close(self) -> None:
        """Stop delivering, end all streams, and write what is left to be stored."""
        self.stop_streams()
        await self.crowd.close()
        await self.http.close()
        await self.store.close()

    def stop_streams(self) -> None:
        """End whatever would keep a connection open."""
        self.faults.close()
        self.hub.close()
        for outbox in self.outboxes.values():
            outbox.close()

    def date(self) -> int:
        """The time that messages show, in seconds since the epoch: that of the page's clock."""
        return int(self.clock.now() + self.ahead)

    def move_clock(self, by: timedelta | None) -> None:
        """Move the page's clock ahead, or with None let it show the real time again.

        Raises:
            NotPossibleError: There is none.
        """
        if self.local_clock is None:
            raise NotPossibleError("there is no clock to move; `make run` has one unless DATABASE_URL is set")
        if by is None:
            self.local_clock.reset()
        else:
            self.local_clock.advance(by)
        self.ahead = self.local_clock.offset.total_seconds()
        self.hub.publish("clock", ahead=self.ahead)

    def bot(self, bot_id: int) -> Bot:
        """The bot of an id, made at its first call."""
        bot = self.bots.get(bot_id)
        if bot is None:
            bot = self.bots[bot_id] = Bot.create(bot_id, self.options)
            self.add_outbox(bot)
            self.store.put("bot", 0, bot_id, bot)
            self.hub.publish("bot")
        return bot

    def find_bot(self, bot_id: int | None = None) -> Bot:
        """A bot that has called already; without an id the one that called last.

        Raises:
            UnknownError: No bot has called yet, or not this one.
        """
        if bot_id is None:
            if not self.bots:
                raise UnknownError("no bot has called yet")
            return max(self.bots.values(), key=lambda bot: bot.seen or 0.0)
        if bot_id not in self.bots:
            raise UnknownError(f"no bot {bot_id} has called yet")
        return self.bots[bot_id]

    def learner(self, learner_id: int) -> Learner:
        """A learner by id.

        Raises:
            UnknownError: There is none.
        """
        if learner_id not in self.learners:
            raise UnknownError(f"there is no learner {learner_id}")
        return self.learners[learner_id]

    def add_learner(self, learner_id: int | None = None, first_name: str = "", language_code: str = "en") -> Learner:
        """Make a learner, with the next free id and a numbered name unless told.

        Raises:
            NotPossibleError: The id is taken.
        """
        if learner_id is None:
            learner_id = max(self.learners, default=FIRST_LEARNER_ID - 1) + 1
        if learner_id in self.learners:
            raise NotPossibleError(f"learner {learner_id} exists already")
        name = first_name or f"Learner {learner_id - FIRST_LEARNER_ID + 1}"
        learner = self.learners[learner_id] = Learner(learner_id, name, language_code)
        self.save_learner(learner)
        return learner

    def add_group(self, bot: Bot, title: str, group_id: int | None = None) -> Learner:
        """Make a group, whose id is negative, and add a bot to it; who writes there is the first learner."""
        group_id = group_id or min(0, *self.learners, _FIRST_GROUP_ID + 1) - 1
        group = self.learners[group_id] = Learner(group_id, title, group=True)
        self.save_learner(group)
        self._tell_membership(bot, self.open_chat(bot, group), "left", "member")
        return group

    def save_learner(self, learner: Learner) -> None:
        """Store a learner that changed, and show it."""
        self.store.put("learner", 0, learner.id, learner)
        self.hub.publish("learner", learner=learner.record())

    def chat(self, bot: Bot, learner: Learner) -> Chat:
        """The chat of a learner with a bot, made when first asked for."""
        chat = bot.chats.get(learner.id)
        if chat is None:
            info = {"id": learner.id, "first_name": learner.first_name, "type": "private"}
            if learner.group:
                info = {"id": learner.id, "title": learner.first_name, "type": "supergroup"}
            writer = next(one for one in self.learners.values() if not one.group) if learner.group else learner
            bucket = Bucket(self.options.chat_rate, self.options.chat_burst)
            chat = bot.chats[learner.id] = Chat(learner, bucket, writer.user(), info)
        return chat

    def open_chat(self, bot: Bot, learner: Learner) -> Chat:
        """The chat, as if the learner had started the bot before."""
        chat = self.chat(bot, learner)
        if not chat.started:
            chat.started = True
            self.store.put("chat", bot.id, learner.id, chat)
        return chat

    def add_message(self, bot: Bot, chat: Chat, sender: Json, content: Json) -> Message:
        """Put a message into a chat, with the next number."""
        bot.last_message_id += 1
        payload = {
            "message_id": bot.last_message_id,
            "from": sender,
            "chat": chat.info,
            "date": self.date(),
            **content,
        }
        message = Message(payload, chat.learner.id)
        chat.messages[message.id] = bot.messages[message.id] = message
        self.store.put("bot", 0, bot.id, bot)
        self.store.put("message", bot.id, message.id, message)
        self.hub.publish("message", bot=bot.id, learner=chat.learner.id, message=message.view())
        return message

    def change_message(self, bot: Bot, message: Message, payload: Json, *, edited: bool) -> None:
        """Replace a message's content; `edited` when more than its buttons changed."""
        message.payload = payload
        message.edited = message.edited or edited
        self.store.put("message", bot.id, message.id, message)
        self.hub.publish("edit", bot=bot.id, learner=message.learner_id, message=message.view())

    def remove_message(self, bot: Bot, message: Message) -> None:
        """Delete a message for both sides."""
        del bot.messages[message.id]
        del bot.chats[message.learner_id].messages[message.id]
        self.store.delete("message", bot.id, message.id)
        self.hub.publish("delete", bot=bot.id, learner=message.learner_id, message_id=message.id)

    def say(self, bot: Bot, learner: Learner, text: str, reply_to: int | None = None) -> Message:
        """A learner writes to a bot, or answers a message of the chat.

        Raises:
            NotPossibleError: The learner has blocked the bot, or the text is empty.
            UnknownError: There is no such message to reply to.
        """
        message = self.write(bot, learner, _text_content(text), reply_to)
        self.stats.count_text(bot.id, learner.id, self.clock.monotonic())
        return message

    def write(self, bot: Bot, learner: Learner, content: Json, reply_to: int | None = None) -> Message:
        """A learner sends a message of any kind, such as `{"photo": ...}`.

        Raises:
            NotPossibleError: The learner has blocked the bot.
            UnknownError: There is no such message to reply to.
        """
        chat = self._writable(bot, learner)
        if reply_to is not None:
            replied = _message_of(chat, reply_to).payload
            content = {**content, "reply_to_message": _without_reply(replied)}
        self.open_chat(bot, learner)
        message = self.add_message(bot, chat, chat.user, content)
        self.outboxes[bot.id].push("message", message.payload, ("chat", learner.id))
        return message

    def edit(self, bot: Bot, learner: Learner, message_id: int, text: str) -> Message:
        """A learner edits a text of their own; the bot is told if it asked for `edited_message`.

        Raises:
            NotPossibleError: It is no text of theirs, or the new one is empty.
            UnknownError: There is no such message.
        """
        message = _message_of(self._writable(bot, learner), message_id)
        if message.from_bot or "text" not in message.payload:
            raise NotPossibleError("only a text of one's own can be edited")
        kept = {name: value for name, value in message.payload.items() if name not in {"text", "entities"}}
        payload = {**kept, **_text_content(text), "edit_date": self.date()}
        self.change_message(bot, message, payload, edited=True)
        self.outboxes[bot.id].push("edited_message", payload, ("chat", learner.id))
        return message

    def pin(self, bot: Bot, learner: Learner, message_id: int | None) -> None:
        """A learner pins a message, of which a service message tells, or with None takes the pin away.

        Raises:
            NotPossibleError: The learner has blocked the bot.
            UnknownError: There is no such message.
        """
        chat = self._writable(bot, learner)
        pinned = _message_of(chat, message_id) if message_id is not None else None
        chat.pinned = message_id
        self.store.put("chat", bot.id, learner.id, chat)
        self.hub.publish("pinned", bot=bot.id, learner=learner.id, message=pinned.view() if pinned else None)
        if pinned is not None:
            self.write(bot, learner, {"pinned_message": _without_reply(pinned.payload)})

    def forget(self, bot: Bot, learner: Learner) -> None:
        """Delete a chat with all that was ever said in it, as if the learner had never opened it."""
        chat = bot.chats.pop(learner.id, None)
        for message_id in chat.messages if chat else ():
            del bot.messages[message_id]
            self.store.delete("message", bot.id, message_id)
        self.store.delete("chat", bot.id, learner.id)
        self.outboxes[bot.id].forget(learner.id)
        self.hub.publish("resync")

    def tap(self, bot: Bot, learner: Learner, message_id: int, data: str, *, forged: bool = False) -> str:
        """A learner presses a button.

        Args:
            forged: True to send data that no button of the message has, as a forged client could.

        Returns:
            The callback query's id.

        Raises:
            NotPossibleError: The learner has blocked the bot.
            UnknownError: There is no such message or button.
        """
        chat = self._writable(bot, learner)
        message = _message_of(chat, message_id)
        if not forged and data not in _callback_data(message):
            raise UnknownError(f"message {message_id} has no button with that data")
        now = self.clock.monotonic()
        tap = Tap(str(uuid4().int >> 66), learner.id, message_id, now + self.options.callback_lifetime)
        self._remember(bot, tap)
        self.stats.count_tap(bot.id, message_id, now)
        query = {
            "id": tap.id,
            "from": chat.user,
            "message": message.payload,
            "chat_instance": str(bot.id * 1_000_003 + learner.id),
            "data": data,
        }
        self.hub.publish("tap", bot=bot.id, learner=learner.id, message_id=message_id, query_id=tap.id, data=data)
        self.outboxes[bot.id].push("callback_query", query, ("tap", learner.id))
        return tap.id

    def set_blocked(self, bot: Bot, learner: Learner, *, blocked: bool) -> None:
        """A learner blocks a bot or takes that back; the bot is told if that changes anything."""
        chat = self.chat(bot, learner)
        if chat.blocked == blocked:
            return
        chat.blocked = blocked
        self.store.put("chat", bot.id, learner.id, chat)
        self.hub.publish("blocked", bot=bot.id, learner=learner.id, blocked=blocked)
        states = ("member", "kicked")
        self._tell_membership(bot, chat, *(states if blocked else states[::-1]))

    def _tell_membership(self, bot: Bot, chat: Chat, before: str, after: str) -> None:
        member = {
            "chat": chat.info,
            "from": chat.user,
            "date": self.date(),
            "old_chat_member": _member(bot, before),
            "new_chat_member": _member(bot, after),
        }
        self.outboxes[bot.id].push("my_chat_member", member, ("chat", chat.learner.id))

    def inject(self, bot: Bot, kind: str, payload: Json, update_id: int | None = None) -> int:
        """Deliver any update, true to Telegram or not; returns its id.

        Args:
            kind: The field of the Update, `message` for one.
            update_id: Its number; the next one unless told.
        """
        outbox = self.outboxes[bot.id]
        if update_id is None:
            bot.last_update_id += 1
            update_id = bot.last_update_id
        expires = self.clock.now() + self.options.message_lifetime
        outbox.restore(Update(update_id, kind, payload, ("injected", update_id), expires))
        return update_id

    def redeliver(self, bot: Bot, times: int, seed: int | None = None) -> int:
        """Deliver all past updates again, shuffled; returns the number of deliveries to come."""
        return self.outboxes[bot.id].replay(times, random.Random(seed))  # noqa: S311 - no secret

    def redeliver_last(self, bot: Bot, learner: Learner) -> int:
        """Deliver the last update of a chat once more; returns its id.

        Raises:
            NotPossibleError: There is none.
        """
        update_id = self.outboxes[bot.id].replay_last(learner.id)
        if update_id is None:
            raise NotPossibleError("nothing was sent to the bot yet")
        return update_id

    def reset(self) -> None:
        """Forget all chats, learners and counts; bots keep their webhook and commands."""
        self.store.clear()
        self.crowd.stop()
        self.faults.clear()
        self.stats.reset()
        self.files.clear()
        self.learners.clear()
        for bot in self.bots.values():
            self.outboxes[bot.id].drop_all()
            self.outboxes[bot.id].history.clear()
            bot.chats.clear()
            bot.messages.clear()
            bot.taps.clear()
            bot.bucket, bot.paid_bucket = bot.new_buckets(self.options)
            self.store.put("bot", 0, bot.id, bot)
        self._add_first_learners()
        self.hub.publish("resync")

    def _writable(self, bot: Bot, learner: Learner) -> Chat:
        chat = self.chat(bot, learner)
        if chat.blocked:
            raise NotPossibleError("the learner has blocked the bot")
        if learner.deactivated:
            raise NotPossibleError("the learner's account is deactivated")
        return chat

    def _remember(self, bot: Bot, tap: Tap) -> None:
        bot.taps[tap.id] = tap
        if len(bot.taps) > _TAPS_KEPT:
            del bot.taps[next(iter(bot.taps))]

    def _add_first_learners(self) -> None:
        for _ in range(self.options.starting_learners):
            self.add_learner()

    def add_outbox(self, bot: Bot) -> None:
        """Give a bot its queue of updates."""
        self.outboxes[bot.id] = Outbox(bot, self, lambda call: self.execute_reply(bot, call))


def _member(bot: Bot, status: str) -> Json:
    ends: Json = {"until_date": 0} if status == "kicked" else {}
    return {"user": bot.user(), "status": status, **ends}


def _text_content(text: str) -> Json:
    text = text.strip()
    if not text:
        raise NotPossibleError("the text is empty")
    entities = [one.as_json() for one in find_entities(text)]
    return {"text": text, "entities": entities} if entities else {"text": text}


def _message_of(chat: Chat, message_id: int) -> Message:
    message = chat.messages.get(message_id)
    if message is None:
        raise UnknownError(f"there is no message {message_id} in this chat")
    return message


def _without_reply(payload: Json) -> Json:
    """A message as it stands within another: Telegram nests them once."""
    return {name: value for name, value in payload.items() if name not in {"reply_to_message", "pinned_message"}}


def _callback_data(message: Message) -> set[str]:
    rows = message.payload.get("reply_markup", {}).get("inline_keyboard", [])
    return {button["callback_data"] for row in rows for button in row if "callback_data" in button}
