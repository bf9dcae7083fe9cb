"""GPUs: which there are, and who has which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.core.protocols import Decision, Ended, Launch
from whet.errors import ExecutorError, UsageError
from whet.executors.gpus import GpuExecutor, Gpus, gpu_amount, listed_devices, visible_devices

_LISTING = """\
GPU 0: NVIDIA H200 (UUID: GPU-1a2b3c4d-0000-1111-2222-333344445555)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5a2b3c4d-0000-1111-2222-333344445555)
  MIG 3g.20gb     Device  0: (UUID: MIG-aaaa)
  MIG 3g.20gb     Device  1: (UUID: MIG-bbbb)
GPU 2: NVIDIA H200 (UUID: GPU-9a2b3c4d-0000-1111-2222-333344445555)
"""


def test_the_listing_of_nvidia_smi_is_read() -> None:
    assert listed_devices(_LISTING) == ["0", "MIG-aaaa", "MIG-bbbb", "2"]
    assert listed_devices("No devices were found\n") == []
    assert listed_devices("") == []


@pytest.mark.parametrize(
    ("given_", "devices"),
    [
        ("", []),
        ("-1", []),
        ("0", ["0"]),
        ("2,0", ["2", "0"]),
        ("1,-1,2", ["1"]),
        ("GPU-ab, MIG-cd", ["GPU-ab", "MIG-cd"]),
    ],
)
def test_visible_devices_are_those_of_the_variable(
    given_: str, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given_)
    assert visible_devices() == devices


def test_without_variable_and_nvidia_smi_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_devices() == []


def test_nvidia_smi_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{_LISTING}END\n")
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert visible_devices() == ["0", "MIG-aaaa", "MIG-bbbb", "2"]
    program.write_text("#!/bin/sh\necho GPU 0: no driver\nexit 9\n")
    assert visible_devices() == []


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "2.25", "", "one", "nan", "inf", "1/0"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"GPUs per trial: expected a whole number"):
        gpu_amount(text)


@pytest.mark.parametrize(("text", "amount"), [("1", Fraction(1)), ("4", Fraction(4)), ("0.1", Fraction(1, 10))])
def test_amounts_are_exact(text: str, amount: Fraction) -> None:
    assert gpu_amount(text) == amount


def test_ten_tenths_of_a_device_are_one_device() -> None:
    gpus = Gpus(["0"], gpu_amount("0.1"), 10)
    assert {gpus.lease(str(i)) for i in range(10)} == {("0",)}
    with pytest.raises(UsageError, match="--workers 10"):
        Gpus(["0"], gpu_amount("0.1"), 11)


@pytest.mark.parametrize(
    ("devices", "amount", "n", "said"),
    [
        ([], "1", 1, "none visible"),
        (["0"], "2", 1, "1 visible (0)"),
        (["0", "1"], "1", 3, "--workers 2"),
        (["0", "1", "2"], "2", 2, "--workers 1"),
        (["0"], "0.6", 2, "--workers 1"),
    ],
)
def test_more_than_there_are_is_refused_with_what_would_do(devices: list[str], amount: str, n: int, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Gpus(devices, gpu_amount(amount), n)
    assert said in str(caught.value)


@given(
    n_devices=st.integers(1, 8),
    amount=st.sampled_from(["0.1", "0.25", "0.3", "0.5", "1", "2", "3"]),
    choices=st.lists(st.integers(0, 100), max_size=60),
)
def test_no_device_is_ever_overloaded_and_every_lease_is_met(n_devices: int, amount: str, choices: list[int]) -> None:
    share = gpu_amount(amount)
    room = int(1 / share) * n_devices if share <= 1 else n_devices // int(share)
    if not room:
        return
    gpus = Gpus([f"d{i}" for i in range(n_devices)], share, room)
    holders: list[str] = []
    for i, choice in enumerate(choices):
        if len(holders) < room and (choice % 2 or not holders):
            holders.append(f"h{i}")
            assert len(set(gpus.lease(holders[-1]))) == max(1, int(share))
        else:
            gpus.release(holders.pop(choice % len(holders)))
        load = Counter(device for holder in holders for device in gpus.held_by(holder))
        assert all(n * min(share, 1) <= 1 for n in load.values())


class _Inner:
    """An executor whose attempts end when the test says so."""

    slots = 2
    is_blocking = False

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.is_broken = False

    def start(self, launch: Launch, attend: Callable[[], None] | None = None) -> None:
        if self.is_broken:
            raise ExecutorError("no processes left")

    def decided(self, token: str, decision: Decision) -> None:
        if decision is not Decision.CONTINUE:
            self.stop(token, "terminate")

    def stop(self, token: str, how: str) -> None: ...

    def poll(self, timeout_s: float) -> list[Ended]:
        ended, self.ended = self.ended, []
        return [Ended(token, None, 0, {}, "", 0.1) for token in ended]

    def close(self) -> None: ...


def _launch(token: str) -> Launch:
    return Launch("s", 0, 1, token, {}, 0)


def test_an_attempt_holds_its_device_until_it_has_ended() -> None:
    inner, gpus = _Inner(), Gpus(["0", "1"], Fraction(1), 2)
    executor = GpuExecutor(inner, gpus)
    executor.start(_launch("a"))
    executor.start(_launch("b"))
    assert {gpus.held_by("a"), gpus.held_by("b")} == {("0",), ("1",)}
    before = gpus.held_by("a")
    inner.ended = ["a"]
    executor.poll(0)
    assert gpus.held_by("a") == ()
    executor.start(_launch("c"))
    assert gpus.held_by("c") == before


def test_an_attempt_that_cannot_be_started_holds_nothing() -> None:
    inner, gpus = _Inner(), Gpus(["0"], Fraction(1), 1)
    executor = GpuExecutor(inner, gpus)
    inner.is_broken = True
    with pytest.raises(ExecutorError):
        executor.start(_launch("a"))
    inner.is_broken = False
    executor.start(_launch("b"))
    assert gpus.held_by("b") == ("0",)
