"""`dual_mode`, all its duties on."""

from fastapi import FastAPI

from dual_mode_streaming import dual_mode, install

from .items import items

app = FastAPI()
install(app)
app.get("/stream")(dual_mode(items))
app.get("/batch")(dual_mode(items))
