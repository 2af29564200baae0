"""The application that a python-fastapi sandbox begins with."""

import os
import platform

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI(title="sandbox")
asked = 0


class Health(BaseModel):
    ok: bool
    asked: int
    python: str
    host: str


@app.get("/")
def index() -> dict:
    return {"hello": "from a sandbox"}


@app.get("/health")
def health() -> Health:
    global asked
    asked += 1
    return Health(ok=True, asked=asked, python=platform.python_version(), host=os.uname().nodename)
