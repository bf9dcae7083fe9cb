"""Passwords in the URLs of stores."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.storage.urls import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:hunter2@db.example/whet", "postgresql://ada@db.example/whet"),
        ("postgresql://ada:hunter2@db:5433/whet?sslmode=require", "postgresql://ada@db:5433/whet?sslmode=require"),
        ("postgres://ada:hunter2@one:1,two:2/whet", "postgres://ada@one:1,two:2/whet"),
        ("postgresql:///whet?host=/tmp&password=hunter2&port=1", "postgresql:///whet?host=/tmp&port=1"),
        ("postgresql:///whet?PASSWORD=hunter2", "postgresql:///whet"),
        ("postgresql://ada@db/whet?sslpassword=hunter2", "postgresql://ada@db/whet"),
        ("postgresql://ada:hunter2@db/whet?user=a@b", "postgresql://ada@db/whet?user=a@b"),
        ("postgresql://ada:p@hunter2@db/whet", "postgresql://ada@db/whet"),
        ("postgresql://ada:p/hunter2@db/whet", "postgresql://ada@db/whet"),
        ("postgresql://ada:p?hunter2@db/whet", "postgresql://ada@db/whet"),
        ("postgresql://ada:p@?hunter2@db/whet", "postgresql://ada@db/whet"),
        ("postgresql://ada:hunter2\n@db/whet", "postgresql://ada@db/whet"),
        ("mysql://ada:hunter2@db/whet", "mysql://ada@db/whet"),
        ("PostgreSQL://ada:hunter2@db/whet", "PostgreSQL://ada@db/whet"),
        ("postgresql://db:5432/whet", "postgresql://db:5432/whet"),
        ("postgresql://ada@db/whet", "postgresql://ada@db/whet"),
        ("postgresql://ada:hunter2@", "postgresql://ada@"),
    ],
)
def test_the_password_is_left_out_and_nothing_else(url: str, shown: str) -> None:
    assert without_password(url) == shown
    assert without_password(shown) == shown


@pytest.mark.parametrize("path", ["whet.db", "a:b@c.db", "sqlite:////data/a:b@c.db", ":memory:", "", "x?password=1"])
def test_a_file_has_none(path: str) -> None:
    assert without_password(path) == path


@given(st.text(), st.booleans())
def test_no_password_is_ever_shown(text: str, is_encoded: bool) -> None:
    password = f"hunter2{text}hunter2"
    url = f"postgresql://ada:{quote(password, safe='') if is_encoded else password}@db/whet"
    assert "hunter2" not in without_password(url)
