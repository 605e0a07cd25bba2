"""API keys, and the audit trail of the acts on patients' data."""

from tomaat.access.audit import Audit
from tomaat.access.key_store import ApiKey, KeyStore

__all__ = ["ApiKey", "Audit", "KeyStore"]
