"""Put the page together: one ASGI application over one archive."""

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..archive.object_store import ObjectStore
from ..archive.tables import Tables
from ..archive.tombstones import Tombstones
from ..core.browse_settings import BrowseSettings
from ..core.clock import Clock
from ..core.errors import ExternalError
from .access import Access
from .access_log import AccessLog
from .call_filter import BadFilter
from .call_pages import CallFinder, CallPages
from .call_search import CallSearch
from .day_calendar import DayCalendar
from .erased_calls import ErasedCalls
from .index_cache import IndexCache
from .list_pages import ListPages
from .rendering import STATIC, Renderer
from .review_form import ReviewForm
from .review_pages import ReviewPages
from .reviews import Reviews
from .safe_answers import SafeAnswers
from .slow_work import SlowWork

_DECODERS = 2  # of recordings, for their waveforms: each keeps one CPU busy
_SLOW_THREADS = 4  # for hashes, samples and exports
_TITLES = {
    400: "This address cannot be read",
    403: "You may not see this",
    404: "Not here",
    405: "Not here",
    410: "Erased",
    413: "Too long",
    500: "This page failed",
    503: "The archive does not answer",
}


@dataclass(frozen=True, slots=True)
class Listen:
    """The application, and what it has open."""

    app: Starlette
    cache: IndexCache
    close: Callable[[], None]


def make_app(
    *,
    store: ObjectStore,
    tables: Tables,
    tombstones: Tombstones,
    settings: BrowseSettings,
    form: ReviewForm,
    cache_folder: Path,
    local_user: str,
    clock: Clock,
) -> Listen:
    """Make the application. Nothing is read before it starts."""
    erased = ErasedCalls(tombstones, clock)
    cache = IndexCache(cache_folder, store=store, tables=tables, erased=erased, clock=clock)
    calendar, search = DayCalendar(store, tables, clock), CallSearch(cache, erased)
    access_log, reviews = AccessLog(store, tombstones, clock), Reviews(store, clock)
    renderer, finder = Renderer(store.url("").rstrip("/"), _version_of_files()), CallFinder(cache, erased)
    decoders, slow_work = SlowWork("peaks", _DECODERS), SlowWork("slow", _SLOW_THREADS)
    lists = ListPages(
        renderer=renderer,
        calendar=calendar,
        cache=cache,
        search=search,
        access_log=access_log,
        clock=clock,
        slow_work=slow_work,
    )
    calls = CallPages(
        renderer=renderer,
        finder=finder,
        cache=cache,
        store=store,
        access_log=access_log,
        reviews=reviews,
        form=form,
        clock=clock,
        decoders=decoders,
        slow_work=slow_work,
        dagster_url=settings.dagster_url,
    )
    reviewing = ReviewPages(
        renderer=renderer,
        finder=finder,
        calendar=calendar,
        search=search,
        access_log=access_log,
        reviews=reviews,
        form=form,
        clock=clock,
        slow_work=slow_work,
    )

    def show_problem(request: Request, error: Exception) -> Response:
        return _show_problem(renderer, request, error)

    def close() -> None:
        cache.close()
        decoders.close()
        slow_work.close()
        search.close()
        access_log.close()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        cache.start()
        yield
        close()

    routes: list[Route | Mount] = [*lists.routes(), *calls.routes(), *reviewing.routes()]
    app = Starlette(
        routes=[*routes, Mount("/static", StaticFiles(directory=STATIC))],
        middleware=[
            Middleware(SafeAnswers, show=show_problem),
            Middleware(Access, settings=settings, local_user=local_user),
        ],
        exception_handlers={
            HTTPException: show_problem,
            BadFilter: show_problem,
            ExternalError: show_problem,
            sqlite3.Error: show_problem,
        },
        lifespan=lifespan,
    )
    return Listen(app, cache, close)


def _show_problem(renderer: Renderer, request: Request, error: Exception) -> Response:
    """Answer with what happened and what to do; of an error of ours, nothing that may show speech or a key."""
    if isinstance(error, HTTPException):
        status, message = error.status_code, error.detail
    elif isinstance(error, BadFilter):
        status, message = 400, str(error)
    elif isinstance(error, ExternalError):
        status, message = 503, f"{error}. Load the page again; if this stays, tell whoever runs it."
    elif isinstance(error, sqlite3.Error):
        status, message = 503, "The search index was changed while it was read. Load the page again."
    else:
        status, message = 500, f"It met {type(error).__name__}, which it does not expect. Report this as a bug."
    wants_text = request.url.path.endswith(("/audio", "/peaks", ".csv")) or not hasattr(request.state, "viewer")
    if wants_text:
        return PlainTextResponse(f"{message}\n", status)
    title = _TITLES.get(status, "Not here")
    return renderer.page(request, "error.html", status, code=status, title=title, message=message)


def _version_of_files() -> str:
    """Return a value that changes with style and script."""
    digest = hashlib.sha256()
    for file in sorted(STATIC.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
