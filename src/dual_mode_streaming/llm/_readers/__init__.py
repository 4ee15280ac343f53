"""Readers of what models' APIs send: unvalidated chunks in, events out.

A reader takes dicts or the objects of an SDK. It raises ProviderError for an error that the API
reports and for an answer that is cut, and nothing else, whatever comes.
"""

from dual_mode_streaming.llm._readers._anthropic import AnthropicReader
from dual_mode_streaming.llm._readers._arguments import object_of
from dual_mode_streaming.llm._readers._chat import ChatReader
from dual_mode_streaming.llm._readers._errors import error_from, error_of, no_answer
from dual_mode_streaming.llm._readers._reader import Reader, finish_reason_of
from dual_mode_streaming.llm._readers._responses import ResponsesReader

__all__ = [
    "AnthropicReader",
    "ChatReader",
    "Reader",
    "ResponsesReader",
    "error_from",
    "error_of",
    "finish_reason_of",
    "no_answer",
    "object_of",
]
