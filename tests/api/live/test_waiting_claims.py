"""Claims take turns: a few at a time, first come first served, and nobody for ever."""

from __future__ import annotations

import asyncio

from brainformer.api.live.waiting_claims import Turns


def test_a_few_claims_ask_at_a_time_in_the_order_in_which_they_came() -> None:
    async def run() -> tuple[list[int], int]:
        turns, order, inside, most = Turns(2), [], 0, 0

        async def claim(number: int) -> None:
            nonlocal inside, most
            async with turns.turn(60) as came:
                assert came
                inside += 1
                most = max(most, inside)
                order.append(number)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(claim(number) for number in range(20)))
        return order, most

    assert asyncio.run(run()) == (list(range(20)), 2)


def test_a_turn_that_does_not_come_in_time_is_told_and_taken_from_nobody() -> None:
    async def run() -> list[bool]:
        turns, found = Turns(1), []
        async with turns.turn(60) as first, turns.turn(0.01) as second:
            found += [first, second]
        async with turns.turn(60) as third, turns.turn(0.01) as fourth:
            found += [third, fourth]
        return found

    assert asyncio.run(run()) == [True, False, True, False]


def test_a_claim_that_fails_gives_its_turn_back() -> None:
    async def run() -> bool:
        turns = Turns(1)
        for _ in range(3):
            try:
                async with turns.turn(60):
                    raise OSError("the database has gone")
            except OSError:
                continue
        async with turns.turn(1) as came:
            return came

    assert asyncio.run(run())
