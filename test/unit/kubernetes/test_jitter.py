from hypothesis import given
from hypothesis import strategies as st

from kubernaut.kubernetes._jitter import JitteredBackoff


@given(st.integers(1, 200))
def test_pauses_grow_to_the_cap_and_never_beyond(failures: int) -> None:
    backoff = JitteredBackoff(first=0.5, cap=30.0)
    for number in range(failures):
        assert 0 <= backoff.next() <= min(30.0, 0.5 * 2**number)
    assert backoff.failures == failures
    backoff.reset()
    assert backoff.next() <= 0.5
