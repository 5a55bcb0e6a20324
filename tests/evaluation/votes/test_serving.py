"""The server as a process: many at once, several servers on one run, killed, ended, shared."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from tests.toys.vote_server import served

AGREED = {"adult": True, "agreed": True}
QUESTIONS = ("video_quality", "structure_rationality", "motion_consistency")
ANSWERS = ("left", "right", "tie", "bad")


def on_disk(run: Path) -> dict[tuple[str, str], str]:
    """Every vote by item and question; the file is read as another program would."""
    with sqlite3.connect(run / "votes" / "votes.sqlite") as database:
        rows = database.execute("SELECT item, question, answer FROM votes").fetchall()
    assert len({row[:2] for row in rows}) == len(rows)
    return {(item, question): answer for item, question, answer in rows}


class Voter:
    """Somebody who votes over HTTP as the page does: again and again, until it is acknowledged."""

    def __init__(self, address: str, seed: int) -> None:
        self.address = address
        self.random = random.Random(seed)
        self.acknowledged: dict[tuple[str, str], str] = {}
        self.failures = 0
        self.headers: dict[str, str] = {}

    async def _ask(self, client: httpx2.AsyncClient, method: str, path: str, body: object = None) -> httpx2.Response:
        for _ in range(300):
            try:
                answer = await client.request(method, self.address + path, json=body, headers=self.headers)
            except httpx2.TransportError:
                self.failures += 1
                await asyncio.sleep(0.1)
            else:
                assert answer.is_success, answer.text
                return answer
        raise AssertionError("the server did not come back")

    async def join(self, client: httpx2.AsyncClient) -> None:
        answer = await self._ask(client, "POST", "api/people", AGREED)
        self.headers = {"Person": answer.json()["person"]}

    async def vote_through(self, client: httpx2.AsyncClient) -> None:
        state = (await self._ask(client, "GET", "api/next")).json()
        while state["pair"]:
            item = state["pair"]["item"]
            for question in QUESTIONS:
                if question in state["pair"]["answers"]:
                    continue
                answer = self.random.choice(ANSWERS)
                vote = {"item": item, "question": question, "answer": answer, "watched": 1, "loops": 1, "replays": 0}
                vote["screen"] = [1440, 900]
                sent = [self._ask(client, "POST", "api/votes", vote) for _ in range(self.random.choice((1, 1, 2)))]
                state_after = (await asyncio.gather(*sent))[-1].json()
                self.acknowledged[item, question] = answer
            state = state_after


def test_thirty_vote_at_once_on_two_servers(made: Path, tmp_path: Path) -> None:
    """The second is shared. Some votes are sent twice at the same moment."""
    run = Path(shutil.copytree(made, tmp_path / "run"))

    async def all_vote(addresses: list[str]) -> list[Voter]:
        voters = [Voter(addresses[k % 2], k) for k in range(30)]
        limits = httpx2.Limits(max_connections=60)
        async with httpx2.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:
            await asyncio.gather(*(voter.join(client) for voter in voters))
            await asyncio.gather(*(voter.vote_through(client) for voter in voters))
        return voters

    with served(run, "--pairs", 2) as one, served(run, "--share") as other:
        shared = urlsplit(other.address)
        assert len(shared.path) > 20, "the secret"
        assert shared.port != urlsplit(one.address).port
        by_loopback = f"http://127.0.0.1:{shared.port}"
        assert httpx2.get(f"{by_loopback}/", trust_env=False).status_code == 403
        voters = asyncio.run(all_vote([one.address, by_loopback + shared.path]))
    acknowledged = {key: answer for voter in voters for key, answer in voter.acknowledged.items()}
    assert len(acknowledged) == 30 * 4 * 3, "two pairs, a check and a repeat"
    assert on_disk(run) == acknowledged
    assert not any(voter.failures for voter in voters)


def test_an_acknowledged_vote_outlives_kill_9(run: Path) -> None:
    vote = {"question": "video_quality", "answer": "tie", "watched": 1, "loops": 1, "replays": 0, "screen": [1, 1]}
    with served(run) as server, httpx2.Client(base_url=server.address, trust_env=False) as client:
        headers = {"Person": client.post("api/people", json=AGREED).json()["person"]}
        pair = client.get("api/next", headers=headers).json()["pair"]
        assert client.post("api/votes", json=vote | {"item": pair["item"]}, headers=headers).status_code == 200
        assert server.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert on_disk(run) == {(pair["item"], "video_quality"): "tie"}
    with served(run) as again, httpx2.Client(base_url=again.address, trust_env=False) as client:
        assert again.address == server.address, "open pages know that one"
        assert client.get("api/next", headers=headers).json()["pair"] == pair | {"answers": {"video_quality": "tie"}}
        assert client.post("api/votes", json=vote | {"item": pair["item"]}, headers=headers).status_code == 200
        code, said = again.end()
    assert (code, said.splitlines()[-1]) == (0, "Ended. Votes stored: 1.")
    assert len(on_disk(run)) == 1


def test_killed_in_the_middle_no_vote_is_lost_and_none_is_there_twice(run: Path) -> None:
    """Twice, while eight people vote; they send again what was not acknowledged."""

    async def vote_while_it_is_killed() -> list[Voter]:
        voters = [Voter("", k) for k in range(8)]
        async with httpx2.AsyncClient(timeout=120, trust_env=False) as client:
            tasks: list[asyncio.Task[None]] = []
            for kill in (True, True, False):
                with served(run) as server:
                    for voter in voters:
                        voter.address = server.address
                    if not tasks:
                        await asyncio.gather(*(voter.join(client) for voter in voters))
                        tasks = [asyncio.create_task(voter.vote_through(client)) for voter in voters]
                    if kill:
                        before = sum(len(voter.acknowledged) for voter in voters)
                        while sum(len(voter.acknowledged) for voter in voters) < before + 20:
                            await asyncio.sleep(0.01)
                        server.process.kill()
                        server.process.wait()
                        failed = sum(voter.failures for voter in voters)
                        there = on_disk(run)
                        for voter in voters:
                            for key, answer in voter.acknowledged.items():
                                assert there[key] == answer, "lost"
                        while sum(voter.failures for voter in voters) == failed:  # it was missed
                            await asyncio.sleep(0.01)
                    else:
                        await asyncio.gather(*tasks)
        return voters

    voters = asyncio.run(vote_while_it_is_killed())
    acknowledged = {key: answer for voter in voters for key, answer in voter.acknowledged.items()}
    assert on_disk(run) == acknowledged
    assert len(acknowledged) == 8 * 8 * 3
