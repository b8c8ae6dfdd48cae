"""When the next message may go: the same algorithm as a script in Redis and within one process.

Each limit is a generic cell rate algorithm (ITU-T I.371): it holds one number, the moment at which the next slot is
free. A message needs a slot of its bot and one of its chat, and takes both or none. An interactive reply takes the
bot's next slot and waits for it; a broadcast asks whether a slot is free now and otherwise comes again. Nobody reserves
a slot of a chat: whoever wants to write to one that has had its share asks again later, and takes nothing meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from domain.catalog import Priority

BROADCAST_BURST = 3
"""Unused slots that a broadcast may still take, so that a late wake-up does not lose them for good."""

INTERACTIVE_BURST = 10
"""Likewise for replies, which come in batches with pauses between them."""

BURST = {Priority.BROADCAST: BROADCAST_BURST, Priority.INTERACTIVE: INTERACTIVE_BURST}

CHAT_BURST = 3
"""Messages that a chat takes at once after a rest: feedback and the next question come right after one another."""

CHATS_KEPT = 10_000
"""Chats that the bucket within one process holds before it forgets those that are at rest."""


class Hold(IntEnum):
    """What a caller waits for."""

    RATE = 0
    CHAT = 1
    PAUSE = 2


@dataclass(slots=True)
class Slot:
    """What a bucket answered."""

    wait: float
    """Seconds to wait."""
    granted: bool
    """Whether the slot is ours after that; if not, ask again."""
    hold: Hold = Hold.RATE
    """What for."""


# KEYS: the bot's next free slot, its pause, its senders, and the chat's next free slot if there is a chat.
# ARGV: seconds of the bot's slot, slots of burst, 1 if interactive, seconds of a chat's slot, slots of its burst,
# who asks, seconds after which a silent sender is none any more.
# Returns what to wait in microseconds, 1 if the slot is ours after it, what for (Hold), and how many senders there are.
SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]

local function read(key)
  return tonumber(redis.call('GET', key) or '0')
end
local function write(key, free, slot)
  -- A bucket may be forgotten once it is at rest, which is 10 slots of burst after its next free one.
  local kept = math.ceil((math.max(free - now, 0) + 10 * slot) / 1000000) + 60
  redis.call('SET', key, string.format('%.0f', free), 'EX', kept)
end

local forgotten = tonumber(ARGV[7])
redis.call('ZADD', KEYS[3], string.format('%.0f', now), ARGV[6])
redis.call('ZREMRANGEBYSCORE', KEYS[3], 0, string.format('%.0f', now - forgotten * 1000000))
redis.call('EXPIRE', KEYS[3], forgotten)
local senders = redis.call('ZCARD', KEYS[3])

local paused = read(KEYS[2]) - now
if paused > 0 then return {paused, 0, 2, senders} end

local slot = ARGV[1] * 1000000
local free = math.max(read(KEYS[1]), now - slot * (ARGV[2] - 1))
local at = math.max(free, now)
local chat, chat_slot
if KEYS[4] then
  chat_slot = ARGV[4] * 1000000
  chat = math.max(read(KEYS[4]), at - chat_slot * (ARGV[5] - 1))
  if chat > at then return {math.ceil(chat - now), 0, 1, senders} end
end
if ARGV[3] == '0' and free > now then return {math.ceil(free - now), 0, 0, senders} end
write(KEYS[1], free + slot, slot)
if chat then write(KEYS[4], chat + chat_slot, chat_slot) end
return {math.ceil(at - now), 1, 0, senders}
"""

# KEYS: pause. ARGV: seconds. A pause that is under way may only be made longer.
PAUSE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local ends = now + tonumber(ARGV[1]) * 1000000
if ends > tonumber(redis.call('GET', KEYS[1]) or '0') then
  redis.call('SET', KEYS[1], string.format('%.0f', ends), 'PX', math.max(1, math.ceil((ends - now) / 1000)))
end
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
    """The same algorithm within one process, for when Redis is away."""

    def __init__(self, rate: float, chat_rate: float = 1.0) -> None:
        """Take the rates.

        Args:
            rate: slots a second.
            chat_rate: slots a second of one chat.
        """
        self._slot = 1 / rate
        self._chat_slot = 1 / chat_rate
        self._free = -math.inf
        self._chats: dict[int, float] = {}
        self._paused_until = 0.0

    def change_rate(self, rate: float) -> None:
        """Set another rate; slots that are taken stay so.

        Args:
            rate: slots a second.
        """
        self._slot = 1 / rate

    def take(self, priority: Priority, now: float, chat_id: int | None = None) -> Slot:
        """Ask for a slot.

        Args:
            priority: who asks.
            now: a monotonic clock, in seconds.
            chat_id: whom it is for, if it counts against a chat.
        """
        if now < self._paused_until:
            return Slot(self._paused_until - now, granted=False, hold=Hold.PAUSE)
        free = max(self._free, now - self._slot * (BURST[priority] - 1))
        at = max(free, now)
        chat = at
        if chat_id is not None:
            chat = max(self._chats.get(chat_id, -math.inf), at - self._chat_slot * (CHAT_BURST - 1))
        if chat > at:
            return Slot(chat - now, granted=False, hold=Hold.CHAT)
        if priority is Priority.BROADCAST and free > now:
            return Slot(free - now, granted=False)
        self._free = free + self._slot
        if chat_id is not None:
            self._note(chat_id, chat + self._chat_slot, now)
        return Slot(at - now, granted=True)

    def chat_wait(self, chat_id: int, now: float) -> float:
        """Return for how many seconds a chat takes no message; asking takes nothing.

        Args:
            chat_id: which.
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
            seconds: how long.
            now: a monotonic clock, in seconds.
        """
        self._paused_until = max(self._paused_until, now + seconds)
