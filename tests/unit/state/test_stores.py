"""Chunk stores: what survives, what is refused, what is collected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.store import LocalStore
from rocksdict import Options, Rdict

from streamproc.errors import StateError
from streamproc.state.chunks import ChunkStore
from streamproc.state.files import FileChunks
from streamproc.state.memory import MemoryChunks
from streamproc.state.rocks import RocksChunks

TASK = "job/topic/0"


def _lake(folder: Path) -> FileChunks:
    return FileChunks(LocalStore(folder / "lake", mkdir=True))


def _file(folder: Path, id: str) -> Path:
    return folder / "lake" / "_state" / TASK / f"{id}.chunk"


STORES: dict[str, Callable[[Path], ChunkStore]] = {
    "memory": lambda _: MemoryChunks(),
    "files": _lake,
    "rocks": lambda folder: RocksChunks(folder / "disk", _lake(folder)),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ChunkStore:
    return STORES[request.param](tmp_path)


def test_gives_back_what_was_put_by_task(store: ChunkStore) -> None:
    store.put(TASK, "a", b"one")
    store.put("job/topic/1", "b", b"two")
    assert store.get(TASK, "a") == b"one"
    assert store.list(TASK) == {"a"}
    assert store.list("job/topic/2") == frozenset()


def test_deleting_twice_is_fine_and_a_missing_chunk_is_named(store: ChunkStore) -> None:
    store.put(TASK, "a", b"one")
    store.delete(TASK, ["a"])
    store.delete(TASK, ["a"])
    with pytest.raises(StateError, match='chunk "a" of the state of job/topic/0 is missing') as caught:
        store.get(TASK, "a")
    assert "reset" in caught.value.fix
    with pytest.raises(StateError, match="missing"):
        store.fetch(TASK, ["a"])


def test_a_lost_disk_is_fetched_again(tmp_path: Path) -> None:
    store = RocksChunks(tmp_path / "disk", _lake(tmp_path))
    store.put(TASK, "a", b"one")
    store.close()
    other = RocksChunks(tmp_path / "another", _lake(tmp_path))
    other.fetch(TASK, ["a"])
    _file(tmp_path, "a").unlink()
    assert other.get(TASK, "a") == b"one"


def test_a_stale_disk_brings_nothing_back(tmp_path: Path) -> None:
    store = RocksChunks(tmp_path / "disk", _lake(tmp_path))
    store.put(TASK, "old", b"one")
    store.put("job/topic/1", "other", b"two")
    store.delete("job/topic/none", ["x"])
    _file(tmp_path, "old").unlink()
    store.fetch(TASK, [])
    with pytest.raises(StateError, match="missing"):
        store.get(TASK, "old")
    assert store.get("job/topic/1", "other") == b"two"


def test_current_local_state_is_used_without_the_lake(tmp_path: Path) -> None:
    store = RocksChunks(tmp_path / "disk", _lake(tmp_path))
    store.put(TASK, "a", b"one")
    store.close()
    _file(tmp_path, "a").unlink()
    again = RocksChunks(tmp_path / "disk", _lake(tmp_path))
    again.fetch(TASK, ["a"])
    assert again.get(TASK, "a") == b"one"


def test_what_has_gone_elsewhere_survives_in_the_lake_only(tmp_path: Path) -> None:
    store = RocksChunks(tmp_path / "disk", _lake(tmp_path))
    store.put(TASK, "a", b"one")
    store.drop(TASK)
    assert store.get(TASK, "a") == b"one"
    store.drop(TASK)
    _file(tmp_path, "a").unlink()
    with pytest.raises(StateError, match="missing"):
        store.get(TASK, "a")


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:9] + b"X" + b[10:], lambda b: b""])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    store = _lake(tmp_path)
    store.put(TASK, "a", b"something long enough")
    file = _file(tmp_path, "a")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(StateError, match='"a" of the state of job/topic/0 is damaged'):
        store.get(TASK, "a")


def test_a_damaged_copy_is_fetched_again(tmp_path: Path) -> None:
    lake = _lake(tmp_path)
    store = RocksChunks(tmp_path / "disk", lake)
    store.put(TASK, "a", b"one")
    store.close()
    db = Rdict(str(tmp_path / "disk"), Options(raw_mode=True))
    db[b"job/topic/0\0a"] = b"SPC1 what a bad disk makes of it"
    db.close()
    assert RocksChunks(tmp_path / "disk", lake).get(TASK, "a") == b"one"


def test_trouble_with_what_is_not_needed_any_more_stops_nothing(tmp_path: Path) -> None:
    store = _lake(tmp_path)
    store.put(TASK, "a", b"one")
    _file(tmp_path, "b").mkdir()  # can't be deleted as a file
    store.delete(TASK, ["b", "a"])
    assert store.list(TASK) == frozenset()


def test_a_lake_that_can_t_be_listed_is_an_error_of_ours(tmp_path: Path) -> None:
    store = _lake(tmp_path)
    (tmp_path / "lake" / "_state" / "job" / "topic").mkdir(parents=True)
    (tmp_path / "lake" / "_state" / TASK).symlink_to(tmp_path / "lake" / "_state" / TASK)
    with pytest.raises(StateError, match="can't be listed"):
        store.list(TASK)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    first = RocksChunks(tmp_path / "disk", _lake(tmp_path))
    with pytest.raises(StateError, match="can't be opened"):
        RocksChunks(tmp_path / "disk", _lake(tmp_path))
    first.close()
