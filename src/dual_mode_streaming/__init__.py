"""Write one async generator; serve it as batch JSON or as Server-Sent Events."""
