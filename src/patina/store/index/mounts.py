"""Whether a folder is on a network drive, where a write-ahead log would be damaged."""

import sys
from pathlib import Path
from typing import Final

# As Linux names file systems (proc_pid_mountinfo(5)); those of `fuse` may be either, so they count.
_REMOTE: Final = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "fuse.", "ncp", "lustre", "glusterfs")
_MOUNTS: Final = Path("/proc/self/mountinfo")


def is_remote(folder: Path) -> bool:
    """Whether `folder`, which need not exist, is on a network drive. False where nobody can say."""
    folder = _existing(folder)
    try:
        if sys.platform == "win32":
            return _windows(folder)
        if sys.platform == "darwin":
            return _macos(folder)
        return remote_type(_MOUNTS.read_text("utf-8", "replace"), folder)
    except (OSError, ValueError, AttributeError):
        return False


def remote_type(mounts: str, folder: Path) -> bool:
    """Whether the mount of `folder`, in the words of `mountinfo`, is a remote one."""
    found = ""
    longest = -1
    place = f"{folder}/"
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split(" ")[4]
        if "\\" in point:
            point = point.encode().decode("unicode_escape")
        if len(point) >= longest and place.startswith(f"{point.rstrip('/')}/"):
            longest, found = len(point), rest.split(" ")[0]
    return found.startswith(_REMOTE)


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.resolve()


def _macos(folder: Path) -> bool:
    import ctypes
    import struct

    # statfs(2): f_flags is the 32-bit number at byte 64; MNT_LOCAL is 0x1000.
    answer = ctypes.create_string_buffer(4096)
    statfs = ctypes.CDLL(None).statfs
    if statfs(str(folder).encode(), answer) != 0:
        return False
    flags: int = struct.unpack_from("I", answer, 64)[0]
    return not flags & 0x1000


def _windows(folder: Path) -> bool:
    import ctypes

    drive_remote = 4
    if str(folder).startswith("\\\\"):
        return True
    kinds = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore] # Windows has it
    return bool(kinds.GetDriveTypeW(f"{folder.drive}\\") == drive_remote)
