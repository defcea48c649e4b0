"""The library's front door: names and options in, typed records out. The command line and the page are thin callers.

`sizer` itself exports the public functions; what they ask with is in `asked`, what stands behind them beside them.
"""
