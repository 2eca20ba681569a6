"""The pages of an evidence package that people read: a summary to print, and a draft of a certificate.

What comes from upstream, call ids included, is shown as text, whatever it looks like.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

_STYLE = (
    "body{font:11pt/1.4 serif;max-width:19cm;margin:1cm auto}table{border-collapse:collapse;width:100%}"
    "td,th{border:1px solid #999;padding:2px 6px;text-align:left;vertical-align:top;overflow-wrap:anywhere}"
    "code{font:9pt monospace}h1{font-size:16pt}@page{size:A4;margin:1.5cm}"
)


@dataclass(frozen=True, slots=True)
class ExportedCall:
    """One call of a package: its record, its folder below `calls/`, and what its seals say of it."""

    record: Mapping[str, Any]
    folder: str
    sealed_by: str
    audit_lines: int

    @property
    def recording_sha256(self) -> str:
        """The SHA-256 of the recording; a dash where there is none."""
        return str(self.record["audio"]["sha256"]) or "–"


def write_summary(
    calls: Sequence[ExportedCall], *, made_at: datetime, archive_url: str, reason: str, head: str, run_id: str
) -> bytes:
    """Return the summary: HTML without scripts and without anything from elsewhere."""
    rows = "".join(_row(call) for call in calls)
    facts = {
        "exported at": made_at.isoformat(timespec="seconds"),
        "from the archive": archive_url,
        "by run": run_id,
        "reason": reason,
        "calls": str(len(calls)),
        "head of the seal chain at that time": head or "nothing is sealed yet",
    }
    of_package = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evidence package</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body><h1>Evidence package: recorded calls</h1><table>{of_package}</table>"
        "<h2>Calls</h2><table><tr><th>call</th><th>time (UTC)</th><th>from, to</th><th>seconds</th>"
        f"<th>SHA-256 of the recording</th><th>sealed by</th></tr>{rows}</table>"
        "<p>Every file of the package has its SHA-256 in <code>manifest-sha256.txt</code>. "
        "<code>data/VERIFY.txt</code> has the commands that compare each recording and each record with the seals, and "
        "check signatures and time-stamps, by coreutils and openssl only. What this proves, and what it does not, is "
        "in <code>data/README.txt</code>.</p></body></html>\n"
    ).encode()


def _row(call: ExportedCall) -> str:
    row = call.record["tables"]["calls"][0]
    numbers = f"{row['from_number'] or 'unknown'}, {row['to_number'] or 'unknown'}"
    cells = (call.record["call_id"], row["created_at"], numbers, row["duration_seconds"], call.recording_sha256)
    shown = "".join(f"<td>{escape('–' if cell is None else str(cell))}</td>" for cell in cells)
    return f"<tr>{shown}<td>{escape(call.sealed_by)}</td></tr>"


def write_readme(calls: Sequence[ExportedCall], archive_url: str) -> bytes:
    """Return what the package holds, and what it proves."""
    return f"""An evidence package of {len(calls)} recorded calls, exported from {archive_url}

SUMMARY.html            one page to print
CERTIFICATE-draft.txt   a draft under Rule 902(14) of the US Federal Rules of Evidence, to be filled in and signed
VERIFY.txt              the commands that check everything below; run: cd data && sh VERIFY.txt
calls/<day>/<call>/     recording.mp3         the recording, byte for byte as it was archived
                        transcript.txt        the transcript as it came
                        utterances.jsonl      its turns
                        record.json           what the archive has of the call: the record that was sealed
                        manifest-lines.txt    the call's lines of the day's manifest; each one's SHA-256 is in a seal
                        audit.jsonl           what was done to the call, by which run, when
                        call.vcon.json        the same call as vCon (IETF draft)
seals/                  the seals of the calls' days, with signatures, public keys and time-stamps

Proven: recordings and records are those that were sealed; a signature says which key sealed them, a time-stamp says
before which time. Not proven: that upstream had recorded the calls rightly, who spoke, that the seals here are all
seals of the archive (compare the head of the chain with one that you were given earlier), and that the holder of the
key did not seal something false.
""".encode()


def write_certificate(calls: Sequence[ExportedCall], *, archive_url: str, made_at: datetime) -> bytes:
    """Return the draft of a certification. It is no legal advice, and says so."""
    listed = "\n".join(
        f"   {number}. {call.folder}/recording.mp3\n      SHA-256 {call.recording_sha256}\n"
        f"      {call.folder}/record.json, sealed by {call.sealed_by}"
        for number, call in enumerate(calls, 1)
    )
    return f"""DRAFT. To be completed, checked by counsel and signed by a qualified person. This is no legal advice.

CERTIFICATION OF DATA COPIED FROM AN ELECTRONIC DEVICE, STORAGE MEDIUM, OR FILE
Federal Rules of Evidence 902(14) and 902(11)

1. My name is [NAME]. I am employed by [COMPANY] as [TITLE]. I am a qualified person: [TRAINING AND EXPERIENCE WITH
   DIGITAL RECORDS AND HASH VALUES].

2. [COMPANY] keeps recordings of its telephone calls in the archive {archive_url}. They are made by KrosAI in the
   regular course of business, and copied into the archive by the software kros_pipeline, which computes the SHA-256 of
   each recording when it arrives and writes it into a table, an audit line, a manifest and a seal.

3. On {made_at.date().isoformat()} the files listed below were copied from the archive. I computed [or: had computed]
   the SHA-256 of each copy on [DATE] with [TOOL], and compared it with the SHA-256 recorded when the recording was
   archived. They were [identical].

4. A SHA-256 is a digital fingerprint: two files with the same one are, for all practical purposes, identical.

5. I ran the commands of VERIFY.txt on [DATE]. Their last line was: [LAST LINE].

6. The files:
{listed}

I declare under penalty of perjury under the laws of the United States of America that the foregoing is true and
correct.

Executed on [DATE] at [PLACE].

                                                      ______________________________
                                                      [NAME]
""".encode()
