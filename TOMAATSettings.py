"""Every setting of the three doors, read from the environment as ``TOMAAT_<NAME>``.

Doors read settings; rooms are handed values. An impossible value is refused at start with a sentence.
"""

from __future__ import annotations

import ipaddress
import os
import reprlib
import socket
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from tomaat.archives import ArchiveLimits
from tomaat.tickets.priorities import USUAL, Priority

CODE = Path(__file__).resolve().parent  #: the doors lie beside this file
HOME = CODE if (CODE / "pyproject.toml").is_file() else Path.cwd()  #: the clone; an installed server's current folder
MIB = 1024**2
GIB = 1024**3
PIB = 1024**5  #: no setting in bytes is more
HUNDRED_YEARS_DAYS = 36_525  #: no age is more: PostgreSQL's dates and Python's numbers end somewhere
HUNDRED_YEARS_HOURS = 24 * HUNDRED_YEARS_DAYS
DAY_SECONDS = 86_400  #: no time within which something happens is more
CONNECTIONS_BESIDE = 15  #: to the database, beside WebService's: QueueManager's, TaskScheduling's, a person's
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (addresses to listen on, and where to ask then)
#: The documents list the settings in these groups, in the order of the fields; each group begins at a field.
GROUPS = {
    "HOST": "The six that one sets",
    "LARGEST_UPLOAD_BYTES": "Limits",
    "WAIT_LIMIT_HOURS": "Times",
    "CUSTOM_TASKS_DIR": "The rest",
}
#: What is wrong with a value, by pydantic's word for it and with its facts; a test holds that none is missing.
RULES = {
    "int_parsing": "is no whole number",
    "int_parsing_size": "is no whole number that fits",
    "int_from_float": "is no whole number",
    "int_type": "is no whole number",
    "float_parsing": "is no number",
    "bool_parsing": "is neither true nor false",
    "greater_than": "is not more than {gt:.16g}",
    "greater_than_equal": "is less than {ge:.16g}",
    "less_than_equal": "is more than {le:.16g}",
    "literal_error": "is none of {expected}",
    "dict_type": "is no object; write it as JSON",
    "list_type": "is no list",
    "string_type": "is no text",
    "string_too_short": "has fewer than {min_length} characters",
    "too_short": "has fewer than {min_length} entries",
    "value_error": "{error}",
}
CLIENTS_VARIABLES = {"TOMAAT_URL", "TOMAAT_KEY"}  #: name a server, and a key for it, to clients; no settings


