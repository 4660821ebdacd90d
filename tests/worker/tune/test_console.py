"""The dispatcher's console, and how a slot's news reaches it."""

from brainformer.worker.tune.console import QUIET_SECONDS, Console
from brainformer.worker.tune.turn_searcher import TurnSearcher


def test_what_every_slot_says_is_told_once_and_again_after_a_while():
    told, now = [], [0.0]
    console = Console(told.append, now=lambda: now[0])
    for _ in range(64):
        console.tell("the controller is away")
    console.tell("claimed trial 1")
    now[0] = QUIET_SECONDS
    console.tell("the controller is away")
    assert told == ["the controller is away", "claimed trial 1", "the controller is away"]


def test_news_is_passed_on_sentence_by_sentence_whether_the_turn_goes_on_or_ends():
    told, refused = [], []
    searcher = TurnSearcher(
        left=lambda: 1.0,
        on_death=lambda *_: None,
        tell=told.append,
        refuse=lambda _code, why: refused.append(why),
    )
    searcher.on_trial_result("a", {"news": "one\ntwo", "lease": "1-1", "search": "s"})
    searcher.on_trial_result("a", {"lease": "1-1", "search": "s"})
    searcher.on_trial_complete("a", {"news": "three", "refusal": "revoked"})
    searcher.on_trial_complete("b")
    assert told == ["one", "two", "three"]
    assert refused == ["revoked"]
