"""When the next message may go: the same algorithm as a script in Redis and within one process.

Each limit is a generic cell rate algorithm (ITU-T I.371): it holds one number, the moment at which the next slot is
free. A message reserves a slot of its bot and takes one of its chat, or neither. The bot's slots are evenly spaced, and
none that has passed is made up for. A reply reserves the bot's next slot however far ahead that is; a broadcast only
one that comes soon, and otherwise asks again. Nobody reserves a slot of a chat: a message to one that has had its share
takes nothing, and asks again later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from domain.catalog import Priority

LOOK_AHEAD_SECONDS = 0.1
"""How far ahead a broadcast reserves, so that it loses no slot if it wakes up late; replies come after what it has."""

MAX_BATCH = 16
"""Slots that a broadcast asks for at once, and the most that all processes together reserve ahead for broadcasts."""

CHAT_BURST = 3
"""Messages that a chat takes at once after a rest: feedback and the next question come right after one another."""

SECOND_CHAT_SECONDS = 10
"""Refusals of two chats that are no further apart tell of the bot's own rate, and not of the chats'."""

CHATS_KEPT = 10_000
"""Chats that the bucket within one process holds before it forgets those that are at rest."""


class Verdict(IntEnum):
    """Whether a message may go, or which limit it waits for."""

    GRANTED = 0
    BOT_LIMITED = 1
    CHAT_LIMITED = 2
    PAUSED = 3


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a request to send a message."""

    at: float
    """When the message may go if it is granted, and otherwise when to ask again; on the clock of whoever asked."""
    verdict: Verdict


def look_ahead(priority: Priority, rate: float) -> float:
    """Return how far ahead a message may reserve a slot, in seconds.

    Args:
        rate: slots a second.
    """
    return 1e9 if priority is Priority.INTERACTIVE else min(LOOK_AHEAD_SECONDS, (MAX_BATCH - 1) / rate)


# Asks for one slot for each of several messages, in order, until the bot's limit ends it.
# KEYS: the bot's next free slot, its pause, its processes, and for each message its chat's next free slot, or the first
# key once more if it is for no chat.
# ARGV: seconds of the bot's slot, seconds to look ahead, seconds of a chat's slot, slots of its burst, the process that
# asks, seconds after which a silent process is not counted any more.
# Returns how many processes there are, the time, and for each message its moment and Verdict. Times are microseconds.
SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local function read(key)
  return tonumber(redis.call('GET', key) or '0')
end
local function write(key, free, slots)
  -- A bucket may be forgotten once it is at rest, which is its burst after its next free slot.
  redis.call('SET', key, string.format('%.0f', free), 'EX', math.ceil((free - now + slots) / 1000000) + 60)
end

