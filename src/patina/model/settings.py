"""The shapes of the configuration (`docs/configuration.md`). `config` loads and saves them."""

from typing import Any, Literal

from msgspec import Struct

ProviderKind = Literal[
    "openai",
    "azure_openai",
    "anthropic",
    "google",
    "ollama",
    "cohere",
    "huggingface",
    "openai_compatible",
]
Api = Literal["auto", "chat", "responses"]
Transport = Literal["stdio", "streamable-http", "sse", "websocket"]
AuthMode = Literal["auto", "none", "bearer", "client", "server", "client_credentials"]
Connect = Literal["auto", "lazy", "manual"]
PermissionDefault = Literal["ask", "deny", "reads"]
RuleAction = Literal["deny", "ask", "allow"]
Effect = Literal["read", "write", "destructive", "open_world"]


class ModelSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the user knows better than the catalog. Prices are USD per million tokens.

    Tokens: `context_window`, which Ollama is also asked for (`num_ctx`), and `max_output`.
    """

    context_window: int | None = None
    max_output: int | None = None
    images: bool | None = None
    files: bool | None = None
    tools: bool | None = None
    price: dict[str, str] = {}


class ProviderSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provider. `api_key` is `secret:NAME` or `env:NAME`, never the key.

    `kind` is a `ProviderKind` or one that an installed package brings (`docs/drivers.md`).
    `concurrency` is the number of requests at a time; `keep_alive` is how long Ollama keeps a
    model in memory, such as "10m" ("" leaves it to Ollama).
    """

    kind: str
    base_url: str = ""
    api: Api = "auto"
    api_key: str = ""
    enabled: bool = True
    local: bool = False
    api_version: str = ""
    deployment: str = ""
    default_model: str = ""
    concurrency: int = 8
    keep_alive: str = ""
    models: dict[str, ModelSettings] = {}


class OAuthSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to sign in to one server; empty values are found out.

    `provider` is a built-in entry ("github", "google"), which names the places and the scope;
    `client_id` is the user's own client, `client_secret` and `private_key` (PEM) are references;
    `client_metadata_url` is the address of a client's metadata document. `scope` is asked for as
    it is written. `issuer` is the only authorization server to be trusted; the three endpoints
    replace its metadata. `variable` is where a local server finds the access token.
    `redirect_port` is for authorization servers that know but one (0: any free one). `timeout` is
    the seconds that a person has. `assertion` (a reference) is a signed statement of who a machine
    is, by which it gets tokens; with `exchange_endpoint` it is the ID token of an employer, who
    makes a grant of it there for the client `exchange_client_id`.
    """

    provider: str = ""
    client_id: str = ""
    client_secret: str = ""
    client_metadata_url: str = ""
    private_key: str = ""
    signing_algorithm: str = "ES256"
    scope: str = ""
    issuer: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    revocation_endpoint: str = ""
    variable: str = ""
    redirect_port: int = 0
    timeout: float = 120.0
    assertion: str = ""
    exchange_endpoint: str = ""
    exchange_client_id: str = ""


class ServerSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One MCP server. Values of `env` and `headers` may be `secret:NAME`, `env:NAME`,
    `keyfile:PATH` or plain text. `tool_timeout`, `connect_timeout` and `idle_timeout` are seconds;
    an `idle_timeout` of 0 is none. `auto_approve` lets its tools run unasked. `private` says that
    what it returns is the user's own; `untrusted` that anyone may have written it (None: where its
    tools say that they reach the open world). `restarts` is how often a server that dies is
    started again. Without `command`, `package` says what is run (`mcp.package`).
    """

    display_name: str = ""
    transport: Transport = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    cwd: str = ""
    env: dict[str, str] = {}
    required: tuple[str, ...] = ()
    source: dict[str, str] = {}
    package: dict[str, str] = {}
    protocol_version: str = "auto"
    url: str = ""
    headers: dict[str, str] = {}
    auth_mode: AuthMode = "auto"
    oauth: OAuthSettings = OAuthSettings()
    connect: Connect = "auto"
    allowed_tools: tuple[str, ...] | None = None
    tool_timeout: float = 30.0
    tool_timeout_most: float = 600.0
    auto_approve: bool = False
    private: bool = False
    untrusted: bool | None = None
    roots: tuple[str, ...] = ()
    sampling: Literal["ask", "allow", "deny"] = "ask"
    sampling_tokens: int = 4096
    sampling_requests: int = 10
    connect_timeout: float = 10.0
    idle_timeout: float = 1800.0
    restarts: int = 3
    enabled: bool = True


class PermissionRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule. `server` and `tool` are globs; `args` maps argument names to globs of values;
    `expires` is a date (YYYY-MM-DD), the last day on which the rule holds. `pin` is the hash of the
    one definition of a tool that the rule is about; "" is any.
    """

    action: RuleAction
    server: str = "*"
    tool: str = "*"
    effect: Effect | None = None
    args: dict[str, str] = {}
    expires: str = ""
    pin: str = ""


class PermissionSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happens to a call that no rule decides, and the rules."""

    default: PermissionDefault = "ask"
    rules: tuple[PermissionRule, ...] = ()


class BillingSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits in USD as decimal strings; "" is no limit.

    Those of models (by `provider/model`) and of providers (by name) are per month. `warn_at` is a
    share of a limit.
    """

    request_limit: str = ""
    turn_limit: str = ""
    conversation_limit: str = ""
    daily_limit: str = ""
    monthly_limit: str = ""
    warn_at: float = 0.8
    on_unknown_price: Literal["ask", "allow", "refuse"] = "ask"
    per_model_limits: dict[str, str] = {}
    per_provider_limits: dict[str, str] = {}


class RegistrySettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where servers are looked up."""

    official: str = "https://registry.modelcontextprotocol.io"
    smithery: str = "https://api.smithery.ai"


class UiSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How Patina looks."""

    theme: Literal["auto", "light", "dark"] = "auto"


class ChatSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bounds of a turn. `tool_calls` counts all tool calls of one turn; after each `rounds` replies
    a person is asked whether it may go on; `turn_time` is seconds, those of people not counted.
    `titles` says whether
    models make the titles of conversations. `find_tools` says whether models look for tools by
    words instead of being told of all; "auto": where those cost over `tools_budget` tokens.
    """

    max_tokens: int = 8192
    rounds: int = 25
    max_replies: int = 50
    tool_calls: int = 100
    turn_time: float = 3600.0
    timeout: float = 120.0
    system: str = "You are a helpful assistant."
    titles: Literal["auto", "off"] = "auto"
    find_tools: Literal["auto", "always", "off"] = "auto"
    tools_budget: int = 20_000


class LogSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The log of `state/logs`."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything of `config.toml`, with what the environment adds."""

    version: Literal[1] = 1
    default_model: str = ""
    providers: dict[str, ProviderSettings] = {}
    mcp_servers: dict[str, ServerSettings] = {}
    billing: BillingSettings = BillingSettings()
    permissions: PermissionSettings = PermissionSettings()
    registries: RegistrySettings = RegistrySettings()
    ui: UiSettings = UiSettings()
    chat: ChatSettings = ChatSettings()
    log: LogSettings = LogSettings()


class Source(Struct, frozen=True):
    """Where a value comes from: "flag", "environment", ".env", "file" or "default", and which."""

    kind: Literal["flag", "environment", ".env", "file", "default"]
    where: str = ""


class Configured(Struct, frozen=True):
    """Settings with the source of each value by its dotted key; absent keys are defaults."""

    settings: Settings
    sources: dict[str, Source] = {}
    extra: dict[str, Any] = {}

    def source(self, key: str) -> Source:
        """Return the source of the value at the dotted `key`."""
        return self.sources.get(key, Source("default"))
