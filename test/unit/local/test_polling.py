import pytest

from test.polling import async_wait_for, wait_for


def test_wait_for_gives_the_first_true_answer() -> None:
    answers = iter([0, None, "", "here", "later"])
    assert wait_for(lambda: next(answers), 5, "an answer") == "here"


def test_wait_for_names_what_it_waited_for_and_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"the moon: not within 0\.05 s; last seen.* value 0"):
        wait_for(lambda: 0, 0.05, "the moon")


def test_wait_for_takes_an_exception_for_not_yet_and_reports_it() -> None:
    def check() -> bool:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(AssertionError, match="nobody there") as caught:
        wait_for(check, 0.05, "a server")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_the_async_twin_does_the_same() -> None:
    answers = iter([0, 7])

    async def check() -> int:
        return next(answers)

    async def never() -> bool:
        return False

    assert await async_wait_for(check, 5, "an answer") == 7
    with pytest.raises(AssertionError, match=r"the moon: not within 0\.05 s"):
        await async_wait_for(never, 0.05, "the moon")
