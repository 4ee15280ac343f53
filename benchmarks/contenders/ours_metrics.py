"""`dual_mode` with metrics for Prometheus."""

from fastapi import FastAPI

from dual_mode_streaming import dual_mode, install
from dual_mode_streaming.observability.prometheus import PrometheusObserver

from .items import items

app = FastAPI()
install(app, observers=[PrometheusObserver()])
app.get("/stream")(dual_mode(items))
app.get("/batch")(dual_mode(items))
