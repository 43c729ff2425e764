"""Reading the file: what is wrong is named exactly; unknown things stay and are told."""

import pytest
from tests.config.support import Home

from patina.config.load import NOTICES, WARNINGS
from patina.model.faults import ConfigFault
from patina.model.settings import Settings

PROVIDER = '[providers.openai]\nkind = "openai"\n'
SERVER = '[mcp_servers.github]\ncommand = "npx"\n'

MALFORMED = [
    ("a = \n", "line 1: invalid value"),
    ("version = 1\n[x\n", "line 2: expected ']'"),
    ("a = 1\na = 2\n", "line 2: cannot overwrite a value"),
    ('a = "x\n', "line 1: "),
    ("version = 2\n", "line 1: version is 2; allowed: 1"),
    ("default_model = 3\n", "line 1: default_model is 3; allowed: a string in quotes"),
    ("# c\n\nproviders = 3\n", "line 3: providers is 3; allowed: a table"),
    ("[providers]\nopenai = 3\n", "line 2: providers.openai is 3; allowed: a table"),
    (
        '\n[providers.openai]\n# note\nkind = "opnai"\n',
        'line 4: providers.openai.kind is "opnai"; allowed: anthropic, azure_openai, cohere,',
    ),
    (
        f'{PROVIDER}[providers.second]\nkind = "openai"\nenabled = "yes"\n',
        'line 5: providers.second.enabled is "yes"; allowed: true, false',
    ),
    (
        f'{PROVIDER}[providers.openai.models."gpt-5.2"]\ncontext_window = "big"\n',
        'line 4: providers.openai.models."gpt-5.2".context_window is "big"; allowed: a whole',
    ),
    (
        f'{PROVIDER}models = {{ "gpt" = {{ price = {{ input = 1.25 }} }} }}\n',
        "line 3: providers.openai.models.gpt.price.input is 1.25; allowed: a string in quotes",
    ),
    (
        '[providers.lab]\nbase_url = "http://x"\n',
        "line 1: providers.lab.kind is missing; allowed: anthropic",
    ),
    (
        f'{PROVIDER}base_url = "api.example"\n',
        'line 3: providers.openai.base_url is "api.example"; allowed: an address that begins',
    ),
    (
        f'{PROVIDER}api_key = "${{OPENAI_API_KEY}}"\n',
        'line 3: providers.openai.api_key is "${OPENAI_API_KEY}"; allowed: "env:OPENAI_API_KEY"',
    ),
    (f'{PROVIDER}api_key = ["sk-canary-1"]\n', "line 3: providers.openai.api_key is not text;"),
    (
        '[providers.lab]\nkind = "openai_compatible"\n',
        "line 1: providers.lab.base_url is missing; allowed: an address",
    ),
    (
        '[providers."a/b"]\nkind = "openai"\n',
        'line 1: providers."a/b" is not a name for a provider; allowed: no space',
    ),
    (
        '[mcp_servers.GitHub]\ncommand = "x"\n',
        "line 1: mcp_servers.GitHub is not a name for a server; allowed: a to z, 0 to 9",
    ),
    (
        f'[mcp_servers.{"a" * 33}]\ncommand = "x"\n',
        "is not a name for a server",
    ),
    ("[mcp_servers.x]\nenabled = true\n", "line 1: mcp_servers.x.command is missing"),
    (
        '[mcp_servers.x]\ntransport = "sse"\n',
        "line 1: mcp_servers.x.url is missing; allowed: an address that begins with http",
    ),
    (
        '[mcp_servers.x]\ntransport = "websocket"\nurl = "http://x"\n',
        'line 3: mcp_servers.x.url is "http://x"; allowed: an address that begins with ws://',
    ),
    (f"{SERVER}tool_timeout = 0\n", "line 3: mcp_servers.github.tool_timeout is 0; allowed: sec"),
    (
        f'{SERVER}args = [\n  "-y",\n  3,\n]\n',
        "line 3: mcp_servers.github.args[1] is 3; allowed: a string in quotes",
    ),
    (f"{SERVER}allowed_tools = 7\n", "line 3: mcp_servers.github.allowed_tools is 7; allowed: a l"),
    (
        '[[permissions.rules]]\naction = "deny"\n[[permissions.rules]]\naction = "block"\n',
        'line 4: permissions.rules[1].action is "block"; allowed: allow, ask, deny',
    ),
    (
        '[[permissions.rules]]\naction = "deny"\nexpires = "tomorrow"\n',
        'line 3: permissions.rules[0].expires is "tomorrow"; allowed: a date',
    ),
    ('[billing]\ndaily_limit = "5 USD"\n', 'line 2: billing.daily_limit is "5 USD"; allowed: an a'),
    ("[billing]\nwarn_at = 80\n", "line 2: billing.warn_at is 80; allowed: 0 to 1"),
    ("[chat]\nmax_tokens = 0\n", "line 2: chat.max_tokens is 0; allowed: more than 0"),
    ("chat.max_tokens = true\n", "line 1: chat.max_tokens is true; allowed: a whole number"),
]


