"""Read the review form from YAML, and check what a reviewer sends against it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

_MAX_COMMENT_CHARACTERS = 10_000
_ID = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
_LABEL = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class BadForm(ValueError):
    """A form, or what was sent with it, cannot be used. The message is a sentence for whoever sent or wrote it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Answer(_Part):
    """One of the answers that a reviewer chooses from."""

    value: _ID
    label: _LABEL


class Question(_Part):
    """One question; nobody has to answer it."""

    id: _ID
    label: _LABEL
    answers: Annotated[tuple[Answer, ...], Field(min_length=2, strict=False)]


class ReviewForm(_Part):
    """The form: a verdict, questions and a comment."""

    title: _LABEL
    verdicts: Annotated[tuple[Answer, ...], Field(min_length=2, strict=False)]
    questions: Annotated[tuple[Question, ...], Field(strict=False)] = ()
    version: str = ""

    @model_validator(mode="after")
    def _check_ids(self) -> "ReviewForm":
        for what, values in (
            ("verdicts", [verdict.value for verdict in self.verdicts]),
            ("questions", [question.id for question in self.questions]),
            *((f"answers of {q.id}", [answer.value for answer in q.answers]) for q in self.questions),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"two of the {what} have one name")
        return self


def read_form(path: Path | None) -> ReviewForm:
    """Read a form; without a path the package's own. Raises `BadForm`."""
    source = path or Path(__file__).with_name("review_form.yaml")
    try:
        text = source.read_text("utf-8")
        value = yaml.safe_load(text)
        if not isinstance(value, dict) or "version" in value:
            raise BadForm(f"KROS_BROWSE_REVIEW_FORM ({source}) is no form: write title, verdicts and questions.")
        return ReviewForm(**value, version=hashlib.sha256(text.encode()).hexdigest()[:12])
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadForm(f"KROS_BROWSE_REVIEW_FORM ({source}) cannot be read: {why}.") from None
    except yaml.YAMLError as error:
        raise BadForm(f"KROS_BROWSE_REVIEW_FORM ({source}) is no YAML: {' '.join(str(error).split())[:200]}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the form"
        raise BadForm(f"KROS_BROWSE_REVIEW_FORM ({source}): {where}: {first['msg']}.") from None


def check_review(form: ReviewForm, sent: Mapping[str, str]) -> dict[str, Any]:
    """Return verdict, answers and comment as the archive keeps them. Raises `BadForm`."""
    verdict = sent.get("verdict", "")
    if verdict not in {choice.value for choice in form.verdicts}:
        raise BadForm("Choose a verdict.")
    answers = {}
    for question in form.questions:
        value = sent.get(f"q_{question.id}", "")
        if value and value not in {answer.value for answer in question.answers}:
            raise BadForm(f"“{question.label}” has another answer than the form offers. Load the page again.")
        if value:
            answers[question.id] = value
    comment = sent.get("comment", "").replace("\r\n", "\n").strip()
    if len(comment) > _MAX_COMMENT_CHARACTERS:
        raise BadForm(f"The comment has {len(comment):,} characters. Shorten it to {_MAX_COMMENT_CHARACTERS:,}.")
    return {"verdict": verdict, "answers": answers, "comment": comment, "form": form.version}
