"""Configure the process that a run works in. Nothing of this happens at import."""

import logging
import os

from ..core.redaction import redact

_URLLIB3_LOGGERS = ("urllib3.connection", "urllib3.connectionpool")


def configure_process() -> None:
    """Choose how Arrow and the HTTP client take memory, and redact what urllib3 logs.

    Each reads its variable when it is first imported, which loading the definitions does not do. Calling it again
    changes nothing. Arrow's own choice of pool keeps memory that it once had: 80 MB more after the checkpoints of a day
    of 20,000 calls. The HTTP client's allocator (mimalloc) asks for huge pages, of which a piece of a body uses a part:
    40 MB more, and a tenth of the CPU of a download for clearing them.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.environ.setdefault("MIMALLOC_ALLOW_THP", "0")
    for name in _URLLIB3_LOGGERS:
        logging.getLogger(name).addFilter(_redact_record)  # a filter that is there already is not added again


def _redact_record(record: logging.LogRecord) -> bool:
    """Redact one log record: urllib3 shows whole URLs at DEBUG, and in its warnings of headers that it cannot read."""
    record.msg, record.args = redact(record.getMessage()), ()
    record.exc_info = record.exc_text = None
    return True
