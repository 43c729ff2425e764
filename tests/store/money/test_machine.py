"""Random days of two devices against a model. `PATINA_TEST_STEPS` makes them longer."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.store.money.machine import MoneyMachine

STEPS = int(os.environ.get("PATINA_TEST_STEPS", "2000"))


def test_the_ledger_is_what_a_dictionary_would_be() -> None:
    run_state_machine_as_test(
        MoneyMachine,
        settings=settings(
            max_examples=max(1, STEPS // 20),
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
