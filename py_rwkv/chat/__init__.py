"""Messages in, chunks out: prompt templates, conversations, OpenAI-shaped requests and answers. Knows no device."""