local forgotten = tonumber(ARGV[6])
redis.call('ZADD', KEYS[3], string.format('%.0f', now), ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[3], 0, string.format('%.0f', now - forgotten * 1000000))
redis.call('EXPIRE', KEYS[3], forgotten)
local told = {redis.call('ZCARD', KEYS[3]), now}
local function tell(at, verdict)
  told[#told + 1] = math.ceil(at)
  told[#told + 1] = verdict
end

local paused = read(KEYS[2])
local slot, ahead = ARGV[1] * 1000000, ARGV[2] * 1000000
local chat_slot, burst = ARGV[3] * 1000000, ARGV[3] * 1000000 * ARGV[4]
local free = math.max(read(KEYS[1]), now)
local granted = false
for i = 4, #KEYS do
  local chat
  if KEYS[i] ~= KEYS[1] then
    chat = math.max(read(KEYS[i]), free - burst + chat_slot)
  end
  if paused > now then
    tell(paused, 3)
  elseif chat and chat > free then
    tell(chat, 2)
  elseif free > now + ahead then
    tell(free - ahead / 2, 1)
    break
  else
    tell(free, 0)
    if chat then write(KEYS[i], chat + chat_slot, burst) end
    free = free + slot
    granted = true
  end
end
if granted then write(KEYS[1], free, slot) end
return told
"""

# KEYS: the chat's next free slot, the chat that was refused last, the bot's pause. ARGV: the chat, seconds to wait,
# seconds within which a second chat's refusal means the bot. Returns 1 if the whole bot waits. A wait that is under
# way may only be made longer.
PAUSE_CHAT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local ends = now + tonumber(ARGV[2]) * 1000000
local function wait(key)
  if ends > tonumber(redis.call('GET', key) or '0') then
    redis.call('SET', key, string.format('%.0f', ends), 'PX', math.max(1, math.ceil((ends - now) / 1000)))
  end
end
wait(KEYS[1])
local last = redis.call('GET', KEYS[2])
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
if last and last ~= ARGV[1] then
  wait(KEYS[3])
  return 1
end
return 0
"""

# KEYS: chats' next free slots. Returns how long each chat takes no message, in microseconds; asking takes nothing.
CHAT_WAITS = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local waits = {}
for i, free in ipairs(redis.call('MGET', unpack(KEYS))) do
  waits[i] = math.ceil(math.max(0, tonumber(free or '0') - now))
end
return waits
"""


class LocalBucket:
    """The same algorithm within one process, for when Redis is unavailable."""

    def __init__(self, rate: float, chat_rate: float = 1.0) -> None:
        """Take rates in slots a second."""
        self._rate = rate
        self._chat_slot = 1 / chat_rate
        self._free = -math.inf
        self._chats: dict[int, float] = {}
        self._refused_chat: tuple[int, float] | None = None
        self._paused_until = -math.inf

    def change_rate(self, rate: float) -> None:
        """Set another rate; slots that are reserved stay so.

        Args:
            rate: slots a second.
        """
        self._rate = rate

    def take_all(self, priority: Priority, now: float, chat_ids: Sequence[int | None]) -> list[Decision]:
        """Ask for one slot for each of several messages, in order, until the bot's limit ends it.

        Args:
            now: a monotonic clock, in seconds.
            chat_ids: whom they are for; None is nobody's chat.
        """
        decisions = []
        for chat_id in chat_ids:
            decisions.append(decision := self.take(priority, now, chat_id))
            if decision.verdict is Verdict.BOT_LIMITED:
                break
        return decisions

    def take(self, priority: Priority, now: float, chat_id: int | None = None) -> Decision:
        """Ask for a slot.

        Args:
            now: a monotonic clock, in seconds.
            chat_id: whom it is for, if it counts against a chat.
        """
        if now < self._paused_until:
            return Decision(self._paused_until, Verdict.PAUSED)
        free = max(self._free, now)
        chat = free
        if chat_id is not None:
            chat = max(self._chats.get(chat_id, -math.inf), free - self._chat_slot * (CHAT_BURST - 1))
        if chat > free:
            return Decision(chat, Verdict.CHAT_LIMITED)
        if free > now + (ahead := look_ahead(priority, self._rate)):
            return Decision(free - ahead / 2, Verdict.BOT_LIMITED)
        self._free = free + 1 / self._rate
        if chat_id is not None:
            self._note(chat_id, chat + self._chat_slot, now)
        return Decision(free, Verdict.GRANTED)

    def chat_wait(self, chat_id: int, now: float) -> float:
        """Return for how many seconds a chat takes no message; asking takes nothing.

        Args:
            now: a monotonic clock, in seconds.
        """
        return max(0.0, self._chats.get(chat_id, -math.inf) - now)

    def _note(self, chat_id: int, free: float, now: float) -> None:
        self._chats[chat_id] = free
        if len(self._chats) > CHATS_KEPT:
            rest = now - self._chat_slot * (CHAT_BURST - 1)
            self._chats = {chat: moment for chat, moment in self._chats.items() if moment > rest}

    def is_paused(self, now: float) -> bool:
        """Return whether Telegram's pause still holds.

        Args:
            now: a monotonic clock, in seconds.
        """
        return now < self._paused_until

    def pause(self, seconds: float, now: float) -> None:
        """Grant nothing for a while.

        Args:
            now: a monotonic clock, in seconds.
        """
        self._paused_until = max(self._paused_until, now + seconds)

    def pause_chat(self, chat_id: int, seconds: float, now: float) -> None:
        """Grant a chat nothing for a while, since Telegram said so; and nobody, if it said so of another chat just now.

        Args:
            now: a monotonic clock, in seconds.
        """
        self._note(chat_id, max(self._chats.get(chat_id, -math.inf), now + seconds), now)
        last, self._refused_chat = self._refused_chat, (chat_id, now)
        if last and last[0] != chat_id and now - last[1] < SECOND_CHAT_SECONDS:
            self.pause(seconds, now)
