"""What the settings of an MCP server may be."""

import pytest
from tests.config.support import Home

from patina.model.faults import ConfigFault

COMMAND = '[mcp_servers.s]\ncommand = "x"\n'
HEAD = "[mcp_servers.s]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            f'{COMMAND}source = {{ type = "web", url = "x" }}\n',
            'mcp_servers.s.source.type is "web"; allowed: official, smithery, manual',
        ),
        (f'{COMMAND}source = {{ url = "x" }}\n', "source.type is missing; allowed: official"),
        (
            f'{COMMAND}source = {{ type = "official", name = "x" }}\n',
            "source.version is missing",
        ),
        (f'{COMMAND}source = {{ type = "smithery" }}\n', "source.qualified_name is missing"),
        (f'{COMMAND}source = {{ type = "manual" }}\n', "source.url is missing"),
        (
            f'{HEAD}package = {{ type = "zip", identifier = "x" }}\n',
            'package.type is "zip"; allowed: npm, docker, oci, pypi, nuget',
        ),
        (f'{HEAD}package = {{ identifier = "x" }}\n', "package.type is missing"),
        (f'{HEAD}package = {{ type = "npm" }}\n', "package.identifier is missing"),
        (f'{HEAD}package = {{ type = "npm", identifier = "-e" }}\n', 'identifier is "-e"'),
        (
            f'{HEAD}package = {{ type = "npm", identifier = "x", version = "1 2" }}\n',
            'package.version is "1 2"; allowed: a version, as 1.2.3',
        ),
        (HEAD, "mcp_servers.s.command is missing"),
        (f'{COMMAND}protocol_version = "2"\n', 'protocol_version is "2"; allowed: auto, 2024-11'),
        (f'{COMMAND}auth_mode = "api_key"\n', 'auth_mode is "api_key"; allowed: auto, bearer'),
        (f'{COMMAND}connect = "never"\n', 'connect is "never"; allowed: auto, lazy, manual'),
        (f"{COMMAND}tool_timeout = 0\n", "tool_timeout is 0; allowed: seconds, more than 0"),
        (f"{COMMAND}connect_timeout = 0\n", "connect_timeout is 0; allowed: seconds, more than"),
        (f"{COMMAND}connect_timeout = inf\n", "connect_timeout is inf"),
        (f"{COMMAND}connect_timeout = nan\n", "connect_timeout is nan"),
        (f"{COMMAND}idle_timeout = -1\n", "idle_timeout is -1; allowed: seconds; 0 is never"),
        (f"{COMMAND}restarts = -1\n", "restarts is -1; allowed: 0 or more"),
        (f"{COMMAND}restarts = 1.5\n", "restarts is 1.5; allowed: a whole number"),
    ],
)
def test_a_wrong_value_names_what_is_allowed(home: Home, text: str, says: str) -> None:
    home.write(text)
    with pytest.raises(ConfigFault) as caught:
        home.load()
    assert says in str(caught.value)
    assert "config.toml line " in str(caught.value)


def test_every_source_and_package_is_read(home: Home) -> None:  # A-04 A-05
    home.write(
        """\
[mcp_servers.one]
package = { type = "npm", identifier = "@a/b", runtime_hint = "npx" }
source = { type = "official", name = "a/b", version = "1.0" }
[mcp_servers.two]
package = { type = "docker", identifier = "a/b" }
source = { type = "smithery", qualified_name = "@a/b" }
[mcp_servers.three]
transport = "sse"
url = "https://a.example/sse"
source = { type = "manual", url = "https://a.example/sse" }
idle_timeout = 0
restarts = 0
[mcp_servers.four]
command = "npx"
package = { type = "npm", identifier = "./a folder" }
"""
    )
    servers = home.load().settings.mcp_servers
    assert servers["one"].package["identifier"] == "@a/b"
    assert servers["two"].source == {"type": "smithery", "qualified_name": "@a/b"}
    assert (servers["three"].idle_timeout, servers["three"].restarts) == (0, 0)
    # With a command the package is a note.
    assert servers["four"].package["identifier"] == "./a folder"
