"""`patina keys`: values come in by prompt or pipe, and never come out."""

import base64
import json
import os
import sys
import time

import pytest
from tests.cli.model_server import HELLO, model_server
from tests.cli.support import home, kept_secrets, patina, run
from tests.cli.terminal import terminal


def test_set_list_remove() -> None:
    assert patina("keys", "list").stdout == ""
    done = patina("keys", "set", "openai", stdin="sk-canary\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    patina("keys", "set", "github/GITHUB_TOKEN", stdin="ghp-canary")
    listed = patina("keys", "list", "--json", variables={"HF_TOKEN": "hf-canary"})
    where = str(home() / "data" / "secrets.enc")
    assert json.loads(listed.stdout) == [
        {"name": "github/GITHUB_TOKEN", "source": "file", "where": where, "origins": []},
        {"name": "openai", "source": "file", "where": where, "origins": []},
        {"name": "HF_TOKEN", "source": "environment", "where": "HF_TOKEN", "origins": []},
    ]
    assert "canary" not in listed.stdout
    assert patina("keys", "list").stdout.splitlines()[1] == f"openai\tfile\t{where}\t"
    assert patina("keys", "remove", "openai").returncode == 0
    again = patina("keys", "remove", "openai")
    assert again.returncode == 2
    assert 'There is no kept secret "openai".' in again.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        (["set", "openai"], "", "No value for openai came in."),
        (["set", "openai"], " \n", "No value for openai came in."),
        (["set", "../x"], "v", "That is not a name for a secret."),
        (["set", "openai", "sk-canary"], "", "unexpected extra argument"),
        (["set", "openai"], "x" * 70_000, "The value is over 64000 characters."),
    ],
)
def test_what_is_refused(arguments: list[str], stdin: str, message: str) -> None:
    done = patina("keys", *arguments, stdin=stdin)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (home() / "data/secrets.enc").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_the_prompt_hides_what_is_typed() -> None:
    import pty

    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "patina", "keys", "set", "openai"])
    shown = b""
    deadline = time.monotonic() + 60
    while b"Value of openai" not in shown and time.monotonic() < deadline:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"sk-canary-typed\n")
    try:
        while chunk := os.read(terminal, 1000):
            shown += chunk
    except OSError:
        pass  # how Linux says that the other end is closed
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    os.close(terminal)
    assert b"canary" not in shown
    assert kept_secrets() == {"openai": "sk-canary-typed"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_a_file_that_others_can_read_is_refused() -> None:
    patina("keys", "set", "openai", stdin="v")
    file = home() / "data" / "secrets.enc"
    file.chmod(0o644)
    done = patina("keys", "list")
    assert done.returncode == 2
    assert f"Run: chmod 600 {file}" in done.stderr


LAB = '[providers.lab]\nkind = "openai_compatible"\nbase_url = "{}"\napi_key = "secret:lab"\n'


def lab(url: str) -> None:
    home().mkdir(exist_ok=True)
    (home() / "config.toml").write_text(LAB.format(url))


def given_for(name: str = "lab") -> list[str]:
    rows = json.loads(patina("keys", "list", "--json").stdout)
    return next(list(row["origins"]) for row in rows if row["name"] == name)


def test_a_key_is_for_the_provider_of_its_name() -> None:
    lab("https://lab.example/v1")
    done = patina("keys", "set", "lab", stdin="sk-canary-0123456789")
    assert (done.returncode, done.stderr) == (0, "The key is for https://lab.example.\n")
    assert given_for() == ["https://lab.example"]
    # Whoever changes the address does not get the key.
    lab("https://evil.example/v1")
    done = patina("ask", "-m", "lab/x", "hello", "--json")
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "auth"
    assert error["message"] == (
        "The key secret:lab was given for https://lab.example and is not sent to"
        " https://evil.example."
    )
    assert "patina keys bind secret:lab https://evil.example" in error["hint"]
    # Setting it anew, or allowing the place, does.
    assert patina("keys", "bind", "secret:lab", "https://evil.example/any/path").returncode == 0
    assert given_for() == ["https://lab.example", "https://evil.example"]
    patina("keys", "set", "lab", stdin="sk-canary-0123456789")
    assert given_for() == ["https://evil.example"]
    patina("keys", "remove", "lab")
    patina("keys", "set", "other", stdin="sk-canary-0123456789")
    assert given_for("other") == []


def test_the_first_use_of_a_key_decides_where_it_may_go() -> None:
    patina("keys", "set", "lab", stdin="sk-canary-0123456789")
    with model_server() as server:
        lab(server.url)
        assert given_for() == []
        assert patina("doctor", "--offline").returncode == 0
        assert given_for() == [], "to look is not to use"
        assert patina("ask", "-m", "lab/x", "hello").stdout == f"{HELLO}\n"
        assert given_for() == ["this machine"]
    lab("https://evil.example/v1")
    assert patina("ask", "-m", "lab/x", "hello").returncode == 3


def test_a_key_and_an_address_of_the_environment_belong_together() -> None:
    with model_server() as server:
        pair = {"OPENAI_API_KEY": "sk-canary-0123456789", "OPENAI_BASE_URL": server.url}
        assert patina("ask", "-m", "openai/x", "hello", variables=pair).stdout == f"{HELLO}\n"
        assert not (home() / "key_origins.json").exists()
        # The same key is not for an address that a file names.
        patina("keys", "bind", "env:OPENAI_API_KEY", "https://api.openai.com")
        home().mkdir(exist_ok=True)
        (home() / "config.toml").write_text(
            f'[providers.openai]\nkind = "openai"\nbase_url = "{server.url}"\n'
        )
        key = {"OPENAI_API_KEY": "sk-canary-0123456789"}
        done = patina("ask", "-m", "openai/x", "hello", variables=key)
        assert done.returncode == 3
        assert "was given for https://api.openai.com and is not sent to this machine" in done.stderr
        assert patina("ask", "-m", "openai/x", "hello", variables=pair).stdout == f"{HELLO}\n"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
def test_where_nothing_can_be_remembered_one_can_still_ask() -> None:
    with model_server() as server:
        lab(server.url)
        patina("keys", "set", "lab", stdin="sk-canary-0123456789")
        (home() / "key_origins.json").unlink()
        (home() / ".key_origins.json.lock").unlink()
        (home() / ".key_origins.json.lock").mkdir()  # stops root, too
        assert patina("ask", "-m", "lab/x", "hello").stdout == f"{HELLO}\n"
        assert not (home() / "key_origins.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "https://x.example"], 'There is no kept secret "nobody".'),
        (["secret:nobody", "https://x.example"], 'There is no kept secret "nobody".'),
        (["keyfile:x", "https://x.example"], "is not a reference to a key."),
        (["env:", "https://x.example"], "is not a reference to a key."),
        (["env:BAD NAME", "https://x.example"], "is not a reference to a key."),
        (["env:X", "x.example"], "is not an address: it does not begin with http"),
        (["env:X", "https://"], "is not an address: it has no usable host name."),
    ],
)
def test_what_cannot_be_bound(arguments: list[str], message: str) -> None:
    done = patina("keys", "bind", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True)


