# SPDX-License-Identifier: MIT
"""
POSIX ACLs as they stand in extended attributes.  Source: Linux include/uapi/linux/posix_acl_xattr.h.

In text they look as to setfacl(1), in the kernel's order: "u::rwx,u:4001:r--,g::r-x,g:4100:rw-,m::rwx,o::---".
"""

import os
import struct

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

_VERSION = 2
_NOBODY = 0xFFFFFFFF
_TAGS = {"u:": 0x01, "u": 0x02, "g:": 0x04, "g": 0x08, "m:": 0x10, "o:": 0x20}
_NAMES = {tag: name.rstrip(":") for name, tag in _TAGS.items()}


def pack(text):
    """The value of the attribute."""
    value = struct.pack("<I", _VERSION)
    for entry in filter(None, text.split(",")):
        kind, who, letters = entry.split(":")
        tag = _TAGS[kind if who else kind + ":"]
        bits = sum(bit for bit, letter in zip((4, 2, 1), letters) if letter != "-")
        value += struct.pack("<HHI", tag, bits, int(who) if who else _NOBODY)
    return value


def unpack(value):
    """The text of a value."""
    assert struct.unpack_from("<I", value)[0] == _VERSION
    entries = []
    for tag, bits, who in struct.iter_unpack("<HHI", value[4:]):
        letters = "".join(letter if bits & bit else "-" for bit, letter in ((4, "r"), (2, "w"), (1, "x")))
        entries.append(f"{_NAMES[tag]}:{'' if who == _NOBODY else who}:{letters}")
    return ",".join(entries)


def setfacl(path, text, name=ACCESS):
    os.setxattr(path, name, pack(text), follow_symlinks=False)


def getfacl(path, name=ACCESS):
    return unpack(os.getxattr(path, name, follow_symlinks=False))
