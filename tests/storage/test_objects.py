"""Single objects of a bucket: conditions, lost answers, refusals."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featurebank.errors import BankReadOnlyError, MissingDependencyError, StorageError
from featurebank.storage import transfers
from featurebank.storage.address import parse_address
from featurebank.storage.objects import ATTEMPTS, CONNECT_S, Expected, Objects
from featurebank.system.progress import Advance, Reporter, shown_by


def objects_of(bucket: str, prefix: str = "cache") -> Objects:
    address = parse_address(f"{bucket}/{prefix}")
    assert address is not None
    return Objects(address)


def test_objects_are_written_read_listed_copied_and_deleted(bucket: str, tmp_path: Path) -> None:
    objects = objects_of(bucket)
    objects.check()
    assert objects.read("a") is None
    assert objects.head("a") is None
    (tmp_path / "file").write_bytes(b"rows" * 1000)
    stored = objects.put("bank/a", tmp_path / "file")
    assert stored is not None
    assert objects.put("b", b"12") is not None
    assert objects_of(bucket, "other").list() == {}
    listed = objects.list()
    assert {key: one.size for key, one in listed.items()} == {"b": 2, "bank/a": 4000}
    assert listed["bank/a"].etag == stored.etag
    assert list(objects.list("bank/")) == ["bank/a"]
    assert objects.copy("bank/a", "bank/c") == objects.head("bank/c")
    assert objects.copy("missing", "d") is None
    target = tmp_path / "target"
    assert objects.download("bank/c", target) == objects.head("bank/c")
    assert target.read_bytes() == b"rows" * 1000
    assert objects.download("bank/c", tmp_path / "unused", stored.etag) is True
    assert objects.download("missing", tmp_path / "unused") is False
    objects.delete("b")
    objects.delete("b")
    objects.delete_all(["bank/a", "bank/c"])
    objects.delete_all([])
    assert objects.list() == {}


def test_a_large_object_is_not_read_into_memory(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = objects_of(bucket)
    objects.put("note", b"x" * 100)
    monkeypatch.setattr("featurebank.storage.objects._MOST_READ", 99)
    content, stored = objects.read("note") or (None, None)
    assert (content, stored) == (b"", objects.head("note"))
    assert objects.put("small", b"x") is not None
    assert (objects.read("small") or [b""])[0] == b"x"


def test_a_list_of_many_objects_is_whole(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = objects_of(bucket)
    for number in range(5):
        objects.put(f"{number}", b"x")
    ask = objects._ask
    monkeypatch.setattr(objects, "_ask", lambda method, **about: ask(method, **about, MaxKeys=2))
    assert len(objects.list()) == 5


def test_conditions_are_kept(bucket: str) -> None:
    objects = objects_of(bucket)
    first = objects.put("a", b"1", Expected(None))
    assert first is not None
    assert objects.put("a", b"2", Expected(None)) is None
    assert objects.put("a", b"2", Expected('"other"')) is None
    second = objects.put("a", b"2", Expected(first.etag))
    assert second is not None
    assert objects.put("a", b"3", Expected(first.etag)) is None
    assert objects.put("missing", b"3", Expected(first.etag)) is None
    assert not objects.delete("a", first.etag)
    assert objects.read("a") == (b"2", objects.head("a"))
    assert objects.delete("a", second.etag)
    assert objects.read("a") is None


def lose_answers(objects: Objects, count: int, operation: str = "PutObject") -> list[str]:
    """Performs the next requests of a kind, and then drops their answers: the client sees a timeout and asks again."""
    lost: list[str] = []

    def drop(response: Any, operation: Any, **about: Any) -> int | None:
        if operation.name == wanted and len(lost) < count and response is not None:
            lost.append(operation.name)
            return 0  # the seconds after which the client sends the request again
        return None

    wanted = operation
    objects.client.meta.events.register_first("needs-retry.s3", drop)
    return lost


@pytest.mark.parametrize("expected", ["absent", "known"])
def test_a_conditional_put_whose_answer_was_lost_recognises_its_own_object(bucket: str, expected: str) -> None:
    objects = objects_of(bucket)
    before = None if expected == "absent" else objects.put("a", b"before")
    lost = lose_answers(objects, 2)
    stored = objects.put("a", b"mine", Expected(before.etag if before else None))
    assert lost == ["PutObject"] * 2
    assert stored is not None
    assert objects.read("a") == (b"mine", objects.head("a"))
    assert stored.etag == objects.head("a").etag  # type: ignore[union-attr]


def test_a_conditional_put_with_the_same_content_as_another_is_no_success(bucket: str) -> None:
    """The token tells writers apart, not the content: two processes may write the same note."""
    objects, other = objects_of(bucket), objects_of(bucket)
    assert other.put("a", b"same", Expected(None)) is not None
    assert objects.put("a", b"same", Expected(None)) is None


def test_a_broken_download_is_repeated(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = objects_of(bucket)
    objects.put("a", b"0123456789")
    run, broken = objects._run, []

    def breaking(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if call.__name__ == "read_body" and len(broken) < 2:
            broken.append(1)
            arguments[1](b"012")
            return 3
        return run(call, *arguments, **options)

    monkeypatch.setattr(objects, "_run", breaking)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert objects.read("a") == (b"0123456789", objects.head("a"))
    assert len(broken) == 2
    broken[:] = [1] * -10
    monkeypatch.setattr(
        objects, "_run", lambda call, *a, **o: 3 if call.__name__ == "read_body" else run(call, *a, **o)
    )
    with pytest.raises(StorageError, match="did not send the whole object 'a'"):
        objects.read("a")


def refuse(objects: Objects, operation: str, status: int, code: str) -> None:
    """Makes the server answer a kind of request by a refusal."""
    import aiobotocore.awsrequest

    def answer(request: Any, **about: Any) -> Any:
        body = f"<Error><Code>{code}</Code><Message>because</Message></Error>".encode()

        class Raw:
            async def read(self) -> bytes:
                return body

        response = aiobotocore.awsrequest.AioAWSResponse(request.url, status, {}, Raw())

        async def content() -> bytes:
            return body

        response._content_prop = content
        return response

    objects.client.meta.events.register_first(f"before-send.s3.{operation}", answer)


@pytest.mark.parametrize(
    ("operation", "status", "code", "error", "message"),
    [
        ("ListObjectsV2", 403, "AccessDenied", StorageError, "may not read or list"),
        (
            "ListObjectsV2",
            403,
            "InvalidAccessKeyId",
            StorageError,
            "credentials for .* were refused .InvalidAccessKeyId",
        ),
        ("ListObjectsV2", 400, "ExpiredToken", StorageError, "credentials for .* were refused .ExpiredToken"),
        ("ListObjectsV2", 403, "RequestTimeTooSkewed", StorageError, "the clock of this machine differs too much"),
        ("ListObjectsV2", 400, "Strange", StorageError, "refused a request .Strange: because"),
        ("PutObject", 403, "AccessDenied", BankReadOnlyError, "is read-only with these credentials"),
        ("PutObject", 501, "NotImplemented", StorageError, "has no conditional writes"),
    ],
)
def test_a_refusal_is_one_line(
    bucket: str, operation: str, status: int, code: str, error: type[Exception], message: str
) -> None:
    objects = objects_of(bucket)
    refuse(objects, operation, status, code)
    with pytest.raises(error, match=message) as caught:
        objects.check() if operation == "ListObjectsV2" else objects.put("a", b"1", Expected(None))
    assert "\n" not in str(caught.value)


def test_without_conditional_deletes_the_version_is_looked_up(bucket: str) -> None:
    objects = objects_of(bucket)
    stored = objects.put("a", b"1")
    assert stored is not None
    ask = objects._ask

    def without(method: str, key: str | None = None, **about: Any) -> Any:
        return "NotImplemented" if "IfMatch" in about else ask(method, key, **about)

    objects._ask = without  # type: ignore[method-assign]
    assert not objects.delete("a", '"other"')
    assert objects.delete("a", stored.etag)
    assert not objects.delete("a", stored.etag)


@pytest.mark.parametrize("direction", ["sending", "fetching"])
def test_a_transfer_that_takes_long_is_shown(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    """Each byte is shown once, though the client reads a file also for its checksum."""
    monkeypatch.setattr(transfers, "SHOWN_AFTER_S", -1.0)
    objects, size = objects_of(bucket), 3 << 20
    source = tmp_path / "shard-1.h5"
    source.write_bytes(bytes(size))
    if direction == "fetching":
        objects.put("shard-1.h5", source)
    shown: list[tuple[str, int, str]] = []
    done: list[int] = []

    class Bars(Reporter):
        @contextlib.contextmanager
        def track(self, what: str, total: int, unit: str) -> Iterator[Advance]:
            shown.append((what, total, unit))
            yield done.append

    with shown_by(Bars()):
        if direction == "sending":
            objects.put("shard-1.h5", source, Expected(None))
        else:
            objects.download("shard-1.h5", tmp_path / "target")
        objects.put("small", b"1")
    assert shown == [(f"{direction} shard-1.h5", size, "bytes")]
    assert sum(done) == size
    assert len(done) > 1


def test_a_bucket_that_is_not_there_is_named(bucket: str) -> None:
    with pytest.raises(StorageError, match="there is no bucket 'nowhere-at-all'"):
        objects_of("s3://nowhere-at-all").check()


def test_missing_credentials_are_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match=r"no credentials for .*set AWS_PROFILE, or AWS_ACCESS_KEY_ID"):
        objects_of(bucket).check()


def test_a_missing_profile_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match=r"no credentials for .*nobody"):
        objects_of(bucket).check()


def test_a_server_that_is_not_there_is_named_soon(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert CONNECT_S * ATTEMPTS < 20
    with pytest.raises(StorageError, match=r"no answer from the server of .*check the network and AWS_ENDPOINT_URL"):
        objects_of(bucket).check()


def test_without_s3fs_the_extra_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'featurebank\[s3\]'"):
        objects_of(bucket)