@pytest.mark.parametrize(("text", "expected"), MALFORMED)
def test_what_is_wrong_is_named(home: Home, text: str, expected: str) -> None:
    home.write(text)
    with pytest.raises(ConfigFault) as caught:
        home.load()
    assert caught.value.failure.message.startswith("config.toml line ")
    assert expected in caught.value.failure.message
    assert str(home.file) in caught.value.failure.hint
    assert "canary" not in caught.value.failure.message


def test_bytes_that_are_no_text(home: Home) -> None:
    home.file.write_bytes(b'version = 1\ndefault_model = "\xff"\n')
    with pytest.raises(ConfigFault, match=r"config\.toml line 2: not UTF-8 text"):
        home.load()


def test_a_wrong_variable_is_named_instead_of_a_line(home: Home) -> None:
    with pytest.raises(ConfigFault, match=r'^AZURE_OPENAI_ENDPOINT is "r\.example"; allowed: an'):
        home.load({"AZURE_OPENAI_ENDPOINT": "r.example"})


def test_a_wrong_flag_is_named(home: Home) -> None:
    with pytest.raises(ConfigFault, match=r'^--log-level is "loud"; allowed: debug, error'):
        home.load(flags={"log.level": ("--log-level", "loud")})


def test_nothing_at_all_gives_the_defaults(home: Home) -> None:
    configured = home.load()
    assert configured.settings == Settings()
    assert configured.sources == {}
    assert configured.extra == {}


def test_a_byte_order_mark_and_windows_lines(home: Home) -> None:
    home.file.write_bytes(b'\xef\xbb\xbfversion = 1\r\ndefault_model = "a/b"\r\n')
    assert home.load().settings.default_model == "a/b"


def test_settings_toml_is_read_where_config_toml_is_absent(home: Home) -> None:  # P-12
    home.paths.settings_toml.write_text('default_model = "a/b"\n')
    configured = home.load()
    assert configured.settings.default_model == "a/b"
    assert configured.source("default_model").where == str(home.paths.settings_toml)
    home.write("version = 1\n")
    with pytest.raises(ConfigFault) as caught:
        home.load()
    assert str(home.paths.settings_toml) in caught.value.failure.message
    assert str(home.file) in caught.value.failure.message


def test_unknown_keys_are_ignored_and_told(home: Home) -> None:
    home.write('colour = 1\n[chat]\nmax_token = 5\n[providers.openai]\nkind = "openai"\nx = 1\n')
    configured = home.load()
    assert configured.extra[WARNINGS] == [
        "colour is not a setting and was ignored.",
        "chat.max_token is not a setting and was ignored. Did you mean max_tokens?",
        "providers.openai.x is not a setting and was ignored.",
    ]


class TestLiteralKeys:
    """A key in the file moves to the secrets the first time it is read."""

    def test_it_moves(self, home: Home) -> None:
        text = '# mine\n[providers.openai]\nkind = "openai"\napi_key = "{}" # why\nfoo = 1\n'
        home.write(text.format("sk-canary"))
        configured = home.load()
        assert configured.settings.providers["openai"].api_key == "secret:openai"
        assert home.keys.get("openai") == "sk-canary"
        assert home.read() == text.format("secret:openai")
        assert len(configured.extra[NOTICES]) == 1
        assert "sk-canary" not in configured.extra[NOTICES][0]
        assert NOTICES not in home.load().extra

    def test_it_replaces_no_other_secret(self, home: Home) -> None:
        home.keys.set("openai", "another")
        home.write(f'{PROVIDER}api_key = "sk-canary"\n')
        assert home.provider("openai").api_key == "secret:openai-2"
        assert home.keys.get("openai") == "another"

    def test_keys_of_servers_move_too(self, home: Home) -> None:
        home.write(
            f"{SERVER}[mcp_servers.github.env]\n"
            'GITHUB_TOKEN = "ghp_canary0123456789"\nHOST = "h.example"\nMAX_TOKENS = "4096"\n'
            'SSH_KEY = "~/.ssh/id"\nAPI_KEY = "keyfile:~/.key"\n'
        )
        env = home.load().settings.mcp_servers["github"].env
        assert env["GITHUB_TOKEN"] == "secret:github/GITHUB_TOKEN"
        assert home.keys.get("github/GITHUB_TOKEN") == "ghp_canary0123456789"
        assert "canary" not in home.read()
        assert env["HOST"] == "h.example"
        assert env["MAX_TOKENS"] == "4096"
        assert env["SSH_KEY"] == "~/.ssh/id"
        assert env["API_KEY"] == "keyfile:~/.key"

    def test_the_environment_still_wins(self, home: Home) -> None:
        home.write(f'{PROVIDER}api_key = "sk-canary"\n')
        provider = home.provider("openai", {"OPENAI_API_KEY": "sk-env"})
        assert provider.api_key == "env:OPENAI_API_KEY"
        assert "canary" not in home.read()

    def test_a_wrong_file_is_told_first_and_left_as_it_is(self, home: Home) -> None:
        text = f'{PROVIDER}api_key = "sk-canary"\n[chat]\ntimeout = "long"\n'
        home.write(text)
        with pytest.raises(ConfigFault, match="line 5"):
            home.load()
        assert home.read() == text
        assert home.keys.names() == []
