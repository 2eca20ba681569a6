"""HTTP sessions that neither retry nor add headers of their own."""

import requests
from requests.adapters import HTTPAdapter

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0


def new_session(connections: int, headers: dict[str, str]) -> requests.Session:
    """Make a session without retries, whose requests ask for the bytes as they are.

    The `auth` keeps ~/.netrc out, which would add a header beside the API key; a company's proxy settings stay.
    """
    session = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=connections, pool_block=True, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers = {"Accept-Encoding": "identity", **headers}  # a truncated gzip would pass for a whole one
    session.auth = lambda request: request
    return session