def test_a_variable_that_is_a_key_by_reference_is_listed_and_bound_anew() -> None:
    lab("https://one.example/v1")
    path = home() / "config.toml"
    path.write_text(path.read_text().replace("secret:lab", "env:LAB_KEY"))
    patina("keys", "bind", "env:LAB_KEY", "https://one.example")
    patina("keys", "bind", "env:LAB_KEY", "https://two.example")
    done = patina("keys", "list", "--json", variables={"LAB_KEY": "sk-canary-0123456789"})
    (row,) = json.loads(done.stdout)
    assert (row["name"], row["origins"]) == (
        "LAB_KEY",
        ["https://one.example", "https://two.example"],
    )
    patina("keys", "bind", "--only", "env:LAB_KEY", "https://two.example")
    done = patina("keys", "list", "--json", variables={"LAB_KEY": "sk-canary-0123456789"})
    assert json.loads(done.stdout)[0]["origins"] == ["https://two.example"]
    # Names are told whatever else is wrong.
    path.write_text("providers = 3\n")
    assert patina("keys", "list").returncode == 0


def test_a_key_that_its_provider_does_not_use_is_told() -> None:
    """The hint of a provider without a key names `keys set`: it must not lead nowhere."""
    patina("providers", "add", "openai", "--key-env", "MY_KEY")
    done = patina("keys", "set", "openai", stdin="sk-canary-0123456789")
    command = "patina config set providers.openai.api_key secret:openai"
    assert f"uses env:MY_KEY. To have it use this key: {command}" in done.stderr
    assert patina(*command.split()[1:]).returncode == 0
    rows = json.loads(patina("providers", "list", "--json", "--offline").stdout)
    assert (rows[0]["key"], rows[0]["state"]) == ("secret:openai", "ready")


