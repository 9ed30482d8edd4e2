"""Signals that ask a program to end: raised at once or, while there is work that can be saved, once it is saved.

Importing this costs nothing, so that a signal finds the program ready from its first moment on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

#: The exit status of each signal by name; a scheduler's SIGUSR1, which announces the end, counts as its SIGTERM.
STATUSES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 143}
_SAME = 1.0  # seconds within which a second signal is the same request: some launchers send it to a group too


class Interruption:
    """A request to end this program.

    The first signal raises KeyboardInterrupt, once a second until it gets through: Python drops an exception that is
    raised in a destructor or in the callback of a weak reference, and Keras and TensorFlow run many of those. While it
    is held it only notes the signal, and whoever holds it raises it (`raise_if_requested`). A second signal ends the
    process at once, even inside of a computation.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._is_held = False
        self._has_timer = hasattr(signal, "setitimer")  # which Windows has not

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    @property
    def status(self) -> int:
        """The exit status of the signal that has come."""
        return STATUSES["SIGINT" if self.signal is None else self.signal.name]

    def pass_on(self) -> None:
        """Notes that another process of the run was asked to end, as if this one had been."""
        if self.signal is None:
            self.signal = signal.SIGTERM

    def hold(self) -> None:
        """Makes signals wait for `raise_if_requested`."""
        self._is_held = True

    def release(self) -> None:
        """Makes signals raise at once again."""
        self._is_held = False

    def raise_if_requested(self) -> None:
        """Raises KeyboardInterrupt if a signal has come."""
        if self.requested:
            self.release()
            self._raise()

    def stop_raising(self) -> None:
        """Ends the repeated raising, when the exception has got through."""
        if self._has_timer:
            signal.setitimer(signal.ITIMER_REAL, 0)

    @contextlib.contextmanager
    def handling(self) -> Iterator[Interruption]:
        """Handles the signals inside, but those that are ignored, as Ctrl-C is in a shell's background."""
        self.signal, self._is_held = None, False
        numbers = [getattr(signal, name) for name in STATUSES if hasattr(signal, name)]
        handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in handled}
        if self._has_timer:
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._again)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=_end_at_the_second, args=(reader, {*map(int, handled)}), daemon=True).start()
        try:
            yield self
        finally:
            self.stop_raising()
            self.signal, self._is_held = None, False
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            os.close(writer)  # the thread ends and closes the other

    def _handle(self, number: int, _: object) -> None:
        if self.requested:
            return
        self.signal = signal.Signals(number)
        if self._is_held:
            print(f"\n{self.signal.name}: saving first; a second one ends at once.", file=sys.stderr)
        else:
            self._raise()

    def _again(self, *_: object) -> None:
        if self.requested and not self._is_held:
            self._raise()

    def _raise(self) -> None:
        if self._has_timer:
            signal.setitimer(signal.ITIMER_REAL, 1.0)
        raise KeyboardInterrupt


def _end_at_the_second(reader: int, numbers: set[int]) -> None:
    """Ends the process at the second of some signals that the pipe names, a byte each; runs in its own thread."""
    first = None
    while received := os.read(reader, 1):
        if received[0] in numbers:
            now = time.monotonic()
            if first is not None and now - first > _SAME:
                os.write(2, b"\nEnded at once.\n")
                os._exit(STATUSES[signal.Signals(received[0]).name])
            first = now if first is None else first
    os.close(reader)


#: Of this process.
INTERRUPTION = Interruption()
