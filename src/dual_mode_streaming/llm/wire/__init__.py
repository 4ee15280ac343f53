"""The wire formats of OpenAI and Anthropic, a module each."""
