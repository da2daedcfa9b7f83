"""One writer at a time: the lock on a run directory, or on a single file, that a stage holds while it writes there.

It is the operating system's own lock on a small file, so it ends with its process, however that dies, and nobody has to
remove anything. Some shared file systems do not pass such locks on to other hosts. The file therefore says who holds it,
and the holder renews the file's time every few seconds: what another host has left is taken over once that has stopped.

The file goes when the lock is given back. A process that was killed leaves it, and the next one takes it over.
"""

from __future__ import annotations

import _thread
import errno
import json
import os
import platform
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from elm_rl.errors import ElmError
from elm_rl.runs.os_lock import lock_descriptor
from elm_rl.runs.run_directory import LOCK_FILE, check_place, explained_disk_errors, open_run_directory

RENEWAL = 5.0
"""Seconds between two renewals of a lock file's time."""
SILENCE = 60.0
"""A lock of another host whose time has not been renewed for so long, in seconds, belongs to nobody."""
SETTLING = 2.0
"""Seconds after a take-over from another host in which hosts that did the same at once see who was last."""
_PATIENCE = 0.5  # seconds in which a lock that is just being given back, or looked at, becomes free

_Record = dict[str, Any]


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the lock on a folder and on all that lies in it; a thread that has it may ask again.

    The folder is made if there is none, and removed again if it is still empty at the end. (Where several processes start
    at once, an empty folder that another one of them had made may stay.)

    Raises:
        ElmError: another process writes to the folder or to one that holds it, or the folder cannot be written.
    """
    with _locked(folder, folder / LOCK_FILE):
        yield


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds the lock on one file, for a stage that writes nothing else; several files of a folder can be locked at once.

    Raises:
        ElmError: another process writes to the file or to the folder that holds it, or the folder cannot be written.
    """
    with _locked(path, path.with_name(f".{path.name}.lock")):
        yield


@contextmanager
def opened_run(folder: Path, config: Any, *, resume: bool, may_change: Collection[str] = ()) -> Iterator[bool]:
    """Locks a run directory, then starts or re-opens the run in it; see `open_run_directory`, whose result it gives."""
    check_place(folder, resume=resume)  # before the lock, which makes the folder
    with run_lock(folder):
        yield open_run_directory(folder, config, resume=resume, may_change=may_change)


@contextmanager
def _locked(place: Path, path: Path) -> Iterator[None]:
    path = path.parent.absolute().resolve() / path.name
    held = _held.get(path)
    if held is not None and held.thread == threading.get_ident():
        yield
        return
    lock = _Lock(place, path)
    lock.acquire()
    try:
        lock.refuse_below_others()
        yield
        if lock.lost:
            raise lock.loss()
    except KeyboardInterrupt:
        if lock.lost:
            raise lock.loss() from None
        raise
    finally:
        lock.release()


_held: dict[Path, _Lock] = {}


def _forget_in_fork() -> None:
    """A forked child shares its parent's descriptors, and would keep the locks of a parent that was killed."""
    for lock in _held.values():
        os.close(lock.descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_fork)


