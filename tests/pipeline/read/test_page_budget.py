import threading

from include.pipeline.read.concurrency import PageBudget


def never() -> bool:
    return False


def test_so_many_pages_may_be_read_and_no_more() -> None:
    ahead, taken = PageBudget(2), threading.Event()
    assert ahead.acquire(never)
    assert ahead.acquire(never)
    third = threading.Thread(target=lambda: ahead.acquire(never) and taken.set())
    third.start()
    assert not taken.is_set()

    ahead.release()

    assert taken.wait(10)
    third.join()


def test_a_waiting_reader_can_give_up() -> None:
    ahead, given_up = PageBudget(0), threading.Event()
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(ahead.acquire(given_up.is_set)))
    waiting.start()

    given_up.set()
    ahead.wake()
    waiting.join(10)

    assert answers == [False]


def test_it_can_shrink_and_does_not_grow_again() -> None:
    ahead, taken = PageBudget(5), threading.Event()
    assert ahead.acquire(never)
    ahead.resize(1)
    ahead.resize(3)
    second = threading.Thread(target=lambda: ahead.acquire(never) and taken.set())
    second.start()
    assert not taken.is_set()

    ahead.release()

    assert taken.wait(10)
    second.join()
