from brainformer.api.gate.rate_limit import RateLimit


def test_burst_then_refusal_then_refill():
    now = [0.0]
    limit = RateLimit(rate=2, burst=3, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(3)] == [0, 0, 0]
    assert limit.take("a") == 0.5
    now[0] = 0.5
    assert limit.take("a") == 0
    assert limit.take("a") > 0


def test_clients_do_not_share_a_bucket():
    limit = RateLimit(rate=1, burst=1, clock=lambda: 0.0)
    assert limit.take("a") == 0
    assert limit.take("b") == 0


def test_asking_does_not_count():
    limit = RateLimit(rate=1, burst=1, clock=lambda: 0.0)
    assert [limit.exhausted("a") for _ in range(5)] == [0] * 5
    limit.take("a")
    assert limit.exhausted("a") == 1
