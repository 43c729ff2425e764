"""Addresses that nobody may be sent to: for pages, and for what Patina asks by itself."""

from ipaddress import IPv4Address

PATH = "/.well-known/oauth-authorization-server"

# Where no server on the internet may send us.
INNER = (
    *("127.0.0.1", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.1.2.3"),
    *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.1.254"),
    *("169.254.169.254", "169.254.170.2", "169.254.0.1", "100.64.0.1", "100.127.255.254"),
    *("100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.0.1", "192.0.2.1", "198.51.100.7"),
    *("203.0.113.9", "198.18.0.1", "198.19.255.254", "192.88.99.1"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
)
INNER_6 = (
    *("::1", "::", "::2", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"),
    *("0:0:0:0:0:ffff:7f00:0001", "0000:0000:0000:0000:0000:0000:0000:0001"),
    *("fe80::1", "febf::1", "fec0::1", "fc00::1", "fd00::1", "fdff:ffff::1", "ff02::1", "ff0e::1"),
    *("fd00:ec2::254", "fd20:ce::254", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::a00:1"),
    *("2002:7f00:1::", "2002:a00:1::1", "2002:5db8:d822::1", "2001::1", "2001:0:7f00:1::1"),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "2001:2::1", "2001:10::1", "3fff::1"),
    *("100::1", "5f00::1", "4000::1", "::ffff:0:127.0.0.1", "::ffff:0:0:1"),
)


def notations(address: str) -> list[str]:
    """Every way that is known to write an IPv4 address in an address of the web."""
    number = int(IPv4Address(address))
    a, b, c, d = IPv4Address(address).packed
    half = f"{number >> 16:x}:{number & 0xFFFF:x}"
    circled = {"0": "\u24ea", **{str(n): chr(0x245F + n) for n in range(1, 10)}}
    return [
        address,
        f"{address}.",
        f"{number}",
        f"{number}.",
        f"0x{number:x}",
        f"0X{number:08X}",
        f"0{number:o}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"000{a:o}.{b}.{c}.{d}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0x{a:x}.{b}.0{c:o}.{d}",
        f"{a}.{b}.{(c << 8) + d}",
        f"{a}.{(b << 16) + (c << 8) + d}",
        f"{a}.{b}.{c}.{d + 256}",
        f"[::ffff:{address}]",
        f"[::ffff:{half}]",
        f"[0:0:0:0:0:FFFF:{half}]",
        f"[::{half}]",
        f"[64:ff9b::{half}]",
        f"[64:ff9b::{address}]",
        f"[64:ff9b:1::{half}]",
        f"[2002:{half}::1]",
        "".join(circled.get(sign, sign) for sign in address),
        "".join(chr(ord(sign) + 0xFEE0) if sign.isdigit() else sign for sign in address),
        address.replace(".", "\u3002"),
        address.replace(".", "\uff0e"),
        "".join(f"%{ord(sign):02x}" for sign in address),
        address.replace(".", "%2e"),
    ]


# Each is the address of a place inside, or of none: 28 ways to write each of 30 addresses.
INSIDE = tuple(
    dict.fromkeys(
        [f"https://{host}{PATH}" for address in INNER for host in notations(address)]
        + [f"https://[{host}]{PATH}" for host in INNER_6]
    )
)

# What programs take for different hosts, or do more with than open it.
TRICKS = (
    # a name or a password that looks like the host
    "https://good.example@127.0.0.1/",
    "https://good.example" + ":x@evil.example/",
    "https://good.example%40127.0.0.1/",
    "https://@127.0.0.1/",
    "https://:@good.example/",
    "https://good.example" + ":443@evil.example/",
    # slashes of the other kind, too few, too many
    "https://good.example\\@127.0.0.1/",
    "https:\\\\127.0.0.1\\",
    "https:/\\127.0.0.1/",
    "https:/127.0.0.1/",
    "https:127.0.0.1/",
    "https:///127.0.0.1/",
    "https://///127.0.0.1/",
    "//127.0.0.1/",
    "/etc/passwd",
    "127.0.0.1",
    "",
    # characters that one program drops and another keeps
    "https://127.0.0.1\t/",
    "https://good.example\n.evil.example/",
    "ht\ntps://good.example/",
    " https://good.example/",
    "https://good.example/ ",
    "\x00https://good.example/",
    "https://good.example\x00.evil.example/",
    "https://good.example/\r\nHost: 127.0.0.1",
    "https://good.example/\u202egpj.exe",
    "https://good.example\u200b/",
    "https://go\u00adod.example/",
    "https://good.example/\ud800",
    "https://good.example/\U000e0041",
    "https://good.example/%",
    "https://good.example/%zz",
    # hosts that are none, or look like another
    "https://",
    "https://?x",
    "https://#good.example/",
    "https://.good.example/",
    "https://good..example/",
    "https://-good.example/",
    "https://good.example;evil.example/",
    "https://good.example,evil.example/",
    "https://good_example%2f.evil.example/",
    "https://good.example\uff0fevil.example/",
    "https://good.example\u2044evil.example/",
    "https://good.example\uff03.evil.example/",
    "https://good\u3002example/",
    "https://fa\u00df.example/",
    "https://\u2100.example/",
    "https://[good.example]/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]x/",
    "https://" + "[::1]@good.example/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[v1.good]/",
    f"https://{'a' * 64}.example/",
    f"https://{'a.' * 200}example/",
    # ports
    "https://good.example:0/",
    "https://good.example:65536/",
    "https://good.example:99999999999/",
    "https://good.example:-1/",
    "https://good.example:+443/",
    "https://good.example:4 43/",
    "https://good.example:/",
    "https://good.example:443:443/",
    "https://good.example:\u0664\u0664\u0663/",
    # not encrypted
    "http://good.example/",
    "HTTP://good.example:443/",
    "http://127.0.0.1.evil.example/",
    "http://localhost.evil.example/",
    "http://[::ffff:127.0.0.1]/",
    "http://0.0.0.0/",
    # other schemes
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "javascript://good.example/%0aalert(1)",
    "java\tscript:alert(1)",
    "\x01javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "file://good.example/share",
    "blob:https://good.example/1",
    "about:blank",
    "view-source:https://good.example/",
    "ftp://good.example/",
    "ws://good.example/",
    "wss://good.example/",
    "gopher://127.0.0.1:6379/_INFO",
    "ldap://127.0.0.1/",
    "jar:https://good.example/!/",
    "mailto:a@good.example",
    "tel:1",
    "ssh://good.example/",
    "ssh://-oProxyCommand=calc/",
    "smb://good.example/share",
    "\\\\good.example\\share",
    "search-ms:query=x",
    "ms-msdt:/id PCWDiagnostic",
    "ms-excel:ofe|u|https://good.example/x",
    "steam://run/1",
    "vscode://file/etc/passwd",
    "patina://oauth/callback?code=1",
    "x-apple.systempreferences:",
    "intent://good.example/#Intent;scheme=https;end",
    "shell:startup",
    "C:\\Windows\\System32\\calc.exe",
    "calc.exe",
    # words for a shell, and options for a program
    "https://good.example/$(touch x)",
    "https://good.example/`touch x`",
    'https://good.example/"; touch x; "',
    "https://good.example/' -x '",
    "https://good.example/|calc",
    "https://good.example/x>y",
    "https://good.example/<script>",
    "https://$(calc)/",
    "https://`calc`/",
    "https://%COMSPEC%/",
    "-new-window https://good.example/",
    "--help",
    "-h",
    "%action",
    "--browser=calc https://good.example/",
    "@argfile",
    "https://good.example/" + "a" * 10_000,
)
# A shell would read some of these, but no page is opened by one: the sign is encoded on the way.
HARMLESS = ("https://good.example/|calc",)
HOSTILE = tuple(url for url in TRICKS if url not in HARMLESS)
