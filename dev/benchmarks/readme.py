"""`make bench` ends with this: writes the figures that README quotes from docs/figures.json.

With `--check` it changes nothing and fails when README is not what it would write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dev.benchmarks.large import prefect_cost
from dev.tools.pages import with_part, write_or_check

ROOT = Path(__file__).parents[2]
README, FIGURES = ROOT / "README.md", ROOT / "docs" / "figures.json"
CROWD_SHOWN = ("question", "feedback")
BEGIN, END = "<!-- figures begin -->\n", "<!-- figures end -->\n"


def render(figures: dict[str, Any]) -> str:
    """Return the lines that README quotes from what `python -m dev.benchmarks` wrote."""
    machine = figures["distribution"]["run"]["machine"]
    lines = [
        f"On a shared machine of {machine['cores']} cores, with Prefect, PostgreSQL, Valkey, the simulator and the",
        "load generator on the same cores. The ratios are what carries over.",
        "",
        _distribution(figures["distribution"]["result"]),
        *([_large(figures["large"]["result"])] if "large" in figures else []),
        *_feedback(figures["feedback"]["result"]),
        *([_crowd(figures["crowd"]["result"])] if "crowd" in figures else []),
        *(_webhook(at) for at in figures["webhook"]["result"]["at"] if at["concurrency"] > 1),
        "",
    ]
    return "\n".join(lines)


def _distribution(result: dict[str, Any]) -> str:
    run, rate = result["runs"][-1], result["telegram_rate"]
    flow, plain, hangs = run["flow"], run["plain"], run.get("model_hangs")  # which older figures do not have
    model = f" With a language model configured that hangs: {hangs['seconds']:.1f} s." if hangs else ""
    return (
        f"- **A daily distribution to {run['learners']:,} learners** at {rate} messages a second takes "
        f"{flow['seconds']:.1f} s, {flow['seconds'] / plain['seconds']:.2f} times a plain send loop without Prefect "
        f"and PostgreSQL; {flow['too_many_requests']} refusals (429), {flow['duplicates']} duplicates.{model}"
    )


def _large(result: dict[str, Any]) -> str:
    limited, told = result["limited"], result["limited"]["tap_to_feedback_seconds"]
    flow, taps = result["unlimited"]["flow"], limited["taps"]
    ratio = limited["seconds"] / limited["at_the_limit_seconds"]
    return (
        f"- **To {result['learners']:,} learners** it takes {limited['seconds']:.0f} s, {ratio:.3f} times the least "
        f"that Telegram's rate allows, while {taps} others answer and have their feedback within {told['p95']:.2f} s "
        f"(95th percentile; {told['max']:.2f} s at the longest); {limited['too_many_requests']} refusals (429), "
        f"{limited['duplicates']} duplicates. Without a limit one process sends {flow['per_second']:.0f} a second; "
        f"Prefect costs {prefect_cost(result):.1f} ms of CPU a learner, client and server together."
    )


def _feedback(result: dict[str, Any]) -> list[str]:
    modes = {mode["name"]: {phase["load"]: phase for phase in mode["phases"]} for mode in result["modes"]}
    with_prefect, without = modes.values()
    has_questions = all("questions" in mode for mode in result["modes"])  # older figures have none
    lines, digits = [], 3 if has_questions else 2
    for load, phase in with_prefect.items():
        mine, plain = (_seconds(one["tap_to_feedback_ms"], digits) for one in (phase, without[load]))
        refusals = phase["too_many_requests"]
        lines.append(f"- **From tap to feedback, {load}**: {mine}; without Prefect {plain}. {refusals} refusals (429).")
    if has_questions:
        mine, plain = (_seconds(mode["questions"]["quiz_to_question_ms"], digits) for mode in result["modes"])
        lines.append(f"- **From /quiz to the question, one at a time**: {mine}; without Prefect {plain}.")
    return lines


def _crowd(result: dict[str, Any]) -> str:
    crowd, kinds = result["crowd"], result["crowd"]["kinds"]
    reply, least = ([kinds[kind][of]["p95_ms"] / 1000 for kind in CROWD_SHOWN] for of in ("reply", "least"))
    return (
        f"- **{result['learners']:,} learners who start at once**, then ask and answer at their own pace: a question "
        f"within {reply[0]:.1f} s, feedback within {reply[1]:.1f} s (95th percentiles; the least that the rate allows: "
        f"{least[0]:.1f} s and {least[1]:.1f} s); {crowd['missing']} replies missing, {crowd['too_many_requests']} "
        f"refusals (429), at most {crowd['most_in_any_second']} messages and edits in any second."
    )


def _seconds(told: dict[str, float], digits: int) -> str:
    return f"median {told['p50'] / 1000:.{digits}f} s, 95th percentile {told['p95'] / 1000:.{digits}f} s"


def _webhook(at: dict[str, Any]) -> str:
    mine, bare = (at[name]["per_second"]["median"] for name in ("webhook", "bare"))
    return (
        f"- **The webhook at {at['concurrency']} requests at once** takes {at['ratio']['median']:.2f} times as many a "
        f"second as a bare FastAPI endpoint that makes one durable insert ({mine:.0f} beside {bare:.0f})."
    )


def main(arguments: list[str]) -> int:
    """Write or check the lines, and return the exit status."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    text = with_part(README, BEGIN, END, render(figures))
    return write_or_check(README, text, arguments, "python -m dev.benchmarks.readme")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
