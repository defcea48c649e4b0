"""Makes any Python that finds this on its path look to sizer as a system without POSIX: child processes too.

What Windows lacks is hidden from sizer's own code alone; the standard library and other packages keep it, as they would
bring their own on Windows. Files of Linux's kernel are not there either, and the system says that it is Windows.
"""

from __future__ import annotations

import builtins
import os
import pathlib
import platform
import signal
import sys
import time
import types
from collections.abc import Callable
from typing import Any

MODULES = frozenset(
    {"fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "readline", "syslog", "posix", "curses"}
)
# What the documentation of each module marks as available on Unix alone.
NAMES = {
    os: """killpg getpgrp getpgid setpgid setsid getsid getuid geteuid getgid getegid getgroups getresuid getresgid
        fork forkpty wait wait3 wait4 waitid uname getloadavg nice mkfifo mknod statvfs fstatvfs sysconf confstr
        pathconf fpathconf chown fchown lchown fchmod fchdir chroot openpty posix_fadvise posix_fallocate posix_spawn
        pipe2 pread pwrite preadv pwritev readv writev sendfile getpriority setpriority ttyname ctermid sync major minor
        makedev lockf memfd_create register_at_fork sched_getaffinity sched_setaffinity sched_getscheduler sched_yield
        O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_NOCTTY O_SYNC O_DSYNC O_DIRECT F_LOCK EX_OK WIFEXITED WIFSIGNALED
        WTERMSIG WEXITSTATUS WNOHANG tcgetpgrp tcsetpgrp setuid setgid initgroups""",
    signal: """SIGKILL SIGHUP SIGQUIT SIGALRM SIGUSR1 SIGUSR2 SIGPIPE SIGCHLD SIGCLD SIGSTOP SIGCONT SIGTSTP SIGTTIN
        SIGTTOU SIGWINCH SIGXCPU SIGXFSZ SIGBUS SIGSYS SIGTRAP SIGURG SIGIO SIGPROF SIGVTALRM alarm setitimer getitimer
        pthread_kill pthread_sigmask pause sigwait sigwaitinfo sigtimedwait siginterrupt sigpending""",
    time: "clock_gettime clock_settime clock_getres tzset CLOCK_MONOTONIC",
}
KERNEL_FILES = ("/proc/", "/sys/", "/dev/", "/etc/")


def _asked_by_sizer(depth: int) -> bool:
    name = str(sys._getframe(depth + 1).f_globals.get("__name__", ""))
    return name == "sizer" or name.startswith("sizer.")


def _hide_names(module: types.ModuleType, names: frozenset[str]) -> None:
    class Hidden(types.ModuleType):
        """The module, without what it lacks elsewhere."""

        def __getattribute__(self, name: str) -> Any:
            if name in names and _asked_by_sizer(1):
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} on this system")
            return super().__getattribute__(name)

    module.__class__ = Hidden


def _hide_modules() -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in MODULES and _asked_by_sizer(1):
            raise ModuleNotFoundError(f"No module named {name!r} on this system", name=name)
        return real(name, *rest, **more)

    builtins.__import__ = without


def _hide_kernel_files() -> None:
    def without(real: Callable[..., Any], absent: Any) -> Callable[..., Any]:
        def call(self: pathlib.Path, *rest: Any, **more: Any) -> Any:
            if str(self).startswith(KERNEL_FILES) and _asked_by_sizer(1):
                if isinstance(absent, type):
                    raise absent(2, "No such file on this system", str(self))
                return absent
            return real(self, *rest, **more)

        return call

    for name in ("open", "read_text", "read_bytes", "write_text"):
        setattr(pathlib.Path, name, without(getattr(pathlib.Path, name), FileNotFoundError))
    for name in ("exists", "is_file", "is_dir"):
        setattr(pathlib.Path, name, without(getattr(pathlib.Path, name), False))


def _say_windows() -> None:
    real = platform.system
    platform.system = lambda: "Windows" if _asked_by_sizer(1) else real()


for _module, _names in NAMES.items():
    _hide_names(_module, frozenset(_names.split()))
_hide_modules()
_hide_kernel_files()
_say_windows()
