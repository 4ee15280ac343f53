"""The ASGI and FastAPI integration: the decorator, the response, and the support in the app."""
