"""The closed sets of the quiz: levels, topics and the forms that a question takes."""

from __future__ import annotations

from enum import IntEnum, StrEnum

OPTION_COUNT = 4
"""Every question has four options; buttons, shuffling and the schema rely on it."""

UNKNOWN_CHOICE = OPTION_COUNT
"""What is chosen, and the place of its button, when a learner does not know the answer."""


class Level(IntEnum):
    """How hard a question is, and how far a learner has come."""

    BEGINNER = 1
    INTERMEDIATE = 2
    ADVANCED = 3
    EXPERT = 4

    @property
    def label(self) -> str:
        """Return the level's name as learners read it, such as ``Beginner``."""
        return self.name.capitalize()


class Topic(StrEnum):
    """The fields of data engineering that the bank covers."""

    DATA_MODELING = "data_modeling"
    SQL_PERFORMANCE = "sql_performance"
    DISTRIBUTED_SYSTEMS = "distributed_systems"
    STREAMING = "streaming"
    DATA_WAREHOUSE_LAKEHOUSE = "data_warehouse_lakehouse"
    ETL_VS_ELT = "etl_vs_elt"
    ORCHESTRATION = "orchestration"
    DATA_QUALITY = "data_quality"
    OBSERVABILITY = "observability"
    BATCH_PROCESSING = "batch_processing"
    FILE_FORMATS_STORAGE = "file_formats_storage"
    GOVERNANCE_SECURITY = "governance_security"

    @property
    def label(self) -> str:
        """Return the topic's name as learners read it."""
        return _TOPIC_LABELS[self]


_TOPIC_LABELS = {
    Topic.DATA_MODELING: "Data modeling",
    Topic.SQL_PERFORMANCE: "SQL performance",
    Topic.DISTRIBUTED_SYSTEMS: "Distributed systems",
    Topic.STREAMING: "Streaming",
    Topic.DATA_WAREHOUSE_LAKEHOUSE: "Warehouse & lakehouse",
    Topic.ETL_VS_ELT: "ETL and ELT",
    Topic.ORCHESTRATION: "Orchestration",
    Topic.DATA_QUALITY: "Data quality",
    Topic.OBSERVABILITY: "Observability",
    Topic.BATCH_PROCESSING: "Batch processing",
    Topic.FILE_FORMATS_STORAGE: "Formats & storage",
    Topic.GOVERNANCE_SECURITY: "Governance & security",
}


class QuestionForm(StrEnum):
    """What a question asks for."""

    PRACTICAL = "practical"
    """What happens, what is wrong or what to change: anything about something shown that has no name below."""
    DEFINITION = "definition"
    """What a word or feature means."""
    CHOOSE = "choose"
    """Which of the workable designs fits the constraints."""
    NEXT_STEP = "next_step"
    """Where to look first, given a symptom and some evidence."""
    CODE_REVIEW = "code_review"
    """What a short diff or job breaks in production."""
    ORDER = "order"
    """Which step of a change comes first, or next."""
    COST = "cost"
    """What something costs, and what halves it."""
    READ = "read"
    """What a longer plan, log, graph or table of a UI shows."""

    @property
    def is_decision(self) -> bool:
        """Return whether it asks for what a practitioner decides, not for what a thing does or is called."""
        return self not in {QuestionForm.PRACTICAL, QuestionForm.DEFINITION}


class QuestionSource(StrEnum):
    """Where a question came from."""

    STATIC = "static"
    IMPORTED = "imported"
    COMPUTED = "computed"
    LLM = "llm"


class QuestionState(StrEnum):
    """The life of a question; schema.sql tells the transitions."""

    ACTIVE = "active"
    RETIRED = "retired"
    QUARANTINED = "quarantined"


class ReportReason(StrEnum):
    """What a learner finds wrong with a question."""

    WRONG = "wrong"
    UNCLEAR = "unclear"
    OUTDATED = "outdated"


class GenerationOutcome(StrEnum):
    """How the writing of a question by a language model ended."""

    BEGUN = "begun"
    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"
    FAILED = "failed"


class StaleReason(StrEnum):
    """Why nobody is to answer a question in one of its messages any more."""

    MOVED = "moved"
    """It was asked for again, and sent anew."""
    ANSWERED = "answered"
    """It was answered in another message."""
    TOPICS = "topics"
    """Its topic is none of the learner's any more."""


class QuizKind(StrEnum):
    """Why a learner got a quiz."""

    DAILY = "daily"
    ON_DEMAND = "on_demand"
    REVIEW = "review"
    """They asked for a question that they once missed."""

    @property
    def is_awaited(self) -> bool:
        """Return whether the learner asked for it and waits in the chat."""
        return self is not QuizKind.DAILY


class QuizState(StrEnum):
    """The life of a quiz; schema.sql tells the transitions."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    ANSWERED = "answered"
    GRADED = "graded"
    EXPIRED = "expired"
    FAILED = "failed"


class Experience(StrEnum):
    """What a new learner says about themselves."""

    NEW = "new"
    SOME = "some"
    SOLID = "solid"
    DEEP = "deep"


class CheckEngine(StrEnum):
    """What executes a question's code to find out its answer."""

    DUCKDB = "duckdb"
    POSTGRES = "postgres"
    PYTHON = "python"


class Priority(IntEnum):
    """Who waits for whom at Telegram's rate."""

    BROADCAST = 0
    INTERACTIVE = 1
