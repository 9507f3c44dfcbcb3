"""The lab's dashboard: follows runs in other processes through their run files, and sends them commands.

    streamlit run dashboard/app.py -- --root runs

The page is page.py. Beside it the server has Plotly's script as a file: the browser asks for it with the page, keeps it
for the next visit, and no message of the page has to carry its five megabytes. While the browser reads Streamlit's
scripts, which takes it a second, the server reads the run that the address asks for.
"""

import threading
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import plotly
import streamlit as st
from components import scripts
from components.resources import read_ahead
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

PARTS = "agent compare document export multitask panels report sidebar slider studies text wall"
OTHERS = "numpy.ma PIL.Image streamlit.material_icon_names"
# What the pages and Streamlit are made of, read now: the first visitor does not wait for it.
for module in (*(f"components.{part}" for part in PARTS.split()), *OTHERS.split()):
    import_module(module)

PLOTLY = Path(plotly.__file__).with_name("package_data") / "plotly.min.js"
DAYS = 30
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def plotly_script(_: Request) -> FileResponse:
    """Plotly's script; its address has the version, so a browser may keep it."""
    kept = f"public, max-age={DAYS * 24 * 3600}, immutable"
    return FileResponse(PLOTLY, media_type="text/javascript", headers={"Cache-Control": kept})


class Preload:
    """Tells the browser with the page itself that Plotly's script will be wanted: it comes while the page starts."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/":
            asked = parse_qs(scope["query_string"].decode("ascii", "replace")).get("run", [""])[0]
            threading.Thread(target=read_ahead, args=(asked,), daemon=True).start()

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("Link", f"<{scripts.PLOTLY_ADDRESS}>; rel=preload; as=script")
            await send(message)

        await self._app(scope, receive, told)


app = st.App("page.py", routes=[Route(scripts.PLOTLY_ADDRESS, plotly_script)], middleware=[Middleware(Preload)])
