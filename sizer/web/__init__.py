"""The page and its API: the commands' own answers, over HTTP or from Python in the browser."""
