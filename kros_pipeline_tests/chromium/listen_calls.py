"""The calls of the archive that the browser's tests, the picture and the load test look at."""

from __future__ import annotations

from datetime import date, timedelta

from kros_pipeline_tests.support.listen_archive import ListedCall

LAST = date(2025, 1, 19)  # a Sunday: its week is the last one of the archive
OPENINGS = [
    "[Agent]: Thank you for calling, this call is recorded. How can I help you?",
    "[Agent]: Good morning, you are speaking with Ada. This call is recorded.",
    "[Agent]: Hello, how may I help?",
]
REQUESTS = [
    "[Caller]: I was charged twice for order 48213 and I would like a refund, please.",
    "[Caller]: The delivery never came. I want my money back, or I will call my lawyer.",
    "[Caller]: Can you tell me when the shop opens on Sunday?",
    "[Caller]: My account is locked and the reset link does not arrive.",
    "[Caller]: Quiero un reembolso, el pedido llegó roto.",
    "[Caller]: 我要退款，谢谢。",
]
ANSWERS = [
    "[Agent]: I am so sorry about that. Let me look at the order for you.",
    "[Agent]: I see. Please hold the line while I look at the order.",
    "[Agent]: We open at nine. Is there anything else that I can do for you?",
    "[Agent]: Lo siento mucho, vamos a solucionarlo.",
]
CLOSINGS = [
    "[Caller]: Thank you, that helps.\n[Agent]: You are welcome. Have a nice day.",
    "[Caller]: No, I do not accept that. I asked for a refund.\n[Agent]: I will pass it on.",
    "[Caller]: Fine. Goodbye.",
]
HOSTILE = (
    "[Agent]: <script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\n"
    "[Caller]: \"><svg onload=document.title='owned'> refund {{7*7}}\n[Agent]: sorry <b>bold</b>"
)


def ordinary_calls(days: int = 14, calls_per_day: int = 12) -> list[ListedCall]:
    """Calls of some weeks, the same each time."""
    calls = []
    for number in range(days * calls_per_day):
        day = LAST - timedelta(days=number % days)
        request = REQUESTS[(number * 5) % len(REQUESTS)]
        parts = (OPENINGS[number % 3], request, ANSWERS[(number * 7) % 4], CLOSINGS[(number * 11) % 3])
        calls.append(
            ListedCall(
                f"call_{number:04d}",
                "\n".join(parts),
                day=day,
                direction="outbound" if number % 5 == 0 else "inbound",
                seconds=20.0,
                from_number=f"+23480{10_000_000 + number * 7919}",
                language="zh" if "退款" in request else "es" if "Quiero" in request else "en",
            )
        )
    return calls


def special_calls() -> list[ListedCall]:
    """A call for each thing that may be odd."""
    return [
        ListedCall("call_hostile", HOSTILE, day=LAST, seconds=20.0),
        ListedCall("call_missing", "[Caller]: nobody can hear this", day=LAST, has_audio=False),
        ListedCall("call_waiting", "[Caller]: it may still come", day=LAST, state="pending"),
        ListedCall("call_quarantine", "[Caller]: it was rejected", day=LAST - timedelta(days=2), state="failed",
                   quarantine_key="krosai/quarantine/dt=2025-01-17/call_quarantine-0123456789abcdef.bin"),
        ListedCall("call_erased", "[Caller]: forget the purple elephant", day=LAST),
        ListedCall("call_timed", "[00:00] Agent: Hello\n[00:06] Caller: I want a refund\n[00:14] Agent: No", day=LAST,
                   seconds=20.0),
    ]  # fmt: skip
