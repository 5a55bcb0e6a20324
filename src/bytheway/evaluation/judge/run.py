"""The judge at work: every pair, question and order that was not asked yet, several at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.experiment.arms import Arm
from bytheway.evaluation.experiment.manifest_clips import ClipsByArm
from bytheway.evaluation.judge.asking import ClipShape, Detail, Request, Shown, parse, requests, show
from bytheway.evaluation.judge.budget import Budget
from bytheway.evaluation.judge.endpoint import Endpoint, NoAnswerError, Reply
from bytheway.evaluation.judge.store import Store
from bytheway.evaluation.questions import QUESTIONS, Question

FORMAT: Final = 1
PATIENCE: Final = 4
"""So many calls in a row without an answer, each after all its retries, and no further one is made."""


@dataclass(frozen=True)
class Choice:
    """What is asked, and how.

    Attributes:
        model: the name that the endpoint knows it by.
        questions: each about every pair.
        frames: of each clip, at most.
        detail: of the images.
        max_tokens: the longest reply.
    """

    model: str
    questions: tuple[Question, ...] = QUESTIONS
    frames: int = 8
    detail: Detail = "low"
    max_tokens: int = 512


@dataclass(frozen=True)
class Pair:
    """Two clips of one prompt and seed, of two arms.

    Attributes:
        prompt: what both were made from.
        seed_index: which of the prompt's seeds: counted from 0 in an experiment, the seed itself in a batch.
        arms: the names of both arms, the baseline first.
        paths: of both clips.
    """

    prompt: str
    seed_index: int
    arms: tuple[str, str]
    paths: tuple[Path, Path]


@dataclass(frozen=True)
class Call:
    """One question about one pair in one order.

    Attributes:
        pair, question: what is asked.
        swapped: whether the baseline's clip is B.
        requests: the one with a schema, and the one for a model that does not heed it.
    """

    pair: Pair
    question: Question
    swapped: bool
    requests: tuple[Request, Request]


@dataclass
class Asked:
    """What came of a run.

    Attributes:
        calls: of the pairs that can be judged, answered or not.
        shapes: of the clips.
        left_out: pairs that cannot be judged, in sentences.
        unanswered: why calls got no answer, a sentence each.
        stopped: why no further call was made; None where all were.
    """

    calls: list[Call] = field(default_factory=list)
    shapes: dict[Path, ClipShape] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    stopped: str | None = None


def arms_of(experiment: ClipsByArm, names: Sequence[str] | None) -> list[Arm]:
    """The arms of an experiment that are set against its baseline; None: all others.

    Raises:
        ByTheWayError: there is no such other arm.
    """
    baseline, *others = experiment.arms
    known = {arm.name: arm for arm in others}
    for name in names or ():
        if name not in known:
            raise ByTheWayError(
                f"There is no arm {name!r} to set against {baseline.name}; there are {', '.join(known)}."
            )
    return [known[name] for name in dict.fromkeys(names or known)]


def pairs_of(experiment: ClipsByArm, arms: Sequence[Arm], number: int | None) -> tuple[list[Pair], list[str]]:
    """The pairs of an experiment, and what is missing of them, in sentences.

    Args:
        experiment: made by `bytheway evaluate`, or by `bytheway batch`.
        arms: those that are set against the baseline.
        number: so many prompts and seeds of each arm, drawn by a hash of both: the same ones for every arm and every
            time, and among those of any larger number; None: all.
    """
    baseline = experiment.arms[0]
    places = experiment.places()
    drawn = sorted(range(len(places)), key=lambda index: hashlib.sha256(repr(places[index]).encode()).digest())
    clips = {arm.name: experiment.clips(arm) for arm in experiment.arms}
    pairs: list[Pair] = []
    missing: dict[str, None] = {}
    for index in sorted(drawn[:number]):
        for arm in arms:
            paths = clips[baseline.name][index], clips[arm.name][index]
            gone = [f"{path} is missing." for path in paths if not path.is_file()]
            if gone:
                missing |= dict.fromkeys(gone)
            else:
                pairs.append(Pair(*places[index], (baseline.name, arm.name), paths))
    return pairs, list(missing)


def calls_of(pairs: Sequence[Pair], choice: Choice, asked: Asked) -> Iterator[tuple[Call, Shown, Shown]]:
    """Every question about every pair in both orders, with the clips that are A and B; `asked` notes all of them."""
    shown = lru_cache(maxsize=2)(show)  # the baseline's clip is there again for every arm
    for pair in pairs:
        try:
            second, first = (shown(path, choice.frames, choice.detail) for path in reversed(pair.paths))
            if first.clip != second.clip:
                raise ByTheWayError(
                    f"{pair.paths[0]} has {first.clip}, and {pair.paths[1]} {second.clip}: they cannot be compared."
                )
        except ByTheWayError as error:
            asked.left_out.append(str(error))
            continue
        asked.shapes |= zip(pair.paths, (first.clip, second.clip), strict=True)
        for question in choice.questions:
            for swapped, both in ((False, (first, second)), (True, (second, first))):
                made = requests(choice.model, pair.prompt, question, *both, choice.detail)
                call = Call(pair, question, swapped, made)
                asked.calls.append(call)
                yield call, *both


def left_to_ask(call: Call, store: Store, max_tokens: int) -> Request | None:
    """The request of a call that is to be sent next; None where it has its answer, or is known to get none.

    A reply that was cut and answers nothing counts only until longer ones are allowed.
    """
    if answer_to(call, store) is not None:
        return None
    for request in call.requests:
        line = store.get(request.key)
        if line is None or (line["finish_reason"] == "length" and line["max_tokens"] < max_tokens):
            return request
        if not line["with_schema"]:
            return None
    return None


def answer_to(call: Call, store: Store) -> Mapping[str, Any] | None:
    """The line with the answer to a call; None where there is none yet, or no reply could be read."""
    lines = (store.get(request.key) for request in call.requests)
    return next((line for line in lines if line is not None and line["answer"] is not None), None)


class StoppedError(Exception):
    """No further call is to be made, for a reason that is a sentence."""


class Run:
    """Asks what is left to be asked, and keeps each reply before anything else is done with it.

    Args:
        choice: what is asked.
        endpoint: who.
        store: where replies are, and go.
        budget: what they may cost.
        concurrency: how many calls may be on their way at once.
        on_call: hears of each call that is done, now or before.
    """

    def __init__(
        self,
        choice: Choice,
        endpoint: Endpoint,
        store: Store,
        budget: Budget,
        concurrency: int,
        on_call: Callable[[], None],
    ) -> None:
        self._choice, self._endpoint, self._store, self._budget = choice, endpoint, store, budget
        self._concurrency, self._on_call = concurrency, on_call
        self._asked = Asked()
        self._running: set[Future[None]] = set()
        self._in_a_row = 0

    def ask(self, pairs: Sequence[Pair]) -> Asked:
        """Ask about pairs whose clips are there. What the judge said is in the store then."""
        begun: set[str] = set()  # two equal clips make the same request in both orders
        with ThreadPoolExecutor(self._concurrency) as threads:
            for call, first, second in calls_of(pairs, self._choice, self._asked):
                request = left_to_ask(call, self._store, self._choice.max_tokens)
                if request is None or request.key in begun:
                    self._on_call()
                elif self._room_for(request, first, second):
                    begun.add(request.key)
                    self._running.add(threads.submit(self._answer, call, request, first, second))
            while self._running:
                self._settle()
        return self._asked

    def _room_for(self, request: Request, first: Shown, second: Shown) -> bool:
        """Wait until one more call may be made, and set its cost aside; False where none may."""
        while self._asked.stopped is None:
            amount = self._budget.bound(request, first, second, self._choice.detail)
            if len(self._running) < self._concurrency and self._budget.reserve(request.key, amount):
                return True
            if not self._running:
                self._asked.stopped = self._budget.sentence(amount)
            else:
                self._settle()
        return False

    def _settle(self) -> None:
        """Wait for a call that is on its way."""
        done, self._running = wait(self._running, return_when=FIRST_COMPLETED)
        for one in done:
            try:
                one.result()
            except StoppedError as error:
                self._asked.stopped = self._asked.stopped or str(error)
            except NoAnswerError as error:
                self._asked.unanswered.append(str(error))
                self._in_a_row += 1
                if error.final:
                    self._asked.stopped = self._asked.stopped or str(error)
                elif self._in_a_row >= PATIENCE:
                    said = f"{self._in_a_row} calls in a row got no answer, the last since {error}"
                    self._asked.stopped = self._asked.stopped or said
            else:
                self._in_a_row = 0
            self._on_call()

    def _answer(self, call: Call, first_request: Request, first: Shown, second: Shown) -> None:
        """Get an answer, in a thread: by the request whose cost is set aside, and by the other where that fails."""
        images = {**first.images, **second.images}
        request: Request | None = first_request
        while request is not None:
            line = None
            try:
                reply = self._endpoint.ask(request, images)
                line = self._line(call, request, first, reply)
                self._store.append(line)
            finally:
                self._budget.settle(request.key, line)
            self._check_length(reply)
            request = left_to_ask(call, self._store, self._choice.max_tokens)
            if request is not None:
                amount = self._budget.bound(request, first, second, self._choice.detail)
                if not self._budget.reserve(request.key, amount):
                    raise StoppedError(self._budget.sentence(amount))

    def _check_length(self, reply: Reply) -> None:
        """Raise StoppedError where the server did not heed the limit of a reply, by which costs are reckoned."""
        most = self._choice.max_tokens
        if reply.tokens_out is not None and reply.tokens_out > most:
            raise StoppedError(
                f"{self._endpoint.url} sent a reply of {reply.tokens_out} tokens though {most} were allowed, so calls "
                f"may cost more than is reckoned; allow that many (or more) to go on"
            )

    def _line(self, call: Call, request: Request, shown: Shown, reply: Reply) -> dict[str, Any]:
        """What is kept of a call."""
        answer, reason = parse(reply.text) or (None, "")
        spared = self._endpoint.spared
        return {
            "format": FORMAT,
            "key": request.key,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "prompt": call.pair.prompt,
            "seed_index": call.pair.seed_index,
            "arms": call.pair.arms[::-1] if call.swapped else call.pair.arms,
            "question": call.question.name,
            "answer": answer,
            "reason": spared(reason),
            "reply": spared(reply.text),
            "finish_reason": spared(reply.finish_reason),
            "tokens_in": reply.tokens_in,
            "tokens_out": reply.tokens_out,
            "cost": self._budget.cost(request.key, reply.tokens_in, reply.tokens_out),
            "endpoint": self._endpoint.url,
            "served_model": spared(reply.model),
            "with_schema": "response_format" in reply.sent,
            "sent": reply.sent,
            "max_tokens": self._choice.max_tokens,
            "detail": self._choice.detail,
            "size": shown.size,
            "images": sum(part["type"] == "image_url" for part in request.body["messages"][0]["content"]),
            "request": request.body,
        }