class _Lock:
    """One lock of this process."""

    def __init__(self, place: Path, path: Path) -> None:
        self.place = place
        self.path = path
        self.thread = threading.get_ident()
        self.descriptor = -1
        self.lost = False
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._record: _Record = {
            "host": platform.node(), "kernel": _kernel(), "pid": os.getpid(), "since": since, "token": uuid.uuid4().hex,
        }  # fmt: skip
        self._made: list[Path] = []
        self._over = threading.Event()

    def acquire(self) -> None:
        try:
            with explained_disk_errors(self.path):
                self._open()
        except BaseException:
            self._remove_made()
            raise
        _held[self.path] = self
        threading.Thread(target=self._renew, name=f"lock of {self.place}", daemon=True).start()

    def release(self) -> None:
        if _held.get(self.path) is not self:  # in a forked child
            return
        self._over.set()
        del _held[self.path]
        # Removed under the lock where the system allows it, so that nobody can lock a file that is about to go.
        if os.name == "posix" and not self.lost:
            self._remove()
        os.close(self.descriptor)
        if os.name != "posix" and not self.lost:
            self._remove()
        self._remove_made()

    def loss(self) -> ElmError:
        return ElmError(
            f"The lock on '{self.place}' was taken over by {_who(_read(self.path))}, as this process had not renewed it "
            f"for {SILENCE:g} s; what it was writing may be damaged, so look after that one and check its results."
        )

    def refuse_below_others(self) -> None:
        """Refuses to write within a folder that another process holds as a whole."""
        for folder in (self.path.parent, *self.path.parent.parents):
            path = folder / LOCK_FILE
            if (held := _held.get(path)) is not None and held.thread == self.thread:
                continue  # this very lock among them
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except OSError:  # there is none, or none that concerns us
                continue
            try:
                locked = lock_descriptor(descriptor, share=True)
                self._wait_for_other_hosts(path, _read(path), locked)
            except BlockingIOError:
                raise self._refusal(path) from None
            finally:
                os.close(descriptor)

    def _open(self) -> None:
        """Opens the lock file, new or left by a killed process, and locks it.

        Raises:
            ElmError: another process has it.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._make_folder()
                if self._create():
                    return
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            except FileNotFoundError:  # another process has just removed the empty folder that it had made
                if time.monotonic() > deadline:
                    raise
                continue
            try:
                if self._take(descriptor):
                    self.descriptor = descriptor
                    return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise self._refusal(self.path) from None
                time.sleep(0.05)
            finally:
                if self.descriptor != descriptor:
                    os.close(descriptor)

    def _create(self) -> bool:
        """Makes the lock file with its content, locked from its first moment.

        Returns:
            False when there is one already, and where a file cannot have two names; `_open` then makes it empty.
        """
        if os.name != "posix":
            return False
        new = self.path.with_name(f"{self.path.name}.{self._record['token']}.tmp")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            lock_descriptor(descriptor)
            _write(descriptor, self._record)
            os.link(new, self.path)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EEXIST, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                return False
            raise
        finally:
            new.unlink(missing_ok=True)
        self.descriptor = descriptor
        return True

    def _take(self, descriptor: int) -> bool:
        """Locks an open lock file and writes this process into it; False when the file has gone in the meantime.

        Raises:
            BlockingIOError: the file is locked.
            ElmError: it belongs to a process of another host.
        """
        locked = lock_descriptor(descriptor)
        if not self._wait_for_other_hosts(self.path, _read(self.path), locked) or not _same_file(descriptor, self.path):
            return False
        elsewhere = not locked or (_read(self.path) or self._record)["kernel"] != _kernel()
        _write(descriptor, self._record)
        if elsewhere:
            time.sleep(SETTLING)
            if _read(self.path) != self._record:
                raise self._refusal(self.path)
        return True

    def _wait_for_other_hosts(self, path: Path, record: _Record | None, locked: bool) -> bool:
        """Waits until a holder that the system's lock may not know of, if there is one, has been silent for long enough.

        Returns:
            False when it gave its lock back.

        Raises:
            ElmError: it renewed its lock.
        """
        if record is None or (locked and record["kernel"] == _kernel()):
            return True
        begun, first, told = time.monotonic(), _renewed(path), False
        while True:
            renewed = _renewed(path)
            if renewed is None:
                return False
            if renewed != first:
                raise self._refusal(path)
            # Both times are the file server's: clocks of hosts differ.
            if max(_now(path.parent) - renewed, time.monotonic() - begun) >= SILENCE:
                return True
            if not told:
                told = True
                warnings.warn(
                    f"'{path.parent}' was last written to by {_who(record)}, a moment ago; waiting for up to {SILENCE:g} s "
                    "to see whether that still runs.",
                    stacklevel=2,
                )
            time.sleep(min(1.0, SILENCE / 10))

    def _renew(self) -> None:
        while not self._over.wait(RENEWAL):
            with suppress(OSError):  # a file server that is away for a moment
                record = _read(self.path)
                if record is not None and record["token"] != self._record["token"]:
                    self.lost = True
                    if self.thread == threading.main_thread().ident and not self._over.is_set():
                        _thread.interrupt_main()
                    return
                os.utime(self.path)

    def _refusal(self, path: Path) -> ElmError:
        there = "it" if path == self.path else f"'{path.parent}', which holds it,"
        return ElmError(
            f"'{self.place}' is in use: {_who(_read(path))} writes to {there} at the moment; wait until that ends, or give "
            "another path."
        )

    def _make_folder(self) -> None:
        folder = self.path.parent
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._made = [*missing, *(made for made in self._made if made not in missing)]

    def _remove_made(self) -> None:
        for folder in self._made:
            with suppress(OSError):  # what holds something stays
                folder.rmdir()

    def _remove(self) -> None:
        with suppress(OSError):
            if os.name != "posix" or _same_file(self.descriptor, self.path):
                self.path.unlink()


@cache
def _kernel() -> str:
    """What differs between any two running systems: within one, the system's locks are to be trusted."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{platform.node()}-{uuid.getnode():012x}"


def _who(record: _Record | None) -> str:
    if record is None:
        return "another process"
    host = "this machine" if record["kernel"] == _kernel() else f"the machine '{record['host']}'"
    return f"process {record['pid']} on {host} (since {record['since']})"


def _read(path: Path) -> _Record | None:
    """Who holds a lock file; None when it is gone, or its holder is just writing to it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return record if {"host", "kernel", "pid", "since", "token"} <= set(record) else None
    except (OSError, ValueError, TypeError):
        return None


def _write(descriptor: int, record: _Record) -> None:
    data = json.dumps(record).encode("ascii")
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, data)
    os.ftruncate(descriptor, len(data))


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _renewed(path: Path) -> float | None:
    """When a lock file was last renewed, by the file server's clock; None when it is gone."""
    try:
        with open(path, "rb") as file:  # opened anew, or a network file system may answer from memory
            return os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None


def _now(folder: Path) -> float:
    """The file server's time, as it writes it into a new file."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".time.", suffix=".tmp") as probe:
            probe.write(b"t")
            probe.flush()
            return os.fstat(probe.fileno()).st_mtime
    except OSError:  # a folder above ours, where we may not write
        return -float("inf")
