"""The only room that turns figures into text: tables, JSON, CSV, Markdown, plots."""
