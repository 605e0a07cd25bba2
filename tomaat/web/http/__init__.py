"""The Flask application, its errors, and the server in front of it."""

from tomaat.web.http.access import Access
from tomaat.web.http.addresses import Proxies
from tomaat.web.http.app import create_app
from tomaat.web.http.gate import Gate
from tomaat.web.http.serve import WebServer, bind

__all__ = ["Access", "Gate", "Proxies", "WebServer", "bind", "create_app"]
