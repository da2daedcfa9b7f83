"""The operating system's lock on an open file, taken without waiting, on POSIX and on Windows."""

from __future__ import annotations

import errno
import sys

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


def lock_descriptor(descriptor: int, *, share: bool = False) -> bool:
    """Locks an open file until it is closed; other openings of it, of this process too, are then refused.

    Args:
        descriptor: the open file, writable unless `share`.
        share: only find out that nobody else has locked it; others that find out are not refused.

    Returns:
        False where the file system has no locks.

    Raises:
        BlockingIOError: somebody else holds the lock.
    """
    try:
        _lock(descriptor, share)
    except OSError as error:
        if error.errno in _HELD:
            raise BlockingIOError(error.errno, "locked") from None
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


if sys.platform == "win32":
    import msvcrt
    import os

    _FAR = 1 << 30  # nobody else can read a locked byte, so one beyond all content is locked

    def _lock(descriptor: int, share: bool) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        if share:
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, share: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if share else fcntl.LOCK_EX) | fcntl.LOCK_NB)
