"""What one API can say and another cannot: hints are dropped, the rest is refused by its name."""

from dual_mode_streaming.errors import Problem
from dual_mode_streaming.llm._provider import ProviderError


def untranslatable(param: str, what: str, api: str) -> ProviderError:
    """Return the refusal of what would change the answer and has no words in an API.

    Args:
        param: the field of the request.
        what: what it asks for.
        api: the API that the provider has.
    """
    return ProviderError(
        f"{param}: {what} cannot be passed on to {api}, the API of this model's provider",
        "invalid_request",
        status=400,
        code="unsupported_value",
        param=param,
    )


def refusal_of(problem: Problem) -> ProviderError:
    """Return what is wrong with a request as the refusal of a provider."""
    return ProviderError(
        str(problem.detail),
        "invalid_request",
        status=problem.status_code,
        code=problem.code,
        param=problem.param,
    )
