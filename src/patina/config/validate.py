"""From values to settings, or to the fault that says which value is wrong and where."""

from collections.abc import Mapping
from typing import Any

import msgspec

from patina.config.check import first_mistake, unknown_permission
from patina.config.document import Document, problem_fault
from patina.config.keys import Problem
from patina.model.settings import Settings, Source


def to_settings(
    values: Mapping[str, Any], document: Document, sources: Mapping[str, Source]
) -> Settings:
    """Return the settings in `values`, which are those of `document` with what lies over them.

    Raises `ConfigFault` for the first value that is wrong.
    """
    problem: Problem | None
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        from patina.config.schema import find_problem

        problem = find_problem(values)
        if problem is None:
            problem = Problem((), f"the configuration is wrong: {error}", "see the manual")
    else:
        problem = unknown_permission(values) or first_mistake(settings)
        if problem is None:
            return settings
    raise problem_fault(problem, document, sources)
