"""`/api/v1/words/LANG`: the catalogue of a language for the page, and recorded texts in it.

A catalogue changes only with the program, so its ETag lets a browser keep it. `/said?text=…`, which
may be repeated, has texts of ours, as lines, notes and conditions hold them, in the language; what
is not recognised comes back as it was.
"""

from hashlib import sha256
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.helpers import ETag

from scheduler.words.catalogue import catalogue_of, catalogue_text
from scheduler.words.languages import LANGUAGES, Language, UnknownLanguage, parse_language

_MAX_TEXTS = 64
_MAX_CHARACTERS = 2048
_MAX_AGE_SECONDS = 300
_ETAG_DIGITS = 32


class WordHandlers:
    """Answers with the catalogues, which are read once."""

    def __init__(self) -> None:
        self._bodies = {language: catalogue_text(language).encode() for language in LANGUAGES}
        self._etags = {
            language: sha256(body).hexdigest()[:_ETAG_DIGITS]
            for language, body in self._bodies.items()
        }

    def routes(self) -> list[web.RouteDef]:
        """The routes."""
        return [
            web.get("/api/v1/words/{language}", self._get_words),
            web.get("/api/v1/words/{language}/said", self._get_said),
        ]

    async def _get_words(self, request: web.Request) -> web.Response:
        language = _language_of(request)
        etag = ETag(value=self._etags[language])
        if etag in (request.if_none_match or ()):
            response = web.Response(status=HTTPStatus.NOT_MODIFIED)
        else:
            response = _json_response(self._bodies[language])
        response.etag = etag
        response.headers["Cache-Control"] = f"private, max-age={_MAX_AGE_SECONDS}"
        return response

    async def _get_said(self, request: web.Request) -> web.Response:
        words = catalogue_of(_language_of(request))
        texts = request.query.getall("text", [])
        if len(texts) > _MAX_TEXTS or any(len(text) > _MAX_CHARACTERS for text in texts):
            wanted = f"at most {_MAX_TEXTS} texts of at most {_MAX_CHARACTERS} characters"
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"text: write {wanted}\n")
        return _json_response(msgspec.json.encode({"texts": [words.say(text) for text in texts]}))


def _language_of(request: web.Request) -> Language:
    """The language that a path names.

    Raises:
        web.HTTPNotFound: there is no catalogue of it.
    """
    try:
        return parse_language(request.match_info["language"])
    except UnknownLanguage as error:
        raise web.HTTPNotFound(text=f"{error}\n") from None


def _json_response(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", charset="utf-8")
