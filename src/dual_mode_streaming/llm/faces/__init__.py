"""Foreign wire formats, as the official SDKs speak them: each a pure rendering of StreamEvents."""
