"""Hypothesis strategies: values of every kind that the service handles, ordinary and hostile."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from zoneinfo import available_timezones

from hypothesis import strategies as st

from difficulty_adapter import WHOLE_WAY, Answer, Rules
from domain.callbacks import (
    FARTHEST_EAST,
    FARTHEST_WEST,
    AllTopics,
    AnswerTap,
    Callback,
    ChooseExperience,
    ChooseHour,
    ChooseOffset,
    ChooseZone,
    CloseReport,
    ConfirmErase,
    NextQuestion,
    NextReview,
    OpenReport,
    OpenSettings,
    ReportQuestion,
    SwitchAnnouncements,
    SwitchDaily,
    ToggleTopic,
)
from domain.catalog import Experience, Level, ReportReason, Topic
from domain.learning import Rating
from domain.models import Progress, Streak
from domain.time_zones import ZONES

MAX_ID = 2**63 - 1
"""The largest number that a bigint column holds."""

MAX_LEARNER_ID = 2**52 - 1
"""The largest user id that Telegram gives."""

days = st.dates(date(2020, 1, 1), date(2040, 12, 31))
moments = st.datetimes(datetime(2020, 1, 1), datetime(2040, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone
zones = st.sampled_from(sorted(available_timezones()))
levels = st.sampled_from(list(Level))
answers = st.sampled_from(list(Answer))
abilities = st.builds(Rating, st.floats(-6, 6), st.floats(0.01, 2))
"""Ratings of learners."""
difficulties = st.fixed_dictionaries({level: st.floats(-4, 4) for level in Level})
"""Mean difficulties of the levels' questions, also where learners found a lower level the harder one."""
rules_of_any_size = st.builds(
    Rules,
    placement_answers=st.integers(0, 20),
    target_success=st.floats(0.5, 0.95),
    confidence=st.floats(0, 3),
    freeze_days=st.integers(1, 60),
    max_freezes=st.integers(0, 10),
)
streaks = st.builds(Streak, st.integers(0, 400), st.none() | days, st.integers(0, 2))

plain_texts = st.text(min_size=1, max_size=60).filter(str.strip)
hostile_texts = st.lists(
    st.sampled_from(
        ["<", ">", "&", '"', "'", "`", "</b>", "<b>", "</pre>", "&lt;", "&#60;", "<a href=x>", "\n", "é", "💣"]
    )
    | st.text(max_size=5),
    min_size=1,
    max_size=12,
).map("".join)
"""Texts that try to break out of markup."""


progresses = st.builds(
    Progress, level=levels, points=st.integers(0, WHOLE_WAY), run=st.integers(-50, 50), streak=streaks
)
"""Places where a learner may stand who is placed."""


quiz_ids = st.integers(1, 10**18 - 1)
reasons = st.sampled_from([reason.value for reason in ReportReason])
callbacks: st.SearchStrategy[Callback] = st.one_of(
    st.builds(AnswerTap, quiz_id=quiz_ids, place=st.integers(0, 3)),
    st.builds(NextQuestion),
    st.builds(NextReview),
    st.builds(ChooseExperience, experience=st.sampled_from([experience.value for experience in Experience])),
    st.builds(OpenSettings, page=st.sampled_from(["main", "hour", "zone", "topics", "done"])),
    st.builds(ChooseHour, hour=st.integers(0, 23)),
    st.builds(ChooseOffset, minutes=st.integers(FARTHEST_WEST, FARTHEST_EAST)),
    st.builds(ChooseZone, zone=st.sampled_from(ZONES)),
    st.builds(ToggleTopic, topic=st.sampled_from([topic.value for topic in Topic])),
    st.builds(AllTopics),
    st.builds(SwitchDaily, enabled=st.booleans()),
    st.builds(SwitchAnnouncements, enabled=st.booleans()),
    st.builds(ConfirmErase, confirmed=st.booleans()),
    st.builds(OpenReport, quiz_id=quiz_ids, reason=reasons | st.just("")),
    st.builds(CloseReport, quiz_id=quiz_ids, reason=reasons | st.just("")),
    st.builds(ReportQuestion, quiz_id=quiz_ids, reason=reasons),
)
"""Every button that the bot makes."""

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)

_WIRE_NAMES = ("update_id", "message", "callback_query", "my_chat_member", "from", "chat", "id", "type", "text", "data")
_wire_values = st.recursive(
    json_values | st.sampled_from(["private", "group", "/start", "a:1:0", "kicked", 0, 1, -1, 2**63, True]),
    lambda inner: st.dictionaries(
        st.sampled_from([*_WIRE_NAMES, "message_id", "new_chat_member", "status", "is_bot"]), inner, max_size=6
    ),
    max_leaves=20,
)

hostile_bodies: st.SearchStrategy[bytes] = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"update_id": st.integers(-2, 2**64)},
        optional=dict.fromkeys(("message", "callback_query", "my_chat_member", "edited_message"), _wire_values),
    ).map(lambda value: json.dumps(value).encode()),
)
"""What somebody may post to the webhook: noise, JSON of any form, and JSON that looks like an update."""
