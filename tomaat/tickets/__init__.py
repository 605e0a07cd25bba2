"""The ticket: its states, its row, its folder, and the stores through which each door moves it."""

from tomaat.tickets.Audit import Audit
from tomaat.tickets.KeyStore import ApiKey, KeyStore
from tomaat.tickets.LaneStore import LaneStore
from tomaat.tickets.Manager import Manager
from tomaat.tickets.ManagerStore import ManagerStore
from tomaat.tickets.OperatorStore import Hour, OperatorStore, Reading, Seen, SeenSource, SeenTicket
from tomaat.tickets.SourceStore import Lease, SourceStore
from tomaat.tickets.Storage import ForeignStorage, Storage, TicketFolder
from tomaat.tickets.Sweep import Sweep
from tomaat.tickets.Ticket import Ticket
from tomaat.tickets.TicketStore import AgainRules, Ahead, NewTicket, OfferedService, Outlook, TicketStore
from tomaat.tickets.WatchStore import EndedTicket, SourceNow, Unended, WatchStore, World

__all__ = [
    "AgainRules",
    "Ahead",
    "ApiKey",
    "Audit",
    "EndedTicket",
    "ForeignStorage",
    "Hour",
    "KeyStore",
    "LaneStore",
    "Lease",
    "Manager",
    "ManagerStore",
    "NewTicket",
    "OfferedService",
    "OperatorStore",
    "Outlook",
    "Reading",
    "Seen",
    "SeenSource",
    "SeenTicket",
    "SourceNow",
    "SourceStore",
    "Storage",
    "Sweep",
    "Ticket",
    "TicketFolder",
    "TicketStore",
    "Unended",
    "WatchStore",
    "World",
]
