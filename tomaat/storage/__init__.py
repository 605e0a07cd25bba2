"""The tickets' folders on disk."""

from tomaat.storage.storage import ForeignStorage, Storage, TicketFolder

__all__ = ["ForeignStorage", "Storage", "TicketFolder"]
