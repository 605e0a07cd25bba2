"""What is read of a request's headers."""

import pytest
from flask import Flask

from tomaat.web.http.request import bearer_token, content_length, method_of_request, prefers_a_page

APP = Flask("request")


@pytest.mark.parametrize(
    ("claimed", "length"),
    [("0", 0), ("12", 12), ("", None), ("-1", None), ("1e3", None), ("\u0661", None), ("\u00b2", None)],
)
def test_a_length_is_decimal_digits_or_none(claimed, length):
    with APP.test_request_context(environ_overrides={"CONTENT_LENGTH": claimed}):
        assert content_length() == length


@pytest.mark.parametrize(
    ("header", "token"), [("Bearer x", "x"), ("bearer  x ", "x"), ("Basic x", ""), ("Bearer", ""), ("", "")]
)
def test_a_token_is_the_bearers(header, token):
    with APP.test_request_context(headers={"Authorization": header}):
        assert bearer_token() == token


@pytest.mark.parametrize(
    ("accept", "page"), [("text/html,*/*;q=0.8", True), ("*/*", False), ("application/json", False), ("", False)]
)
def test_a_page_is_for_clients_that_prefer_one(accept, page):
    with APP.test_request_context(headers={"Accept": accept}):
        assert prefers_a_page() is page


@pytest.mark.parametrize(("method", "named"), [("DELETE", "DELETE"), ("DOE", "(other)")])
def test_a_method_that_is_none_is_not_named(method, named):
    with APP.test_request_context(method=method):
        assert method_of_request() == named