def test_nothing_is_kept_or_removed_where_it_is_not_known_where_keys_may_go() -> None:
    patina("keys", "set", "lab", stdin="sk-canary-0123456789")
    (home() / "key_origins.json").write_text("{")
    assert patina("keys", "set", "other", stdin="sk-canary-9876543210").returncode == 2
    assert patina("keys", "remove", "lab").returncode == 2
    (home() / "key_origins.json").unlink()
    names = [row["name"] for row in json.loads(patina("keys", "list", "--json").stdout)]
    assert names == ["lab"]


# What the secrets are encrypted with

PHRASE = {"PATINA_PASSPHRASE": "a phrase of words"}
KEY = {"PATINA_KEY": base64.b64encode(bytes(32)).decode()}
NEW_KEY = {"PATINA_KEY_NEW": base64.b64encode(bytes(range(32))).decode()}


def status(**variables: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(
        patina("keys", "status", "--json", variables=variables).stdout
    )
    return found


def test_the_key_moves_and_is_replaced() -> None:  # M-24
    assert status()["state"] == "empty"
    patina("keys", "set", "openai", stdin="sk-canary-0123456789")
    assert (status()["home"], status()["state"]) == ("file", "open")
    before = (home() / "key").read_text()
    done = patina("keys", "rotate")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "The secrets have a new key, in a key file.\n"
    assert (home() / "key").read_text() != before
    done = patina("keys", "protect", "passphrase", variables=PHRASE)
    assert "nobody can bring it back" in done.stderr
    assert not (home() / "key").exists()
    assert status()["state"] == "locked"
    assert patina("keys", "status").returncode == 0
    assert status(**PHRASE)["state"] == "open"
    # What a guess costs, for whoever has the file: 64 MiB and three passes of Argon2id.
    assert (
        b'"work":{"memory":65536,"passes":3,"lanes":4}'
        in (home() / "data/secrets.enc").read_bytes()
    )
    done = patina("keys", "rotate", variables=PHRASE)
    assert "No passphrase was given." in done.stderr
    new = {"PATINA_PASSPHRASE_NEW": "other words"}
    assert patina("keys", "rotate", variables={**PHRASE, **new}).returncode == 0
    changed = {"PATINA_PASSPHRASE": "other words"}
    done = patina("keys", "protect", "variable", variables={**changed, **KEY})
    assert "They can only be opened where PATINA_KEY is set" in done.stderr
    done = patina("keys", "rotate", variables={**KEY, **NEW_KEY})
    assert "Set PATINA_KEY to the new key wherever Patina runs." in done.stderr
    key = {"PATINA_KEY": NEW_KEY["PATINA_KEY_NEW"]}
    assert patina("keys", "protect", "file", variables=key).returncode == 0
    assert kept_secrets() == {"openai": "sk-canary-0123456789"}


def test_the_first_key_is_the_one_of_the_environment() -> None:
    done = patina("keys", "set", "openai", stdin="sk", variables={"PATINA_KEY": "nonsense"})
    assert done.returncode == 2
    assert "PATINA_KEY is no key: it is not base64 of 32 bytes." in done.stderr
    assert "openssl rand -base64 32" in done.stderr
    assert "nonsense" not in done.stderr
    patina("keys", "set", "openai", stdin="sk", variables=KEY)
    assert status(**KEY)["home"] == "variable"
    found = status()
    assert found["state"] == "locked"
    assert "expected in PATINA_KEY, which is not set" in found["text"]


@pytest.mark.parametrize(
    ("home_of_key", "says"),
    [
        ("file", "A key file beside the data protects backups, synced copies and accidental reads"),
        ("variable", "Whoever can see the environment that Patina is started in can read them"),
        ("passphrase", "Whoever has the file can only guess at the passphrase."),
    ],
)
def test_what_protects_what_is_said_in_words(home_of_key: str, says: str) -> None:
    patina("keys", "protect", home_of_key, variables={**PHRASE, **KEY})
    text = patina("keys", "status", variables={**PHRASE, **KEY}).stdout
    assert says in text
    assert "synced data folder" in text
    assert str(home() / "data" / "secrets.enc") in text


def test_a_file_that_cannot_be_opened_is_told_and_kept() -> None:
    patina("keys", "set", "openai", stdin="sk-canary-0123456789")
    file = home() / "data" / "secrets.enc"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    done = patina("keys", "status")
    assert done.returncode == 1
    assert "secrets.enc is damaged." in done.stdout
    for command in (["list"], ["rotate"], ["protect", "file"], ["set", "other"]):
        done = patina("keys", *command, stdin="x")
        assert (done.returncode, "secrets.enc is damaged." in done.stderr) == (2, True)
    # Whoever needs none of them goes on, and is told.
    done = patina("ask", "-m", "demo", "hello")
    assert done.returncode == 0
    assert "The kept keys cannot be used." in done.stderr
    assert file.read_bytes() == whole[:-5]
    file.write_bytes(whole)
    assert kept_secrets() == {"openai": "sk-canary-0123456789"}


def test_a_key_of_the_environment_opens_nothing() -> None:
    """Also where others are kept whose passphrase nobody has given."""
    patina("keys", "set", "mistral", stdin="x")
    patina("keys", "protect", "passphrase", variables=PHRASE)
    with model_server() as server:
        pair = {"OPENAI_API_KEY": "sk-canary-0123456789", "OPENAI_BASE_URL": server.url}
        command = [sys.executable, "-X", "importtime", "-m", "patina"]
        done = run([*command, "ask", "-m", "openai/x", "hello"], variables=pair)
        assert done.stdout == f"{HELLO}\n"
        said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
        assert said == []
        assert "cryptography" not in done.stderr
        assert "keyring" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_a_passphrase_is_asked_for_at_the_terminal_unseen() -> None:
    patina("keys", "set", "lab", stdin="sk-canary-0123456789")
    patina("keys", "protect", "passphrase", variables=PHRASE)
    with model_server() as server:
        lab(server.url)
        with terminal("ask", "-m", "lab/x", "hello") as screen:
            screen.see("Passphrase of the secrets: ")
            screen.type("not it\n")
            screen.see("That is not it. Passphrase of the secrets: ")
            screen.type("a phrase of words\n")
            screen.see(HELLO)
            assert "phrase of words" not in screen.shown
        done = patina("ask", "-m", "lab/x", "hello")
        assert done.returncode in (2, 3)
        assert "PATINA_PASSPHRASE" in done.stderr


def test_what_was_not_encrypted_moves() -> None:
    home().mkdir(mode=0o700)
    old = home() / "secrets.json"
    old.write_text('{"version":1,"secrets":{"openai":"sk-canary-0123456789"}}')
    old.chmod(0o600)
    rows = json.loads(patina("keys", "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["openai"]
    assert kept_secrets() == {"openai": "sk-canary-0123456789"}
    assert not old.exists()
