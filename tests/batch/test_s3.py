"""An object store for real: a local S3 server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from bytheway.batch.store import Store, StoreError, open_store
from bytheway.clips.read import read_metadata


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server that holds an empty bucket; clients find it by their environment, as workers do."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    told = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    before = dict(os.environ)
    os.environ.update(told)
    s3fs.S3FileSystem().mkdir("bucket")
    yield "s3://bucket/clips"
    os.environ.clear()
    os.environ.update(before)
    server.stop()


@pytest.fixture
def store(address: str) -> Store:
    opened = open_store(address)
    opened.prepare()
    return opened


def test_a_name_is_given_once(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "clip"
    assert list(store.names("arm")) == []
    file.write_text("first")
    assert store.put(file, "arm/a.mp4")
    file.write_text("second")
    assert not store.put(file, "arm/a.mp4")
    assert store.has("arm/a.mp4")
    assert not store.has("arm/b.mp4")
    assert list(store.names("arm")) == ["arm/a.mp4"]
    assert list(store.names("")) == []
    with store.local("arm/a.mp4") as path:
        assert path.read_text() == "first"
    store.remove("arm/a.mp4")
    store.remove("arm/a.mp4")
    assert list(store.names("arm")) == []


def test_of_many_at_once_one_is_first(address: str, store: Store, tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(6)]
    for file in files:
        file.write_text(file.name * 100_000)
    with ThreadPoolExecutor(6) as pool:
        firsts = list(pool.map(lambda file: open_store(address).put(file, "many/a.mp4"), files))
    assert firsts.count(True) == 1
    with store.local("many/a.mp4") as path:
        assert path.read_text() == files[firsts.index(True)].read_text()


def test_large_files_are_put_once_as_well(store: Store, tmp_path: Path) -> None:
    """In several parts, of which the last request decides."""
    file = tmp_path / "large"
    file.write_bytes(b"x" * 120 * 2**20)
    assert store.put(file, "large/a.mp4")
    assert not store.put(file, "large/a.mp4")


def test_a_bucket_that_is_not_there_is_said(address: str) -> None:
    with pytest.raises(StoreError, match="s3://nowhere/clips cannot be written or read"):
        open_store("s3://nowhere/clips").prepare()


def test_a_run_into_a_bucket_is_made_once(address: str, tmp_path: Path) -> None:
    """By the command, as a process of its own; clips and manifest are read back from the bucket."""
    jobs = tmp_path / "jobs.txt"
    jobs.write_text("a red ball rolls right on grass\na yellow star on snow\n")
    command = [sys.executable, "-m", "bytheway", "batch", str(jobs), "-o", f"{address}/run", "--steps", "2"]
    first, second = (subprocess.run(command, capture_output=True, text=True) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "2 are there, 0 are to be made" in second.stderr
    bucket = s3fs.S3FileSystem(skip_instance_cache=True)
    table = pandas.read_parquet(f"{address}/run/manifest")
    for identity, digest in zip(table.id, table.frames_sha256, strict=True):
        bucket.get_file(f"{address}/run/enhanced/{identity}.mp4", str(tmp_path / "clip.mp4"))
        assert read_metadata(tmp_path / "clip.mp4")["frames_sha256"] == digest
    assert len(table) == 2