class Settings(BaseSettings):
    """The operator's choices; each has a default that works on one machine."""

    model_config = SettingsConfigDict(env_prefix="TOMAAT_", frozen=True, extra="forbid")

    HOST: str = Field(default="127.0.0.1", description="Address on which the service listens.")
    PORT: int = Field(default=5000, ge=1, le=65535, description="Port on which the service listens.")
    DATABASE_URL: str = Field(
        default="postgresql://tomaat-user:tomaat-password@localhost:5432/tomaat",
        description="The PostgreSQL database. Unset, the make targets start a private one.",
    )
    BASE_STORAGE_DIR: Path = Field(
        default=HOME / "storage",
        description="Folder of all tickets' files. It lies beside the code, or in the current folder of an installed "
        "server.",
    )
    API_KEYS: Literal["beyond-loopback", "always", "never"] = Field(
        default="beyond-loopback",
        description="When a request needs an API key: `beyond-loopback` (where `TOMAAT_HOST` is more than this "
        "machine), `always` or `never`.",
    )
    RETENTION_HOURS: float = Field(
        default=72.0, gt=0, le=HUNDRED_YEARS_HOURS, description="Hours after a ticket's end when its files are deleted."
    )

    LARGEST_UPLOAD_BYTES: int = Field(default=2 * GIB, ge=1, le=PIB, description="Largest payload, as it is sent.")
    LARGEST_UNPACKED_BYTES: int = Field(default=8 * GIB, ge=1, le=PIB, description="Largest payload, unpacked.")
    LARGEST_RATIO: float = Field(
        default=1100.0,
        gt=1,
        le=1_000_000,
        description="Largest ratio of unpacked to packed bytes, after 16 MiB. An empty mask has 1,032.",
    )
    MOST_MEMBERS: int = Field(
        default=6000,
        ge=1,
        le=1_000_000,
        description="Most files and folders in a payload. A DICOM series may have 5,000 images.",
    )
    LARGEST_VOLUME_BYTES: int = Field(
        default=4 * GIB, ge=1, le=PIB, description="Most bytes that the voxels of one volume may take."
    )
    LONGEST_QUEUE: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Waiting tickets at which a request is answered 503."
    )
    LONGEST_QUEUE_PER_KEY: int = Field(
        default=5000,
        ge=1,
        le=1_000_000,
        description="Waiting tickets of one API key at which its request is answered 429.",
    )
    MOST_TICKETS_PER_MINUTE: int = Field(
        default=600,
        ge=1,
        le=1_000_000,
        description="Tickets of one API key within a minute, above which it is answered 429.",
    )
    MOST_WRONG_KEYS_PER_MINUTE: int = Field(
        default=20,
        ge=1,
        le=1_000_000,
        description="Wrong API keys from one address within a minute, above which it is answered 429. Keys that were "
        "right within the last hour are still let in.",
    )
    MOST_CONNECTIONS_PER_ADDRESS: int = Field(
        default=50,
        ge=1,
        le=1_000_000,
        description="Connections of one address to one process of WebService; `TOMAAT_TRUSTED_PROXIES` have no such "
        "limit.",
    )
    LARGEST_SPOOLS_BYTES: int = Field(
        default=16 * GIB,
        ge=1,
        le=PIB,
        description="Bytes of all uploads that are on their way together; beyond them one is answered 503.",
    )
    ATTEMPTS: int = Field(default=3, ge=1, le=1000, description="How often a ticket is started when its worker dies.")

    WAIT_LIMIT_HOURS: float = Field(
        default=24.0,
        gt=0,
        le=HUNDRED_YEARS_HOURS,
        description="Hours after which a ticket that waits fails; they count anew once it comes back from a source.",
    )
    NIGHT_HOURS: float = Field(
        default=12.0,
        gt=0,
        le=HUNDRED_YEARS_HOURS,
        description="Hours of waiting after which a ticket of the `night` counts as `normal`.",
    )
    WITHDRAW_HOURS: float = Field(
        default=72.0,
        gt=0,
        le=HUNDRED_YEARS_HOURS,
        description="Hours after which a service that no compute source has offered is withdrawn: requests get 404, "
        "waiting tickets fail.",
    )
    FETCHED_GRACE_SECONDS: float = Field(
        default=600.0,
        ge=0,
        le=DAY_SECONDS * HUNDRED_YEARS_DAYS,
        description="How long a fetched result can be fetched again, where the storage strategy removes it.",
    )
    TICKET_DAYS: float = Field(
        default=365.0,
        gt=0,
        le=HUNDRED_YEARS_DAYS,
        description="Days after a ticket's end when its row is deleted; its files are gone then.",
    )
    AUDIT_DAYS: float = Field(
        default=365.0,
        ge=30,
        le=HUNDRED_YEARS_DAYS,
        description="Days after which a line of the audit trail is deleted.",
    )
    CLOCK_STEADY_SECONDS: float = Field(
        default=3600.0,
        ge=0,
        le=DAY_SECONDS,
        description="How long a clock that was set, the database's or this machine's, has to be steady before anything "
        "is too old again.",
    )
    LONGEST_WAIT_SECONDS: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Longest time in seconds that a request may wait for a ticket (`?wait=`).",
    )
    GRACE_SECONDS: float = Field(
        default=10.0,
        ge=0,
        le=DAY_SECONDS,
        description="How long a stopping TaskScheduling lets a running ticket finish before it is put back.",
    )
    LOAD_DEADLINE_SECONDS: float = Field(
        default=600.0,
        gt=0,
        le=DAY_SECONDS,
        description="How long a network, or a file of tasks, may take to load before it is left out for an hour.",
    )
    CANCEL_SECONDS: float = Field(
        default=1.0,
        ge=0,
        le=DAY_SECONDS,
        description="How long a cancelled task may take to stop by itself before its worker is killed.",
    )
    LEASE_SECONDS: float = Field(
        default=15.0,
        ge=1,
        le=3600,
        description="After how many silent seconds another TaskScheduling may take a device, and another QueueManager "
        "the queues.",
    )
    DATABASE_DEADLINE_SECONDS: float = Field(
        default=5.0, gt=0, le=3600, description="Deadline of one database statement; at most 0.4 leases."
    )
    POLL_SECONDS: float = Field(
        default=1.0, gt=0, le=3600, description="How often each loop looks by itself when no hint arrives."
    )

    CUSTOM_TASKS_DIR: Path = Field(default=HOME / "CustomTasks", description="Folder whose tasks are offered.")
    STORAGE_STRATEGY: Literal["KEEP_ALL", "KEEP_ONLY_INPUT", "KEEP_NOTHING"] = Field(
        default="KEEP_ALL",
        description="Files of a ticket that stay after its whole result was fetched: `KEEP_ALL`, `KEEP_ONLY_INPUT` or "
        "`KEEP_NOTHING`.",
    )
    PRIORITIES_WITHOUT_KEY: list[Priority] = Field(
        default=list(USUAL),
        min_length=1,
        description='JSON: the priorities that a request without an API key may ask for: `["urgent", "normal", '
        '"night"]`. Each API key has its own.',
    )
    LABELS: bool = Field(
        default=True,
        description="Whether the label of a ticket is kept. The page and the client send the file's name, which may "
        "name a patient; it goes with the ticket's files.",
    )
    HOST_NAME: str = Field(
        default=socket.gethostname(),
        description="First part of the name of each compute source: of a GPU, or of the CPU.",
    )
    COMPUTE_SOURCES: dict[str, list[str] | None] | None = Field(
        default=None,
        description="JSON: the compute sources of this host and the services of each (null: all), for example "
        '`{"cpu-0": null, "cpu-1": ["Dummy"]}`. Unset: every GPU that NVML shows, or `cpu-0` without any. On a '
        "cluster they are those of all nodes, and `cpu-0` is there only where this setting names it.",
    )
    COMPUTE_DEVICES: dict[str, str] = Field(
        default_factory=dict,
        description='JSON: a source\'s torch device where it is not the GPU itself, for tests: `{"GPU-…": "cpu"}`.',
    )
    COMPUTE_MEMORY_BYTES: dict[str, Annotated[int, Field(ge=1, le=PIB)]] = Field(
        default_factory=dict,
        description='JSON: memory of a source that networks and tickets may take: `{"GPU-…": 8000000000}`. Unset: all '
        "of a GPU's; on the CPU whatever is free.",
    )
    LANES: Literal["1", "2", "3", "4", "auto"] = Field(
        default="1",
        description="How many tickets a compute source runs side by side, each in a worker of its own: 1 to 4. `auto`: "
        "as many as the networks' measured needs allow, at most 4, and never more than the CPU has cores.",
    )
    ENVIRONMENTS: dict[str, str] = Field(
        default_factory=dict,
        description="JSON: the Python of another virtual environment, for services of network folders whose packages "
        'clash with others: `{"LiverCT": "/opt/nnunet/bin/python"}`. Each such Python gets a lane more on each source.',
    )
    WEB_THREADS: int = Field(
        default=32,
        ge=4,
        le=1000,
        description="Threads of each process of WebService; at most half of them wait for `?wait=`, three eighths "
        "unpack uploads.",
    )
    WEB_PROCESSES: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Processes of WebService, which answer on one port: more than one where one processor is too slow. "
        "Each has its own threads and its own connections to the database.",
    )
    TRUSTED_PROXIES: list[str] = Field(
        default=["127.0.0.0/8", "::1/128"],
        description="JSON: addresses and networks of proxies that bound their own clients. They name each client in "
        "`X-Forwarded-For`, and may open as many connections as they need.",
    )
    WORKER_USER: str | None = Field(
        default=None,
        min_length=1,
        description="Account of the workers, which sees the running tickets' files alone. Unset: the doors' user, who "
        "sees all tickets and the database's password.",
    )
    SPARE_WORKER: bool = Field(
        default=True,
        description="Whether one more worker waits to take the place of one that ends, its imports done and its device "
        "untouched. It takes some 400 MB of memory.",
    )
    RAY_ADDRESS: str | None = Field(
        default=None,
        min_length=1,
        description="The Ray cluster whose nodes run the workers: `auto` or `host:port`. Unset: this machine runs "
        "them.",
    )
    RAY_SHARED_DISK: bool = Field(
        default=False,
        description="Whether all nodes see the storage and the tasks by the same paths as this machine. Then nothing "
        "is copied.",
    )
    RAY_NODE_DIR: Path = Field(
        default=Path("/var/tmp/tomaat-node"),  # noqa: S108 (only who has made it may enter it)
        description="Folder on each node, on a disk of its own, for the files of running tickets, and for tasks. Its "
        "owner alone may enter it.",
    )
    RAY_NODE_PORT: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port on each node to which TaskScheduling connects. 0: any that is free.",
    )
    LOG_FORMAT: Literal["text", "json"] = Field(
        default="text", description="How log lines are written to standard error."
    )
    TASK_ERRORS: Literal["off", "log"] = Field(
        default="off",
        description="Whether the text of a task's exception is logged (`log`), for the task's author. It may name "
        "patients: so it is off.",
    )
    LOG_LEVEL: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least level of a log line. Successful polling, and the page's files, are `debug`.",
    )

    @field_validator("BASE_STORAGE_DIR", "CUSTOM_TASKS_DIR", "RAY_NODE_DIR")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError:
            raise ValueError("is in the home of a user that is not there") from None

    @field_validator("HOST_NAME")
    @classmethod
    def _one_word(cls, value: str) -> str:
        if not value or "/" in value or any(map(str.isspace, value)):
            raise ValueError("must be a name without a slash or a blank")
        return value

    @field_validator("RAY_ADDRESS")
    @classmethod
    def _of_a_cluster(cls, value: str | None) -> str | None:
        host, _, port = (value or "").rpartition(":")
        if value not in {None, "auto"} and not (host and port.isdecimal() and "/" not in host):
            raise ValueError("is neither `auto` nor host:port")
        return value

    @field_validator("TRUSTED_PROXIES")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for each in value:
            try:
                ipaddress.ip_network(each)
            except ValueError:
                raise ValueError(f"{each!r} is neither an address nor a network, such as 192.0.2.0/24") from None
        return value

    @field_validator("DATABASE_URL")
    @classmethod
    def _postgresql(cls, value: str) -> str:
        if not value.startswith(("postgresql://", "postgresql+psycopg2://")):
            raise ValueError("must begin with postgresql://")
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):  # whose texts hold the password
            raise ValueError("is no URL; write postgresql://role:password@host:5432/database") from None
        if "@" in f"{url.host}{url.database}":
            raise ValueError("write a password's @ as %40")
        return value

    @property
    def archive_limits(self) -> ArchiveLimits:
        """The limits of an upload, packed and unpacked."""
        return ArchiveLimits(
            largest_upload_bytes=self.LARGEST_UPLOAD_BYTES,
            largest_unpacked_bytes=self.LARGEST_UNPACKED_BYTES,
            most_members=self.MOST_MEMBERS,
            largest_ratio=self.LARGEST_RATIO,
        )

    @property
    def database_given(self) -> bool:
        """Whether somebody named a database, so that the make targets start no private one."""
        return "DATABASE_URL" in self.model_fields_set

    @property
    def keeps_only_input(self) -> bool:
        """Whether an ended ticket keeps its input once its result is gone."""
        return self.STORAGE_STRATEGY == "KEEP_ONLY_INPUT"

    @property
    def again_rules(self) -> dict[str, Any]:
        """What decides whether an ended ticket may run again, and with which of its facts."""
        return {
            "retention_seconds": self.RETENTION_HOURS * 3600,
            "keep_input": self.keeps_only_input,
            "keep_labels": self.LABELS,
        }

    @property
    def lanes(self) -> int | None:
        """The lanes of each compute source; ``None``: as many as fit."""
        return None if self.LANES == "auto" else int(self.LANES)

    @property
    def keys_needed(self) -> bool:
        """Whether a request needs an API key."""
        return self.API_KEYS == "always" or (self.API_KEYS == "beyond-loopback" and not _is_loopback(self.HOST))

    @property
    def key_missing(self) -> str:
        """Say what to do where a request needs an API key and there is none."""
        return (
            f"TOMAAT_HOST={self.HOST}, TOMAAT_API_KEYS={self.API_KEYS}: requests need an API key, and there is "
            "none: make one with `python3 -m tomaat.access make NAME` (beside `make serve`: make keys "
            'ARGS="make NAME"), or say TOMAAT_API_KEYS=never to let everybody in'
        )

    @property
    def web_connections(self) -> int:
        """The most connections to the database that one process of WebService opens, beside the one that listens."""
        return self.WEB_THREADS // 2 + 4

    @property
    def database_connections(self) -> int:
        """The most connections to the database that all doors, and a person beside them, may open."""
        return self.WEB_PROCESSES * (self.web_connections + 1) + CONNECTIONS_BESIDE

    def share_of(self, amount: int) -> int:
        """Give the part of an amount for all that one process of WebService may use up, rounded up."""
        return -(-amount // self.WEB_PROCESSES)

    @property
    def database_deadline_seconds(self) -> float:
        """The deadline of one statement, which must pass well within half a lease."""
        return min(self.DATABASE_DEADLINE_SECONDS, 0.4 * self.LEASE_SECONDS)


def read_settings() -> Settings:
    """Read the settings, or say in plain sentences what is wrong with them and exit with 2."""
    settings, faults = look_at_settings()
    if settings is None or faults:
        print(*faults, sep="\n", file=sys.stderr)  # noqa: T201 (before there is a log)
        raise SystemExit(2)
    return settings


def look_at_settings() -> tuple[Settings | None, list[str]]:
    """Read the settings, ``None`` where they cannot be, and say what is wrong with them."""
    faults = _unknown_variables()
    try:
        return Settings(), faults
    except ValidationError as error:
        faults += [_sentence(fault) for fault in error.errors()]
    except SettingsError as error:
        names = [f"TOMAAT_{name}" for name in Settings.model_fields if f'"{name}"' in str(error)]
        faults += [f"{name}: {reprlib.repr(os.environ.get(name))} is no JSON." for name in names] or [f"{error}."]
    return None, faults


def _sentence(fault: ErrorDetails) -> str:
    """Say what is wrong with a setting, and where in it; a database's URL is not repeated, since it has a password."""
    name, *inside = map(str, fault["loc"])
    rule = RULES[fault["type"]].format(**fault.get("ctx", {})) if fault["type"] in RULES else fault["msg"]
    value = "" if name == "DATABASE_URL" else f"{reprlib.repr(fault['input'])} "
    return f"TOMAAT_{name}: {''.join(f'{part}: ' for part in inside)}{value}{rule}."


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unknown_variables() -> list[str]:
    """Name each TOMAAT_ variable that is no setting: a typing error must not be skipped in silence."""
    known = {f"TOMAAT_{name}" for name in Settings.model_fields}
    unknown = sorted(
        name for name in os.environ if name.startswith("TOMAAT_") and name not in known | CLIENTS_VARIABLES
    )
    return [
        f"{name}: no such setting; near: {', '.join(get_close_matches(name, known)) or 'none'}." for name in unknown
    ]
