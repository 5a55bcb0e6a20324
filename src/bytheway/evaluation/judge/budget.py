"""What calls cost, and a limit that none may pass. Prices are the user's; there is no list of them here."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bytheway.errors import ByTheWayError
from bytheway.evaluation.judge.asking import Detail, Request, Shown

# Tokens that an image may count, where no reply has told yet: a little more than GPT-4o mini, which is known to count
# the most: 2,833 at low detail, and 5,667 for each square of 512 pixels at high detail. Others count some hundred.
_MOST_AN_IMAGE: Final = 3000
_MOST_A_TILE: Final = 6000
# GPT-4o, for estimates.
_AN_IMAGE, _A_TILE, _TILE, _SHORTER_SIDE = 85, 170, 512, 768
_BYTES_A_TOKEN: Final = 4
_TOKENS_OUT: Final = 40


@dataclass(frozen=True)
class Prices:
    """Of a million tokens each, in any currency."""

    tokens_in: float
    tokens_out: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(price) and price >= 0 for price in (self.tokens_in, self.tokens_out)):
            raise ByTheWayError("A price is a number of at least 0, of a million tokens.")

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Of so many tokens."""
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6


def estimated_tokens(request: Request, first: Shown, second: Shown, detail: Detail) -> tuple[int, int]:
    """How many tokens a call has, about, in and out, as GPT-4o counts; other models count otherwise."""
    images = len(first.order) + len(second.order)
    each = _AN_IMAGE + (0 if detail == "low" else _A_TILE * _tiles(first.size))
    return request.text_bytes // _BYTES_A_TOKEN + images * each, _TOKENS_OUT


def _tiles(size: tuple[int, int]) -> int:
    """Squares that cover an image at high detail, for which its shorter side is made 768 pixels long first."""
    return math.prod(math.ceil(side * _SHORTER_SIDE / min(size) / _TILE) for side in size)


class Budget:
    """What was spent, what calls on their way may cost yet, and what may be spent at most.

    Args:
        prices: None where nothing is reckoned.
        most: None where there is no limit.
        max_tokens: the longest reply.
        lines: of the store: what was spent before, by any model, counts.

    Raises:
        ByTheWayError: a limit without prices, or one that is no amount.
    """

    def __init__(
        self, prices: Prices | None, most: float | None, max_tokens: int, lines: Iterable[Mapping[str, Any]]
    ) -> None:
        if most is not None and prices is None:
            raise ByTheWayError("A limit of the cost requires the prices of a million tokens.", setting="prices")
        if most is not None and not most > 0:
            raise ByTheWayError("The limit of the cost must be above 0.", setting="max_cost")
        self.prices, self.most, self._max_tokens = prices, most, max_tokens
        self.spent = 0.0
        self._reserved: dict[str, float] = {}
        self._seen: dict[tuple[Any, ...], int] = {}
        self._lock = threading.Lock()
        for line in lines:
            self._count(line)

    def bound(self, request: Request, first: Shown, second: Shown, detail: Detail) -> float:
        """The most that a call can cost.

        Before the first reply that is reckoned with the most tokens that an image is known to count. Later, a call with
        as many images of the same size counts no more for them than an earlier one did for everything, and no more
        for its text than that has bytes.
        """
        if self.prices is None:
            return 0.0
        images = len(first.order) + len(second.order)
        each = _MOST_AN_IMAGE + (0 if detail == "low" else _MOST_A_TILE * _tiles(first.size))
        seen = self._seen.get((request.body["model"], images, first.size, detail), images * each)
        return self.prices.cost(seen + request.text_bytes, self._max_tokens)

    def reserve(self, key: str, amount: float) -> bool:
        """Set an amount aside for the call of that key; False where the limit could be passed by it."""
        with self._lock:
            if self.most is not None and self.spent + sum(self._reserved.values()) + amount > self.most:
                return False
            self._reserved[key] = amount
            return True

    def settle(self, key: str, line: Mapping[str, Any] | None) -> None:
        """A call is over: what it cost is spent. `line`: what is kept of it; None where it got no answer."""
        with self._lock:
            self._reserved.pop(key)
            if line is not None:
                self._count(line)

    def cost(self, key: str, tokens_in: int | None, tokens_out: int | None) -> float | None:
        """Of a reply, None without prices. Where the server counts no tokens, what was set aside counts as spent."""
        if self.prices is None:
            return None
        if tokens_in is None or tokens_out is None:
            return self._reserved[key]
        return self.prices.cost(tokens_in, tokens_out)

    def sentence(self, amount: float) -> str:
        """Why a call is not made."""
        return (
            f"{self.spent:.4g} is spent and the next call could cost up to {amount:.2g}; raise the limit of "
            f"{self.most:g} to go on."
        )

    def _count(self, line: Mapping[str, Any]) -> None:
        tokens_in, tokens_out = line["tokens_in"], line["tokens_out"]
        if line["cost"] is not None:
            self.spent += line["cost"]
        elif self.prices is not None:  # of a run without prices
            self.spent += self.prices.cost(tokens_in or 0, tokens_out or 0)
        if tokens_in is not None:
            shape = (line["request"]["model"], line["images"], tuple(line["size"]), line["detail"])
            self._seen[shape] = max(self._seen.get(shape, 0), tokens_in)
