"""The interface's own documentation: OpenAPI, examples, Markdown, a page."""
