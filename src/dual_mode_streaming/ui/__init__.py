"""`dual-mode ui`: a chat in the browser, by Streamlit. It needs the extra `ui`."""
