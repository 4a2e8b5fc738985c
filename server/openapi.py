"""The interface's document without a server: for the copy that is checked in, and for whoever generates clients."""

from contextlib import AbstractAsyncContextManager

from domain.resources import resource_folder
from server.app import create_app
from server.http.bodies import Json
from server.hub import Hub
from tools.manifest_files import load_manifests


def openapi_document() -> Json:
    """The OpenAPI document, from the routes and the manifests alone."""
    app = create_app(_never)
    return app.state.document(load_manifests(resource_folder("manifests")))


def _never() -> AbstractAsyncContextManager[Hub]:
    raise AssertionError("the document is built without opening anything")
