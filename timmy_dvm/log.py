"""The log: one line per record whatever is in it, JSON for machines or text for a terminal, and no secrets.

    log = get_logger("engine")
    log.info("job started", action="start_job", job=job_id)

`action` is a stable word to search for; the other keywords are fields. Everything that passes a handler of ours,
from other libraries too, goes through one filter: known secrets and what looks like one are struck out, foreign
text is cut at 200 characters, and the formatters escape what could break a line or move a cursor.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from timmy_dvm.redaction import HIDDEN, SECRET_FIELDS, Redactor

LogFormat = Literal["json", "text"]

MAX_TEXT: Final = 200
"""Longest text of a message or field, in characters."""
MAX_ITEMS: Final = 32
MAX_DEPTH: Final = 3
MAX_TRACEBACK: Final = 4_000
OURS: Final = ("timmy", "relay_client", "ledger", "lightning")
"""Loggers that follow `-v`; all others are libraries."""
_PREFIX: Final = "timmy."
_SCAN: Final = 16 * MAX_TEXT  # what is struck out makes room, so look at more than is shown
_BITS: Final = 64  # larger integers are a surprise to many readers of JSON

_redactor = Redactor()


def redact(secret: str | bytes) -> None:
    """Register a secret with the process's log; to be called before the first line that could hold it."""
    _redactor.add(secret)


def struck_out(text: str) -> str:
    """`text` without the process's secrets and what looks like one: for what is shown beside the log."""
    return _redactor.clean(text)


