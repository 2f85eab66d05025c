"""An executor with a thread that may be left behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class BackgroundExecutor(Executor):
    """Runs calls one after the other in a thread of its own.

    A `ThreadPoolExecutor` makes the interpreter wait at its end for calls that hang; this one does not.

    Args:
        name: of the thread.

    >>> executor = BackgroundExecutor("adder")
    >>> executor.submit(max, 1, 2).result()
    2
    >>> executor.stop(1.0)
    True
    """

    def __init__(self, name: str) -> None:
        self._stopped = False
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` after what has been submitted before.

        Raises:
            RuntimeError: it has been stopped.
        """
        if self._stopped:
            raise RuntimeError(f'"{self._thread.name}" has been stopped')
        future: Future[T] = Future()
        self._calls.put((future, partial(fn, *args, **kwargs)))
        return future

    def stop(self, limit_s: float) -> bool:
        """Cancel what waits and give the call that runs `limit_s` seconds; False if it needs longer."""
        self._stopped = True
        try:
            while call := self._calls.get_nowait():
                call[0].cancel()
        except Empty:
            pass
        self._calls.put(None)
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while call := self._calls.get():
            _answer(*call)
            del call


def _answer(future: Future[T], fn: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn()
    except BaseException as error:  # noqa: BLE001  it is raised by the future
        future.set_exception(error)
    else:
        future.set_result(result)
