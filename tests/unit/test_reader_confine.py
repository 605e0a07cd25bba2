"""The numbers of system calls, held against libseccomp, which knows those of each machine by name."""

import ctypes

import pytest

from tomaat.reader import confine
from tomaat.reader.confine import MACHINES, REFUSED_CALLS

UNKNOWN = -1  #: libseccomp's answer to a name that it does not know; a call that a machine lacks is below it
NEWER = {"fchmodat2"}  #: came with Linux 6.6; libseccomp 2.5.4 does not know it, unless the distribution added it


@pytest.fixture
def number_of():
    """Return the number of a system call on a machine, or None where the machine has no such call."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp.so.2 is not here; the Debian package libseccomp2 brings it")
    resolve = library.seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    resolve.restype = ctypes.c_int

    def number_of(name, machine):
        number = resolve(MACHINES[machine], name.encode())
        if number == UNKNOWN and name in NEWER:
            return REFUSED_CALLS[name][list(MACHINES).index(machine)]
        assert number != UNKNOWN, f"{name} is no system call"
        return number if number >= 0 else None

    return number_of


def test_every_refused_call_has_the_number_that_libseccomp_gives_it(number_of):
    assert {name: tuple(number_of(name, machine) for machine in MACHINES) for name in REFUSED_CALLS} == REFUSED_CALLS


@pytest.mark.parametrize("machine", MACHINES)
def test_landlocks_calls_have_the_same_numbers_on_every_machine(number_of, machine):
    assert number_of("landlock_create_ruleset", machine) == confine.LANDLOCK_CREATE
    assert number_of("landlock_add_rule", machine) == confine.LANDLOCK_ADD_RULE
    assert number_of("landlock_restrict_self", machine) == confine.LANDLOCK_RESTRICT_SELF
