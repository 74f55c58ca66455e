"""`/api/v1/words/LANG`: the catalogue of a language for the page, and recorded texts in it.

A catalogue changes only with the program, so its ETag lets a browser keep it. With `say`, which may
be repeated, the answer has those texts of ours (sentences of verdicts, lines, notes, messages of
conditions) in the language instead; what is not recognised comes back as it was.
"""

from hashlib import sha256
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.helpers import ETag

from scheduler.words.catalogue import catalogue_of, catalogue_text
from scheduler.words.languages import LANGUAGES, UnknownLanguage, parse_language

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
        """The route."""
        return [web.get("/api/v1/words/{language}", self._get_words)]

    async def _get_words(self, request: web.Request) -> web.Response:
        try:
            language = parse_language(request.match_info["language"])
        except UnknownLanguage as error:
            return web.Response(status=HTTPStatus.NOT_FOUND, text=f"{error}\n")
        texts = request.query.getall("say", [])
        if len(texts) > _MAX_TEXTS or any(len(text) > _MAX_CHARACTERS for text in texts):
            wanted = f"at most {_MAX_TEXTS} texts of at most {_MAX_CHARACTERS} characters"
            return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"say: write {wanted}\n")
        if texts:
            words = catalogue_of(language)
            return _json_response(msgspec.json.encode([words.say(text) for text in texts]))
        etag = ETag(value=self._etags[language])
        known = request.if_none_match or ()
        if etag in known:
            response = web.Response(status=HTTPStatus.NOT_MODIFIED)
        else:
            response = _json_response(self._bodies[language])
        response.etag = etag
        response.headers["Cache-Control"] = f"private, max-age={_MAX_AGE_SECONDS}"
        return response


def _json_response(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json", charset="utf-8")
