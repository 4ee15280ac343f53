"""A chat in the browser, by Streamlit: `dual-mode ui`. It needs the extra `ui`."""
