"""What looks like a secret in a command line is not shown, though the program gets it."""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = "***"
_SECRET = re.compile(
    r"(?:.*[-_.])?(?:(?:ssl)?passw(?:or)?d|passphrase|pwd|secret|credentials?|(?:api|access|private|secret|auth)[-_]?key"
    r"|secret[-_]access[-_]key)"
    # a token is more often a piece of text than a password
    r"|(?:.*[-_.])?(?:access|api|app|auth|bearer|bot|gh|github|gitlab|hf|hub|huggingface|oauth|refresh|secret"
    r"|security|session|wandb)[-_]?token|(?:.*\.)?token",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?<=://)([^/?#\s:@]*):([^/?#\s]*)@")
_IN_QUERY = re.compile(r"(?<=[?&])([^?&=#\s]+)=[^&#\s]*")


def redacted(arguments: Sequence[str]) -> list[str]:
    """Return *arguments* as they may be shown: what looks like a secret is ``***``.

    Such are the values of flags called after one (``--api-key``, ``--db.password``, ``wandb.token=``), and the
    passwords and the like in URLs.
    """
    shown: list[str] = []
    is_value = False
    for argument in arguments:
        is_flag = argument.startswith("-")
        if is_value and not is_flag:
            shown.append(HIDDEN)
            is_value = False
            continue
        name, equals, _ = argument.partition("=")
        is_secret = _SECRET.fullmatch(name.lstrip("-+~")) is not None
        is_value = is_flag and is_secret and not equals
        shown.append(f"{name}={HIDDEN}" if is_secret and equals else _without_passwords(argument))
    return shown


def _without_passwords(text: str) -> str:
    """Return *text*, which may hold URLs, without the secrets in them."""
    if "://" not in text:
        return text
    found = _IN_URL.sub(rf"\1:{HIDDEN}@", text)
    return _IN_QUERY.sub(lambda item: f"{item[1]}={HIDDEN}" if _SECRET.fullmatch(item[1]) else item[0], found)
