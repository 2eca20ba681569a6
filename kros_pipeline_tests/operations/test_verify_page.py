"""What the page of commands says of a day, run with a shell, coreutils and openssl, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kros_pipeline.core.object_keys import audio_key
from kros_pipeline.core.seal_keys import manifest_key, records_key, seal_key, verify_key
from kros_pipeline.core.verify_page import write_page
from kros_pipeline.operations.erasure_request import ErasureRequest
from kros_pipeline_tests.support.accounts import DAY
from kros_pipeline_tests.support.fake_days import FakeDay
from kros_pipeline_tests.support.sealed_days import COREUTILS, check_copy, copy_day, seal, sealed_day, tools
from kros_pipeline_tests.support.steps import erase_calls

ERASE_A = ErasureRequest(("call_a",), reason="request 17")


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tools(tmp_path_factory.mktemp("only") / "bin")


@pytest.fixture
def check(bin_folder: Path, tmp_path: Path) -> Callable[..., tuple[bool, str]]:
    """Copies a day's objects, lets a test change the copy, and runs the page in it."""

    def run(day: FakeDay, change: Callable[[Path], object] = lambda _: None) -> tuple[bool, str]:
        copy = copy_day(day.archive, DAY, tmp_path / "copy")
        change(copy)
        return check_copy(copy, bin_folder)

    return run


def flip(key: str, at: int = -2) -> Callable[[Path], object]:
    def change(copy: Path) -> None:
        body = bytearray((copy / key).read_bytes())
        body[at] ^= 1
        (copy / key).write_bytes(bytes(body))

    return change


def cut_line(key: str, text: str) -> Callable[[Path], object]:
    def change(copy: Path) -> None:
        lines = (copy / key).read_text().splitlines(keepends=True)
        (copy / key).write_text("".join(line for line in lines if text not in line))

    return change


def prepend(key: str, text: str) -> Callable[[Path], object]:
    return lambda copy: (copy / key).write_text(text + (copy / key).read_text())


def remove(key: str) -> Callable[[Path], object]:
    return lambda copy: (copy / key).unlink()


def add_file(key: str) -> Callable[[Path], object]:
    return lambda copy: (copy / key).write_bytes(b"x")


def test_an_untouched_day_is_verified(check: Callable[..., tuple[bool, str]]) -> None:
    is_verified, said = check(sealed_day())
    assert is_verified and "5 calls and 5 recordings are as they were sealed, 0 calls were erased" in said, said


def test_a_day_without_calls_is_verified(check: Callable[..., tuple[bool, str]]) -> None:
    is_verified, said = check(sealed_day({}))
    assert is_verified and "0 calls and 0 recordings" in said, said


def test_a_day_with_one_erased_call_is_verified_and_its_seal_is_the_same(
    check: Callable[..., tuple[bool, str]],
) -> None:
    day = sealed_day()
    before = day.archive.read(seal_key(1))
    erase_calls(day.open(), ERASE_A)
    assert day.archive.read(seal_key(1)) == before
    for key in (records_key(DAY), manifest_key(DAY)):
        assert b"call_a" not in day.archive.read(key) and b"call_b" in day.archive.read(key)
    is_verified, said = check(day)
    assert is_verified and "4 calls and 4 recordings are as they were sealed, 1 calls were erased" in said, said
    assert not seal(day).sealed, "an erasure is no reason for another seal"


