"""A breaker opens by failures in a row, then tries one turn at a time; a reader's leaving tells it nothing."""

from agent.model import ModelFailed
from agent.providers.breaker import Breaker, BreakerRules


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def failure(wait_s: float | None = None) -> ModelFailed:
    return ModelFailed("model_unavailable", "It is away.", retryable=True, wait_s=wait_s)


def opened(time: Time, wait_s: float | None = None) -> Breaker:
    breaker = Breaker(time, BreakerRules(failures=2, open_s=10.0, longest_open_s=60.0))
    for _ in range(2):
        assert breaker.admits()
        breaker.failed(failure(wait_s=wait_s))
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(Time(), BreakerRules(failures=2))
    for _ in range(3):
        breaker.failed(failure())
        assert (breaker.state, breaker.admits()) == ("closed", True)
        breaker.succeeded()
    breaker.failed(failure())
    breaker.failed(failure())
    assert (breaker.state, breaker.admits()) == ("open", False)
    assert breaker.why is not None


def test_when_its_time_is_over_one_turn_is_tried_and_decides() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 9.9
    assert not breaker.admits()
    time.now = 10.0
    assert breaker.state == "half_open"
    assert [breaker.admits(), breaker.admits()] == [True, False]
    breaker.failed(failure())
    assert (breaker.state, breaker.rest_s) == ("open", 20.0)
    time.now = 30.0
    assert breaker.admits()
    breaker.succeeded()
    assert [breaker.state, breaker.admits(), breaker.admits()] == ["closed", True, True]
    assert breaker.why is None


def test_a_try_that_its_reader_left_is_made_again_by_the_next() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 10.0
    assert breaker.admits()
    breaker.left()
    assert breaker.admits()


def test_it_stays_open_as_long_as_the_provider_asks_within_bounds() -> None:
    assert opened(Time(), wait_s=33.0).rest_s == 33.0
    assert opened(Time(), wait_s=86_400.0).rest_s == 60.0


def test_it_never_rests_longer_than_its_bound_however_often_the_try_fails() -> None:
    time = Time()
    breaker = opened(time)
    for _ in range(40):
        time.now += breaker.rest_s
        assert breaker.admits()
        breaker.failed(failure())
    assert breaker.rest_s == 60.0


def test_turns_that_were_under_way_when_it_opened_do_not_prolong_it() -> None:
    time = Time()
    breaker = opened(time)
    time.now = 5.0
    breaker.failed(failure())
    assert breaker.rest_s == 5.0
