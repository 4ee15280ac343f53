"""The address of a client is that of its connection, unless a proxy is named that says another."""

import httpx
import pytest


@pytest.mark.parametrize(("named", "status"), [("", 429), ("127.0.0.1", 200)])
def test_an_address_in_a_header_is_believed_of_a_named_proxy_only(start_service, named, status):
    service = start_service(
        "--log-level", "error", DUAL_MODE_CLIENT_STREAMS="1", FORWARDED_ALLOW_IPS=named
    )
    asked = {"params": {"count": 2, "interval": 60}, "timeout": 10}
    events = {"Accept": "text/event-stream"}
    with httpx.stream("GET", f"{service.url}/data", headers=events, **asked) as first:
        assert first.status_code == 200
        headers = {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7", **events}
        with httpx.stream("GET", f"{service.url}/data", headers=headers, **asked) as second:
            assert second.status_code == status
