"""Folders and network, as the environment says."""

from pathlib import Path

from patina.config.environment import Environment, Layer
from patina.config.network import Network, read_network
from patina.config.paths import find_paths


def test_patina_home_holds_everything(tmp_path: Path) -> None:
    paths = find_paths({"PATINA_HOME": str(tmp_path / "p")})
    assert paths.config_toml == tmp_path / "p" / "config.toml"
    assert paths.data == tmp_path / "p" / "data"
    assert paths.state == tmp_path / "p" / "state"
    assert paths.cache == tmp_path / "p" / "cache"
    assert paths.secrets_file == tmp_path / "p" / "data" / "secrets.enc"
    assert paths.key_file == tmp_path / "p" / "key"
    assert not (tmp_path / "p").exists()


def test_a_home_may_be_relative_or_begin_with_a_tilde() -> None:
    assert find_paths({"PATINA_HOME": "~/p"}).config == Path.home() / "p"
    assert find_paths({"PATINA_HOME": "p"}).config == Path.cwd() / "p"


def test_without_it_the_system_says_where() -> None:
    paths = find_paths({})
    folders = (paths.config, paths.data, paths.state, paths.cache)
    assert len(set(folders)) == 4
    assert not paths.key_file.is_relative_to(paths.data)  # which may be synced
    assert all(path.is_absolute() and "patina" in str(path) for path in folders)


def test_proxies() -> None:
    process = {
        "http_proxy": "small.example:3128",
        "HTTP_PROXY": "http://large.example",
        "HTTPS_PROXY": "https://secure.example:8443",
        "NO_PROXY": "localhost, .corp.example,",
        "SSL_CERT_FILE": "/etc/ca.pem",
    }
    environment = Environment((Layer("environment", process),))
    assert read_network(environment) == Network(
        http_proxy="http://small.example:3128",
        https_proxy="https://secure.example:8443",
        no_proxy=("localhost", ".corp.example"),
        ca_file="/etc/ca.pem",
    )


def test_a_foreign_folder_gives_no_proxy_and_no_certificates() -> None:
    values = {"https_proxy": "http://evil.example", "SSL_CERT_FILE": "evil.pem"}
    foreign = Layer(".env", values, "/somewhere/.env", trusted=False)
    environment = Environment((Layer("environment", {}), foreign))
    assert read_network(environment) == Network()
    assert environment["https_proxy"] == "http://evil.example"
