"""URLs of stores as they may be shown and kept: without passwords."""

from __future__ import annotations

import re

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>.*)", re.DOTALL)
_OPTIONS = re.compile(r"\w+=[^&]*(&\w+=[^&]*)*")
_SECRET = re.compile(r"(ssl)?password=", re.IGNORECASE)


def without_password(store: str) -> str:
    """Return *store*, a path or a URL, without a password; who connects by it takes that from elsewhere.

    libpq looks for it in ``~/.pgpass`` and ``PGPASSWORD``. Of a URL that cannot be read, such as one with a ``/`` or
    an ``@`` in the password that is not encoded, rather too much is left out than too little.
    """
    url = _URL.fullmatch(store)
    if url is None or url["scheme"].lower().startswith("sqlite"):
        return store
    rest, options = url["rest"], ""
    place, _, tail = rest.rpartition("?")
    if place and _OPTIONS.fullmatch(tail):
        kept = [option for option in tail.split("&") if not _SECRET.match(option)]
        rest, options = place, f"?{'&'.join(kept)}" if kept else ""
    who, at, where = rest.rpartition("@")
    return f"{url['scheme']}{who.partition(':')[0]}{at}{where}{options}"
