"""ASGI and FastAPI: the decorator, the response, and what an app needs around them."""
