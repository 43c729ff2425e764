"""Whoever writes first: folders and files are their owner's only, with the usual umask."""

import logging
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from patina.assembly.log import install_log, remove_log
from patina.config.files import update_file
from patina.config.paths import Paths, find_paths
from patina.mcp.definitions import ToolListCache
from patina.mcp.server_log import ServerLog, log_path
from patina.mcp.trust import Trust
from patina.model.ids import new_id
from patina.model.settings import ServerSettings
from patina.secrets.vault import key_file_vault
from patina.store.journal import FileJournal

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits"),
]


async def consent(paths: Paths) -> None:
    servers = {"s": ServerSettings(command="true")}
    Trust(servers, {"PATH": os.defpath}, paths.data).trust("s")


async def tool_list(paths: Paths) -> None:
    ToolListCache(paths.cache).save("s", "key", "", ())


async def server_log(paths: Paths) -> None:
    log = ServerLog(log_path(paths.state, "s"))
    log.note("hello")
    log.close()


async def log(paths: Paths) -> None:
    install_log(paths.log_file, "info", str)
    try:
        logging.getLogger("patina").info("hello")
    finally:
        remove_log()


async def secret(paths: Paths) -> None:
    key_file_vault(paths.secrets_file, paths.key_file, update_file).set("name", "value")


async def configuration(paths: Paths) -> None:
    update_file(paths.config_toml, lambda _: b"version = 1\n")


async def blob(paths: Paths) -> None:
    async with FileJournal(paths.data, paths.state) as journal:
        await journal.put_blob(b"x")


async def device(paths: Paths) -> None:
    async with FileJournal(paths.data, paths.state) as journal:
        assert journal.device


async def turn(paths: Paths) -> None:
    async with FileJournal(paths.data, paths.state) as journal, journal.turn(new_id()):
        pass


@pytest.mark.parametrize(
    "write", [consent, tool_list, server_log, log, secret, configuration, blob, device, turn]
)
async def test_the_first_writer_leaves_nothing_for_others(
    tmp_path: Path, write: Callable[[Paths], Awaitable[None]]
) -> None:
    paths = find_paths({"PATINA_HOME": str(tmp_path / "above" / "home")})
    before = os.umask(0o022)
    try:
        await write(paths)
    finally:
        os.umask(before)
    made = [tmp_path / "above", *(tmp_path / "above").rglob("*")]
    assert len(made) > 2
    open_ones = [str(path) for path in made if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not open_ones
