"""API keys and the audit trail."""

from tomaat.access.audit import Audit
from tomaat.access.key_store import ApiKey, KeyStore

__all__ = ["ApiKey", "Audit", "KeyStore"]
