"""What `bytheway judge` does with its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bytheway.cli.measuring import complain
from bytheway.cli.options import CONCURRENCY
from bytheway.cli.progress import CountProgress
from bytheway.cli.tables import note, print_settings, print_table
from bytheway.evaluation.experiment.folder import Experiment
from bytheway.evaluation.judge.budget import Budget, Prices, estimated_tokens
from bytheway.evaluation.judge.endpoint import Endpoint
from bytheway.evaluation.judge.results import (
    AGREEMENT_HEADS,
    HEADS,
    PAGE,
    ByQuestion,
    Spent,
    agreement_rows,
    rows,
    spent,
    write_figures,
    write_page,
)
from bytheway.evaluation.judge.run import Asked, Choice, Pair, Run, arms_of, calls_of, left_to_ask, pairs_of
from bytheway.evaluation.judge.store import CALLS, Store, alone
from bytheway.evaluation.judge.summary import Judgement, Votes, comparisons, figures, judgements
from bytheway.evaluation.report.words import cautions, comparison_heads, comparison_rows
from bytheway.evaluation.votes.majority import majorities
from bytheway.evaluation.votes.store import FILE, FOLDER, opened


def count_calls(
    folder: Path, choice: Choice, pairs: Sequence[Pair], prices: Prices | None, missing: Sequence[str]
) -> None:
    """Say what would be asked and what it would cost, about, without asking."""
    store, asked = Store(folder / CALLS), Asked()
    calls = images = tokens_in = tokens_out = 0
    with CountProgress("counting", 2 * len(choice.questions) * len(pairs)) as progress:
        for call, first, second in calls_of(pairs, choice, asked):
            request = left_to_ask(call, store, choice.max_tokens)
            if request is not None:
                calls += 1
                images += len(first.order) + len(second.order)
                estimated = estimated_tokens(request, first, second, choice.detail)
                tokens_in, tokens_out = tokens_in + estimated[0], tokens_out + estimated[1]
            progress.advance()
    counted: dict[str, object] = {
        "pairs": len({call.pair for call in asked.calls}),
        "calls": calls,
        "calls answered already": len(asked.calls) - calls,
        "images": images,
        "tokens in, about": tokens_in,
        "tokens out, about": tokens_out,
    }
    if prices is not None:
        counted["cost, about"] = f"{prices.cost(tokens_in, tokens_out):.4g}"
    print_settings("Dry run", counted)
    note(
        "Tokens are reckoned as GPT-4o counts them; a call is made twice where a model does not answer in JSON at once."
    )
    complain(list(dict.fromkeys([*missing, *asked.left_out])), "The rest is counted")


def judge_experiment(experiment: Experiment, model: str, url: str | None) -> None:
    """Ask about every pair of an experiment, as `bytheway judge` does where nothing else is said."""
    pairs, missing = pairs_of(experiment, arms_of(experiment, None), None)
    run_judge(experiment.folder, Choice(model), pairs, missing, url, CONCURRENCY, None, None)


def run_judge(
    folder: Path,
    choice: Choice,
    pairs: Sequence[Pair],
    missing: Sequence[str],
    url: str | None,
    concurrency: int,
    prices: Prices | None,
    max_cost: float | None,
) -> None:
    """Ask what was not answered yet, and say and write what the judge says."""
    with Endpoint(url, max_tokens=choice.max_tokens) as endpoint, alone(folder):
        store = Store(folder / CALLS)
        budget = Budget(prices, max_cost, choice.max_tokens, store.lines)
        with CountProgress("asking", 2 * len(choice.questions) * len(pairs)) as progress:
            asked = Run(choice, endpoint, store, budget, concurrency, progress.advance).ask(pairs)
        found = judgements(asked, store, choice.max_tokens)
        now, ever = spent(store.lines[store.before :]), spent(store.lines)
        note(f"Now {_said(now)}.")
        if store.before:
            note(f"In all {_said(ever)}.")
        if any(one.answered for one in found):
            _report(folder, choice, endpoint.url, asked, found, ever, missing)
    failures = list(dict.fromkeys([*missing, *asked.left_out]))
    if asked.stopped is not None:
        failures.append(asked.stopped)
    elif asked.unanswered:
        how_many = len(asked.unanswered)
        said = "One call got no answer" if how_many == 1 else f"{how_many} calls got no answer, the last"
        failures.append(f"{said} since {asked.unanswered[-1].rstrip('.')}; the same command asks again.")
    complain(failures, "The rest is judged")


def _said(one: Spent) -> str:
    cost = f", cost {one.cost:.4g}" if one.cost is not None else ""
    uncounted = f" ({one.uncounted} calls without a count)" if one.uncounted else ""
    return f"{one.calls} calls, {one.tokens_in} tokens in, {one.tokens_out} out{cost}{uncounted}"


def _votes(folder: Path, baseline: str) -> Votes | None:
    """What people said of the pairs, where somebody asked them."""
    if not (folder / FOLDER / FILE).is_file():
        return None
    with opened(folder) as store:
        study = store.study()
        return majorities(store, study, baseline) if study is not None else None


def _report(
    folder: Path,
    choice: Choice,
    endpoint: str,
    asked: Asked,
    found: Sequence[Judgement],
    ever: Spent,
    missing: Sequence[str],
) -> None:
    """Show the figures, and write them and the page."""
    votes = _votes(folder, found[0].pair.arms[0])
    made = comparisons(found, asked.shapes, [*missing, *asked.left_out])
    by_question: ByQuestion = {
        (one.names[1], question.name): figures(
            [j for j in found if j.pair.arms[1] == one.names[1] and j.question.name == question.name], votes
        )
        for one in made
        for question in choice.questions
    }
    for one in made:
        print_table(comparison_heads(one), comparison_rows(one))
    print_table(HEADS, rows(by_question))
    if agreed := agreement_rows(by_question):
        print_table(AGREEMENT_HEADS, agreed)
    for sentence in dict.fromkeys(sentence for one in made for sentence in cautions(one)):
        note(sentence)
    write_figures(folder, choice, endpoint, found, made, by_question, ever)
    if any(one.contrasts for one in made):
        with CountProgress("writing the page", 0) as progress:
            write_page(folder, choice, found, made, by_question, progress.reach)
        note(f"{folder / PAGE} shows it.")
