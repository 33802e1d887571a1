"""One suite for both object stores: files, and S3 as moto's server speaks it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from gateway.errors import NotFound, StoreUnavailable, TooLarge
from gateway.store.filesystem import FileObjectStore
from gateway.store.objects import (
    Note,
    ObjectStore,
    Spool,
    keep_bytes,
    object_key,
    read_bytes,
    remove_abandoned_spools,
)
from gateway.store.remote import RemoteObjectStore
from tests.support.gateway_process import free_port

BYTES = b"\x00" * 128 + b"DICM" + bytes(range(256)) * 50


@pytest.fixture(scope="module")
def s3() -> Iterator[pytest.MonkeyPatch]:
    """A real S3 server and the environment that an operator of one sets."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ALLOW_HTTP", "true")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_REGION", "eu-central-1")
        yield environment
    server.stop()


@pytest.fixture(params=["files", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "files":
        return FileObjectStore(tmp_path)
    request.getfixturevalue("s3")
    bucket = f"objects-{uuid4()}"
    boto3.client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    return RemoteObjectStore(f"s3://{bucket}/gateway", tmp_path / "incoming")


def spools(folder: Path) -> list[Path]:
    return list((folder / "incoming").glob("*"))


def kept(store: ObjectStore, content: bytes) -> str:
    return keep_bytes(store, [content]).key


def test_what_is_kept_is_read_back_byte_for_byte(store: ObjectStore) -> None:
    stored = keep_bytes(store, [BYTES[:100], BYTES[100:]])
    assert stored.size_bytes == len(BYTES)
    assert stored.key == object_key(stored.sha256)
    assert read_bytes(store, stored.key) == BYTES


def test_an_empty_object_is_kept(store: ObjectStore) -> None:
    assert read_bytes(store, kept(store, b"")) == b""


def test_an_object_larger_than_one_upload_part_is_kept(store: ObjectStore) -> None:
    content = os.urandom(12 * 1024 * 1024)
    assert read_bytes(store, kept(store, content)) == content


def test_the_same_bytes_twice_are_one_object(store: ObjectStore) -> None:
    first = keep_bytes(store, [BYTES])
    second = keep_bytes(store, [BYTES])
    assert first == second
    assert read_bytes(store, second.key) == BYTES


def test_an_object_cut_short_is_replaced_by_the_whole_one(store: ObjectStore, tmp_path: Path) -> None:
    if not isinstance(store, FileObjectStore):
        return  # S3 shows an object only when all of it has arrived
    key = kept(store, BYTES)
    (tmp_path / "objects" / key).write_bytes(BYTES[:10])
    assert read_bytes(store, kept(store, BYTES)) == BYTES


def test_of_two_senders_of_the_same_bytes_at_one_moment_one_has_noted_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told as noted is what stands under the name."""
    store = FileObjectStore(tmp_path)
    ours, theirs = (
        Note(text, datetime(2026, 3, 1, tzinfo=UTC)) for text in (b"of the first", b"of the second")
    )
    with store.spool() as first, store.spool() as second:
        for spool in (first, second):
            spool.write(BYTES)
        monkeypatch.setattr(first, "note", lambda _: store.keep(second, theirs).is_noted)
        assert not store.keep(first, ours).is_noted
    (noted,) = store.noted_since(datetime(2026, 1, 1, tzinfo=UTC))
    assert noted.note == theirs
    with store.spool() as alone:
        alone.write(BYTES + b"other")
        assert store.keep(alone, ours).is_noted


def test_an_open_object_can_be_read_from_any_place(store: ObjectStore) -> None:
    with store.open(kept(store, BYTES)) as file:
        file.seek(128)
        assert file.read(4) == b"DICM"
        file.seek(0)
        assert file.read() == BYTES


def test_a_missing_object_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(NotFound):
        store.open(object_key("f" * 64))


def test_a_store_in_order_says_so(store: ObjectStore) -> None:
    store.check()


def test_nothing_is_left_of_a_spool_after_it_was_kept(store: ObjectStore, tmp_path: Path) -> None:
    kept(store, BYTES)
    assert spools(tmp_path) == []


def test_nothing_is_left_of_a_spool_that_was_aborted(store: ObjectStore, tmp_path: Path) -> None:
    with store.spool() as spool:
        spool.write(BYTES)
        assert spools(tmp_path) != []
    assert spools(tmp_path) == []


def test_nothing_is_left_of_a_spool_whose_sender_broke_off(store: ObjectStore, tmp_path: Path) -> None:
    with suppress(ConnectionResetError), store.spool() as spool:
        spool.write(BYTES)
        raise ConnectionResetError
    assert spools(tmp_path) == []


def test_a_spool_over_its_limit_is_too_large_and_takes_nothing_more(store: ObjectStore) -> None:
    with store.spool(max_bytes=10) as spool:
        spool.write(b"0123456789")
        with pytest.raises(TooLarge):
            spool.write(b"x")
        assert spool.size_bytes == 10


def test_a_spool_can_be_read_before_it_is_kept(store: ObjectStore) -> None:
    with store.spool() as spool:
        spool.write(BYTES)
        with spool.reader() as reader:
            assert reader.read() == BYTES


def test_files_that_cannot_be_written_are_an_unavailable_store(tmp_path: Path) -> None:
    (tmp_path / "incoming").write_text("in the way")
    store = FileObjectStore(tmp_path)
    with pytest.raises(StoreUnavailable):
        store.spool()
    with pytest.raises(StoreUnavailable):
        store.check()


def test_a_folder_of_objects_that_cannot_be_made_is_an_unavailable_store(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        keep_bytes(FileObjectStore(tmp_path), [BYTES])


def test_a_store_whose_folder_of_objects_is_away_is_not_in_order_until_it_is_back(tmp_path: Path) -> None:
    store = FileObjectStore(tmp_path)
    kept(store, BYTES)
    (tmp_path / "objects").rename(tmp_path / "away")
    (tmp_path / "objects").write_text("in the way")
    with pytest.raises(StoreUnavailable):
        store.check()
    (tmp_path / "objects").unlink()
    (tmp_path / "away").rename(tmp_path / "objects")
    store.check()


def test_looking_whether_a_store_is_in_order_leaves_nothing(tmp_path: Path) -> None:
    store = FileObjectStore(tmp_path)
    store.check()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_bucket_is_not_written_at_every_look(s3: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bucket = f"objects-{uuid4()}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    store = RemoteObjectStore(f"s3://{bucket}", tmp_path / "incoming")
    store.check()
    (written,) = client.list_objects_v2(Bucket=bucket)["Contents"]
    client.delete_object(Bucket=bucket, Key=written["Key"])
    store.check()
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_an_object_store_that_does_not_answer_is_unavailable(s3: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        store = RemoteObjectStore("s3://nobody-home", tmp_path / "incoming")
    for act in (
        lambda: keep_bytes(store, [BYTES]),
        lambda: store.open(object_key("f" * 64)),
        store.check,
    ):
        with pytest.raises(StoreUnavailable):
            act()


def test_a_bucket_that_is_missing_is_an_unavailable_store(s3: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = RemoteObjectStore("s3://no-such-bucket", tmp_path / "incoming")
    with pytest.raises(StoreUnavailable):
        keep_bytes(store, [BYTES])
    with pytest.raises(StoreUnavailable):
        store.check()


def test_spools_of_a_killed_process_are_removed_when_they_are_old(tmp_path: Path) -> None:
    left = [Spool(tmp_path), Spool(tmp_path)]
    os.utime(left[0].path, (0, 0))
    remove_abandoned_spools(tmp_path)
    assert [os.path.exists(spool.path) for spool in left] == [False, True]


def test_what_is_lent_can_be_read_replaced_and_taken_back(store: ObjectStore) -> None:
    for content in (b"first", b"second"):
        with store.spool() as spool:
            spool.write(content)
            store.lend(spool, "lent/request-1/1")
    with store.spool() as spool:
        spool.write(b"other")
        store.lend(spool, "lent/request-10/1")
    assert read_bytes(store, "lent/request-1/1") == b"second"
    for _ in range(2):
        store.take_back("lent/request-1")
    with pytest.raises(NotFound):
        store.open("lent/request-1/1")
    assert read_bytes(store, "lent/request-10/1") == b"other"


@pytest.mark.parametrize("key", ["", "lent", "lent/", "lent/../ab", "ab", "/"])
def test_what_was_received_is_never_taken_back(store: ObjectStore, key: str) -> None:
    kept = keep_bytes(store, [BYTES])
    for place in (key, kept.key):
        with pytest.raises(ValueError, match="nothing is removed"):
            store.take_back(place)
    assert read_bytes(store, kept.key) == BYTES