RECORDING_A = audio_key(DAY, "call_a")
HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    # One forged byte, wherever it is.
    "a byte of a recording": (flip(RECORDING_A, 5_000), rf"{RECORDING_A}: FAILED"),
    "a byte of a record": (flip(records_key(DAY), 400), r"records/call_a.json"),
    "a byte of the manifest": (flip(manifest_key(DAY), 3), r"were never sealed"),
    "a byte of a hash in the seal": (flip(seal_key(1), -200), r"(never sealed|tombstones|cut)"),
    "the day of the seal": (lambda copy: replace_in(copy / seal_key(1), "day: 2025", "day: 2024"), "there is none"),
    # What is missing.
    "a recording": (remove(RECORDING_A), rf"{RECORDING_A}: (FAILED|No such file)"),
    "a record and its manifest lines": (
        lambda copy: [cut_line(key, "call_a")(copy) for key in (records_key(DAY), manifest_key(DAY))],
        "1 sealed records are missing, and 0 tombstones",
    ),
    "a recording and its manifest line": (
        lambda copy: [remove(RECORDING_A)(copy), cut_line(manifest_key(DAY), RECORDING_A)(copy)],
        "other recordings than the records name",
    ),
    "the seal": (remove(seal_key(1)), f"there is none of {DAY}"),
    "the manifest": (remove(manifest_key(DAY)), "a file is missing"),
    # What was added.
    "a recording that nobody archived": (add_file(audio_key(DAY, "call_z")), "does not name call_z.mp3"),
    "a file with a hostile name": (add_file(f"audio/dt={DAY}/\x1b]0;x\x07$(id)"), r"does not name \]0;x\$\(id\)"),
    "a file beside the manifest": (add_file(f"seals/dt={DAY}/note.txt"), "or there are others"),
    "a tombstone of another day": (
        lambda copy: write(copy / f"state/erased/dt={DAY}/{'0' * 64}.json", '{"day": "2025-01-09"}'),
        "tombstone of another day",
    ),
    "a tombstone of no sealed call": (
        lambda copy: write(copy / f"state/erased/dt={DAY}/{'0' * 64}.json", f'{{"day": "{DAY}"}}'),
        "1 tombstones account",
    ),
    "a record before the first one": (prepend(records_key(DAY), '{"call_id":"call_zz"}\n'), "never sealed"),
    "a mark that is none": (prepend(records_key(DAY), '{"erasure":"0","call_id":"call_zz"}\n'), "never sealed"),
    "a line before the manifest": (prepend(manifest_key(DAY), "# this day is whole\n"), "never sealed"),
    "a line of a recording that was never sealed": (
        prepend(manifest_key(DAY), "0" * 64 + "  a/b\n"),
        "never sealed",
    ),
    # Seals that somebody else made.
    "a text behind the end of a seal": (
        lambda copy: (copy / seal_key(1)).write_text((copy / seal_key(1)).read_text() + "not complete\n"),
        "goes on behind its end",
    ),
    "a verdict that is a command for a terminal": (
        lambda copy: replace_in(copy / seal_key(1), "verdict: complete", "verdict: \\c\x1b[2J"),
        "its verdict is none",
    ),
    "a second seal without the right predecessor": (
        lambda copy: write(
            copy / seal_key(2),
            (copy / seal_key(1)).read_text().replace("seal: 000001", "seal: 000002"),
        ),
        "seal 000002 does not name the seal before it",
    ),
    "a seal whose count would be a command": (
        lambda copy: replace_in(copy / seal_key(1), "never sealed: 0", "never sealed: a[$(touch made)]"),
        "is no number",
    ),
}  # fmt: skip


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(scope="module")
def sealed() -> FakeDay:
    return sealed_day()


@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_copy_is_not_verified_and_the_page_says_why(
    harm: str, check: Callable[..., tuple[bool, str]], sealed: FakeDay, tmp_path: Path
) -> None:
    change, why = HARMS[harm]
    is_verified, said = check(sealed, change)
    assert not is_verified and re.search(rf"^.*{why}", said, re.MULTILINE), said
    assert not list(tmp_path.rglob("made"))


def test_a_removed_seal_of_the_chain_is_noticed(check: Callable[..., tuple[bool, str]]) -> None:
    """Also where the day that is checked has its own seal."""
    day = sealed_day()
    day.source.calls["call_b"].transcript = "[Agent]: Hello, and more"
    day.run()
    assert seal(day).sealed == [DAY]
    is_verified, said = check(day)
    assert is_verified and "version 2 of the day" in said, said
    is_verified, said = check(day, lambda copy: (copy / seal_key(1)).unlink())
    assert not is_verified and f"{seal_key(1)} is missing" in said, said


def test_without_a_tool_nothing_is_verified(sealed: FakeDay, bin_folder: Path, tmp_path: Path) -> None:
    """Without `comm`, for one, nothing would differ from anything."""
    copy = copy_day(sealed.archive, DAY, tmp_path / "copy")
    fewer = tmp_path / "bin"
    shutil.copytree(bin_folder, fewer, symlinks=True)
    (fewer / "comm").unlink()
    is_verified, said = check_copy(copy, fewer)
    assert not is_verified and "this machine has no comm" in said, said


def test_the_page_looks_for_every_tool_that_it_uses() -> None:
    page = "\n".join(line for line in write_page(DAY, "s3://b/").decode().splitlines() if not line.startswith("#"))
    [listed] = re.findall(r"^for x in (.*); do$", page, re.MULTILINE)
    builtins = {"echo", "printf", "test", "env"}
    used = {
        name for name in COREUTILS if re.search(rf"(?:^|[|;({{]|\$\(|do|then|else|if|&&|\|\|) *{name} ", page, re.M)
    }
    assert used - builtins <= set(listed.split()) and len(used) > 15


def test_an_archive_whose_prefix_has_quotes_is_copied_by_the_page_s_command() -> None:
    assert b"--recursive 's3://b/it'\"'\"'s(x)/'$p $p" in write_page(DAY, "s3://b/it's(x)/")


def test_pasted_into_a_shell_the_commands_say_the_same(sealed: FakeDay, bin_folder: Path, tmp_path: Path) -> None:
    copy = copy_day(sealed.archive, DAY, tmp_path / "copy")
    page = (copy / verify_key(DAY)).read_text() + "echo the shell is still there\n"
    run = subprocess.run(
        ["env", "-i", f"PATH={bin_folder}", "/bin/sh"], input=page, cwd=copy, capture_output=True, text=True, timeout=60
    )
    assert re.search(rf"^VERIFIED {DAY}.*\nthe shell is still there$", run.stdout, re.MULTILINE), (
        run.stdout + run.stderr
    )
