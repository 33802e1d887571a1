"""The data folder of one machine: what is made in it, whole and for its owner only."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.services import secret_key


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_secret_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    made = secret_key(Config(data_dir=tmp_path))
    assert len(made) >= 32
    assert secret_key(Config(data_dir=tmp_path)) == made
    assert mode(tmp_path / "secret-key") == 0o600


@pytest.mark.parametrize("left", ["", "\n"])
def test_an_empty_secret_key_that_a_crash_left_behind_is_made_anew(tmp_path: Path, left: str) -> None:
    (tmp_path / "secret-key").write_text(left)
    made = secret_key(Config(data_dir=tmp_path))
    assert len(made) >= 32
    assert secret_key(Config(data_dir=tmp_path)) == made
    assert [path.name for path in tmp_path.iterdir()] == ["secret-key"]


def test_all_who_ask_for_the_secret_key_at_once_get_the_same(tmp_path: Path) -> None:
    (tmp_path / "secret-key").touch()
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: secret_key(Config(data_dir=tmp_path)), range(32)))) == 1


def test_a_secret_key_that_is_configured_is_not_written_down(tmp_path: Path) -> None:
    assert secret_key(Config(data_dir=tmp_path, secret_key="from the environment")) == "from the environment"
    assert list(tmp_path.iterdir()) == []
