"""Owners: who certainly lives no more."""

import os
import socket
import subprocess
import sys

import pytest

from whet.core.owner import Watch, is_beside, is_gone, pid_space, this_process

HOST = pid_space()


def test_this_process_lives_and_an_earlier_one_with_its_pid_does_not():
    assert not is_gone(this_process())
    assert is_gone(f"{HOST}:{os.getpid()}:0000")


def test_a_child_is_another_process_and_gone_when_it_has_ended():
    code = "from whet.core.owner import this_process; print(this_process())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert is_gone(done.stdout.strip())


def test_a_forked_child_has_a_name_of_its_own():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, this_process().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader) as told:
        child = told.read()
    assert child.rsplit(":", 1)[1] != this_process().rsplit(":", 1)[1]
    assert is_gone(child)


def test_of_another_host_and_of_what_is_no_name_nothing_is_certain():
    host, most = socket.gethostname(), 2**31 - 1
    of_that_name = [f"{host}/00000000:{most}:abc", f"{host}:{most}:abc"]  # or in a container beside
    no_names = ["", "x", f"{HOST}:", f"{HOST}:²:abc", f"{HOST}:-5:abc", "a:b:c:d"]
    for owner in (*of_that_name, f"not-{HOST}:1:abc", *no_names):
        assert not is_gone(owner)


@pytest.mark.parametrize("pid", [2**31 - 1, 2**63, 10**40])
def test_a_number_that_is_no_process_is_gone(pid):
    assert is_gone(f"{HOST}:{pid}:abc")
    assert is_gone(None)


def test_another_process_of_this_host_is_beside_alive_or_not():
    assert is_beside(f"{HOST}:{os.getppid()}:abc")
    assert is_beside(f"{HOST}:{os.getpid()}:0000")
    for owner in (this_process(), None, "", f"{socket.gethostname()}:1:abc", f"{HOST}:no number:abc"):
        assert not is_beside(owner)


def test_who_is_gone_has_left_once_that_has_been_known_for_long_enough():
    gone, alive = f"{HOST}:{os.getpid()}:0000", f"{HOST}:{os.getppid()}:abc"
    patient, hasty = Watch(1e9), Watch(0.0)
    for owner in (gone, alive, this_process(), "some-other-host:1:abc"):
        assert not patient.is_left(owner)
        assert not patient.is_left(owner)
        assert hasty.is_left(owner) is (owner == gone)
