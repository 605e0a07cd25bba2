"""API keys and the audit trail: who may do what, and who did what."""

from tomaat.access.audit import Audit
from tomaat.access.key_store import ApiKey, KeyStore

__all__ = ["ApiKey", "Audit", "KeyStore"]