class CleaningFilter(logging.Filter):
    """The one filter: makes a record safe to write, in place, so that no later handler sees more."""

    def __init__(self, redactor: Redactor = _redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the message, the fields and the traceback of a record."""
        try:
            self._clean(record)
        except Exception as error:  # noqa: BLE001 # a log line must never break what it reports on
            record.msg, record.args, record.exc_info, record.exc_text = "unloggable record", None, None, None
            record.fields = {"error": type(error).__name__}
        return True

    def _clean(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {
            str(name)[:MAX_TEXT]: HIDDEN if str(name).lower() in SECRET_FIELDS else _plain(value, 1)
            for name, value in list(getattr(record, "fields", {}).items())[:MAX_ITEMS]
        }
        message = record.getMessage()[:_SCAN]
        trace = _traceback(record)
        action = str(getattr(record, "action", ""))[:MAX_TEXT]
        texts = [message, action, trace, *fields, *_texts(fields)]
        if self._redactor.suspects("\0".join(texts)):
            clean = self._redactor.clean
            message, action, trace = clean(message), clean(action), clean(trace)
            fields = {clean(name): _map_texts(value, clean) for name, value in fields.items()}
        record.msg, record.args = _cut(message), None
        record.action = action
        record.fields = {name: _map_texts(value, _cut) for name, value in fields.items()}
        record.exc_info, record.stack_info = None, None
        record.exc_text = trace[-MAX_TRACEBACK:] or None


class JsonFormatter(logging.Formatter):
    """One ASCII JSON object a line: ts, level, component, message; action, fields, traceback if there are any."""

    def __init__(self) -> None:
        super().__init__()
        self._encode = json.JSONEncoder(separators=(",", ":"), default=str).encode
        self._stamp = _Stamp()

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "ts": self._stamp(record.created),
            "level": record.levelname.lower(),
            "component": record.name.removeprefix(_PREFIX),
            "message": record.getMessage(),
        }
        if action := getattr(record, "action", ""):
            line["action"] = action
        if fields := getattr(record, "fields", None):
            line["fields"] = fields
        if record.exc_text:
            line["traceback"] = record.exc_text
        return self._encode(line)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, component, message, `key=value`. No colours."""

    def __init__(self) -> None:
        super().__init__()
        self._stamp = _Stamp()

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        clock = self._stamp(record.created)[11:19]
        parts = [
            f"{clock} {record.levelname.lower():<7} {record.name.removeprefix(_PREFIX)}: {record.getMessage()}"
        ]
        pairs: dict[str, Any] = {"action": getattr(record, "action", ""), **getattr(record, "fields", {})}
        parts += [f"{name}={_shown(value)}" for name, value in pairs.items() if value != ""]
        if record.exc_text:
            parts.append(f"traceback={_shown(record.exc_text)}")
        return _printable(" ".join(parts))


class Log:
    """A component's log. Costs next to nothing when its level is off."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, message: str, /, *, action: str = "", **fields: object) -> None:
        """What a developer follows step by step."""
        self._write(logging.DEBUG, message, action, fields)

    def info(self, message: str, /, *, action: str = "", **fields: object) -> None:
        """What an operator wants to read in an ordinary hour."""
        self._write(logging.INFO, message, action, fields)

    def warning(self, message: str, /, *, action: str = "", **fields: object) -> None:
        """What goes on working but deserves a look."""
        self._write(logging.WARNING, message, action, fields)

    def error(self, message: str, /, *, action: str = "", **fields: object) -> None:
        """What did not work, and somebody should act on."""
        self._write(logging.ERROR, message, action, fields)

    def exception(self, message: str, /, *, action: str = "", **fields: object) -> None:
        """`error` with the traceback of the exception being handled."""
        self._write(logging.ERROR, message, action, fields, sys.exc_info())

    def _write(
        self, level: int, message: str, action: str, fields: dict[str, object], exc_info: Any = None
    ) -> None:
        logger = self._logger
        if logger.isEnabledFor(level):
            extra = {"action": action, "fields": fields}
            # No look at the caller's frame: `component` and `action` say more, and it costs a third of the line.
            logger.handle(logger.makeRecord(logger.name, level, "", 0, message, (), exc_info, None, extra))


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that it can be found again; a full disk or a closed pipe loses the line and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 # the name is logging's
        """The standard one would print the raw record to stderr."""


def get_logger(component: str) -> Log:
    """The log of one component (`engine`, `relay`, `wallet`)."""
    return Log(logging.getLogger(_PREFIX + component))


def start_logging(
    log_format: LogFormat | None = None,
    verbosity: int = 0,
    stream: TextIO | None = None,
    redactor: Redactor = _redactor,
) -> logging.Handler:
    """Send the log of the process to `stream`. A second call replaces the first.

    Args:
        log_format: None: text on a terminal, JSON otherwise.
        verbosity: -1 warnings only; 0 information; 1 our debugging; 2 that of the libraries too.
        stream: None: stderr.
        redactor: whose secrets are struck out; tests bring their own.

    Returns:
        The handler, for `stop_logging`.
    """
    stream = stream or sys.stderr
    handler = _Handler(stream)
    as_text = stream.isatty() if log_format is None else log_format == "text"
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    handler.addFilter(CleaningFilter(redactor))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    ours = logging.WARNING if verbosity < 0 else logging.DEBUG if verbosity > 0 else logging.INFO
    for name in OURS:
        logging.getLogger(name).setLevel(ours)
    # Libraries speak of every request at INFO, and of headers and bodies at DEBUG.
    root.setLevel(logging.DEBUG if verbosity > 1 else logging.WARNING)
    return handler


def stop_logging(handler: logging.Handler) -> None:
    """Take a handler of `start_logging` away again. The stream stays open."""
    logging.getLogger().removeHandler(handler)


class _Stamp:
    """Unix seconds as `2026-11-22T14:32:05.123Z`; the text of a second is made once."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def __call__(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._second, self._text = second, datetime.fromtimestamp(second, UTC).isoformat()[:19]
        return f"{self._text}.{int((created - second) * 1000):03d}Z"


def _plain(value: object, depth: int) -> Any:
    """A value of JSON's types, bounded in depth, length and number of items."""
    match value:
        case None | bool():
            return value
        case str():
            return str(value)[:_SCAN]
        case int():
            return int(value) if value.bit_length() <= _BITS else f"(integer of {value.bit_length()} bits)"
        case float():
            return value if value - value == 0 else str(value)  # JSON knows no NaN and no infinity
        case bytes():
            return value[:_SCAN].hex()
        case Mapping() if depth <= MAX_DEPTH:
            items = list(value.items())[:MAX_ITEMS]
            return {
                str(name)[:MAX_TEXT]: HIDDEN if str(name).lower() in SECRET_FIELDS else _plain(item, depth + 1)
                for name, item in items
            }
        case list() | tuple() | set() | frozenset() if depth <= MAX_DEPTH:
            return [_plain(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
        case _:
            return str(value)[:_SCAN]


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for name, item in value.items():
                yield name
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)


def _map_texts(value: Any, change: Any) -> Any:
    match value:
        case str():
            return change(value)
        case dict():
            return {change(name): _map_texts(item, change) for name, item in value.items()}
        case list():
            return [_map_texts(item, change) for item in value]
        case _:
            return value


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_info and not record.exc_text:
        record.exc_text = logging.Formatter().formatException(record.exc_info)
    return record.exc_text or ""


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(text, ensure_ascii=False) if not text or {" ", '"', "="} & set(text) else text


def _printable(text: str) -> str:
    """`text` with line ends, escapes and direction marks written out, so that none of them acts."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
