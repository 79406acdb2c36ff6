"""The stacks of a program's threads: the main one first, the innermost call last, within limits."""

import threading

from realm_telemetry.producer.stacks import MAX_CHARS, MAX_THREADS, captured


def ask_from_a_thread() -> dict[str, object]:
    """As the keeper does."""
    answers: list[dict[str, object]] = []
    thread = threading.Thread(target=lambda: answers.append(captured()))
    thread.start()
    thread.join()
    return answers[0]


def test_each_thread_but_the_one_that_asks_is_shown() -> None:
    waiting = threading.Event()
    other = threading.Thread(target=waiting.wait, name="loader 3")
    other.start()
    try:
        found = ask_from_a_thread()
    finally:
        waiting.set()
        other.join()
    stack = str(found["stack"])
    assert stack.startswith("Thread MainThread:\n")
    assert "ask_from_a_thread" in stack.partition("Thread loader 3:")[0]
    assert "waiter.acquire()" in stack.partition("Thread loader 3:")[2]
    assert "captured" not in stack.rpartition("Thread ")[2]


def test_many_threads_and_deep_stacks_stay_within_the_limits() -> None:
    waiting = threading.Event()

    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            waiting.wait()

    threads = [threading.Thread(target=descend, args=(200,)) for _ in range(MAX_THREADS + 6)]
    for thread in threads:
        thread.start()
    try:
        found = ask_from_a_thread()
    finally:
        waiting.set()
        for thread in threads:
            thread.join()
    assert len(str(found["stack"])) <= MAX_CHARS
    assert int(str(found["threads"])) >= MAX_THREADS + 6
