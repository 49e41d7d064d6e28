"""Label Studio's REST interface, as far as labeling needs it: projects, their tasks and annotations."""

import html
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxal.errors import ConfigError, DataError, StoreError

KEY = "LABEL_STUDIO_API_KEY"  # the environment's variable; its value is sent to the server and never written
_TIMEOUT = 120.0  # seconds for a reply: an export of many tasks takes long
_AWAY = (408, 429, 500, 502, 503, 504)


class ServerAway(StoreError):
    """The server does not answer, or says that it cannot now: to be asked again later."""


class Form(NamedTuple):
    """How a project of the server asks for a label: its one choice control, and the text beside it."""

    control: str
    text: str
    classes: tuple[str, ...]


class LabelStudio:
    """A server. Raises ConfigError without a token, or without urllib3."""

    def __init__(self, url: str):
        try:
            import urllib3
        except ImportError:
            raise ConfigError('urllib3 is missing: pip install "jaxal[label-studio]"') from None
        self.url, self._token = url.rstrip("/"), os.environ.get(KEY, "").strip()
        if not self._token:
            raise ConfigError(f"set {KEY} to your access token: Label Studio shows it under Account & Settings")
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"{url} is no address of a server: write it as http://localhost:8080")
        timeout = urllib3.Timeout(connect=5, read=_TIMEOUT)
        self._http = urllib3.PoolManager(retries=False, timeout=timeout)  # who asks knows what may be asked twice
        self._access: str | None = None  # of a personal access token, which is only good for asking for this

    def create(self, title: str, classes: Sequence[str], mark: str) -> int:
        """Make a project that asks for one of the classes, and serves tasks in the order they were pushed.

        `mark` is its description: if there is one with it, made by a call that was killed, that is it.
        """
        for made in self._ask("GET", "/api/projects/?page_size=10000&include=id,description")["results"]:
            if made.get("description") == mark:
                return made["id"]
        choices = "".join(f'<Choice value="{html.escape(name)}"/>' for name in classes)
        config = (
            '<View><Text name="text" value="$text"/>'
            f'<Choices name="label" toName="text" choice="single" showInline="true">{choices}</Choices></View>'
        )
        how = {"sampling": "Sequential sampling", "show_collab_predictions": True}
        body = {"title": title[:50].ljust(3, "_"), "description": mark, "label_config": config} | how
        return self._ask("POST", "/api/projects/", body)["id"]

    def about(self, project: int) -> dict[str, Any]:
        """The project's settings and counts."""
        return self._ask("GET", f"/api/projects/{project}/")

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """Every task with its annotations, skipped ones too. Cost: some seconds for thousands of tasks."""
        return self._ask("GET", f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true")

    def push(self, project: int, tasks: list[dict[str, Any]], version: str) -> None:
        """Add tasks, and show the suggestions of this version."""
        self._ask("POST", f"/api/projects/{project}/import", tasks)
        self._ask("PATCH", f"/api/projects/{project}/", {"model_version": version})

    def delete(self, project: int, tasks: list[int]) -> None:
        """Delete tasks."""
        chosen = {"selectedItems": {"all": False, "included": tasks}}
        self._ask("POST", f"/api/dm/actions?id=delete_tasks&project={project}", chosen)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request. Raises ServerAway, and ConfigError for what asking again does not put right."""
        reply = self._send(method, path, body)
        if reply.status == 401 and self._access is not None:  # it is good for some minutes only
            self._access = None
            reply = self._send(method, path, body)
        if reply.status in _AWAY:
            raise ServerAway(
                f"{self.url} answers {method} {path.partition('?')[0]} with {reply.status}: {_detail(reply)}"
            )
        if reply.status in (401, 403):
            raise ConfigError(f"{self.url} refuses the token in {KEY}: {_detail(reply)}")
        if reply.status == 404:
            raise ConfigError(f"{self.url} has no {path.partition('?')[0]}: {_detail(reply)}")
        if reply.status >= 300:
            raise ConfigError(
                f"{self.url} refuses {method} {path.partition('?')[0]} ({reply.status}): {_detail(reply)}"
            )
        try:
            return json.loads(reply.data) if reply.data else None
        except ValueError:
            raise ConfigError(f"{self.url}{path.partition('?')[0]} answers no JSON: is that Label Studio?") from None

    def _send(self, method: str, path: str, body: Any):
        import urllib3

        headers = {"Authorization": self._authorization()} if path != _REFRESH else {}
        try:
            return self._http.request(method, self.url + path, json=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise ServerAway(
                f"{self.url} does not answer ({type(error).__name__}): is Label Studio running there?"
            ) from error

    def _authorization(self) -> str:
        """A legacy token as it is; a personal access token, which is a JWT, gives one for some minutes."""
        if self._token.count(".") != 2:
            return f"Token {self._token}"
        if self._access is None:
            reply = self._send("POST", _REFRESH, {"refresh": self._token})
            if reply.status != 200:
                raise ConfigError(f"{self.url} refuses the token in {KEY}: {_detail(reply)}")
            self._access = json.loads(reply.data)["access"]
        return f"Bearer {self._access}"


_REFRESH = "/api/token/refresh/"


def _detail(reply) -> str:
    try:
        said = json.loads(reply.data)
        return str(said.get("validation_errors") or said.get("detail") or said)[:300]
    except (ValueError, AttributeError):
        return (reply.reason or "no reason given")[:300]


def form(about: dict[str, Any]) -> Form:
    """The form of a project. Raises DataError unless it asks for one choice about the text `$text` alone."""
    controls = about.get("parsed_label_config") or {}
    where = f"project {about['id']} of Label Studio"
    kinds = {name: control.get("type") for name, control in controls.items()}
    if list(kinds.values()) != ["Choices"]:
        raise DataError(
            f"{where} asks for {', '.join(kinds.values()) or 'nothing'}: jaxal needs one Choices, see --create"
        )
    ((name, control),) = controls.items()
    values = [source.get("value") for source in control["inputs"]]
    if values != ["text"] or control["inputs"][0].get("type") != "Text":
        raise DataError(f"{where} shows {', '.join(map(str, values))}: jaxal pushes the text as $text, see --create")
    return Form(name, control["to_name"][0], tuple(control["labels"]))
